"""OpenSSL contexts: what is offered and what is trusted. See `tls` for why it is this."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from tbdiag.fact import Fact
from tbdiag.protocol.identity import Identity, UnusableIdentity

if TYPE_CHECKING:
    from OpenSSL import SSL

CIPHERS = b"DEFAULT:@SECLEVEL=2"
"""TLS 1.2 cipher suites at Debian's security level, whatever this build's own default is."""
DTLS1_2 = 0xFEFD
"""The version ThingsBoard speaks (RFC 6347); pyOpenSSL has no name for it."""


class Hello(Fact, frozen=True):
    """What the client brings into a handshake.

    `server_name` is the SNI to send, already ASCII, None for an IP address (RFC 6066 section 3).
    `anchors` are the DER certificates of the CA file: the only ones trusted; default paths of the
    system are never loaded. `alpn` holds protocol names (RFC 7301). `datagram` asks for DTLS 1.2
    instead of TLS. With `anchors` None the certificates are captured only: who verifies them
    later does so once for all servers that present the same.
    """

    server_name: str | None = None
    anchors: tuple[bytes, ...] | None = ()
    identity: Identity | None = None
    alpn: tuple[str, ...] = ()
    datagram: bool = False

    def context(self) -> SSL.Context:
        """The context for this hello; shared between handshakes with the same anchors.

        Raises UnusableIdentity when OpenSSL does not take the client certificate.
        """
        if self.identity is None:
            return _shared_context(self.anchors or (), self.datagram)
        context = _new_context(self.anchors or (), self.datagram)
        _present(context, self.identity)
        return context


@functools.lru_cache(maxsize=16)
def _shared_context(anchors: tuple[bytes, ...], datagram: bool) -> SSL.Context:
    return _new_context(anchors, datagram)


def _new_context(anchors: tuple[bytes, ...], datagram: bool) -> SSL.Context:
    from OpenSSL import SSL

    context = SSL.Context(SSL.DTLS_CLIENT_METHOD if datagram else SSL.TLS_CLIENT_METHOD)
    if datagram:
        context.set_min_proto_version(DTLS1_2)
        context.set_max_proto_version(DTLS1_2)
        context.set_options(SSL.OP_NO_QUERY_MTU)
    else:
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    _trust(context, anchors)
    return context


def _trust(context: SSL.Context, anchors: tuple[bytes, ...]) -> None:
    """Trust these certificates alone; one that OpenSSL cannot read is left out."""
    from OpenSSL import crypto

    store = context.get_cert_store()
    assert store is not None
    for der in anchors:
        with contextlib.suppress(crypto.Error):
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, der))


def _present(context: SSL.Context, identity: Identity) -> None:
    from OpenSSL import SSL

    certificate, *issuers = identity.certificates
    try:
        context.use_certificate(certificate)
        context.use_privatekey(identity.key)  # type: ignore[arg-type]
        for issuer in issuers:
            context.add_extra_chain_cert(issuer)
    except (SSL.Error, TypeError) as error:
        detail = f"OpenSSL does not take the client certificate: {reason_of(error)}"
        raise UnusableIdentity("client-certificate-unreadable", detail, identity.chain) from None


def reason_of(error: Exception) -> str:
    """OpenSSL's own words for the first error in its queue."""
    queue = error.args[0] if error.args else None
    if isinstance(queue, list) and queue:
        return str(queue[0][-1])
    return str(error) or type(error).__name__
