"""One accepted connection, plain or TLS, that remembers every byte it received.

TLS is pyOpenSSL over memory, because ThingsBoard's CertificateRequest (it names the server's own
leaf and takes any certificate) is beyond the standard library. It is imported when TLS is used.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from cryptography import x509
    from OpenSSL import SSL

    from tbdiag.sandbox.authority import Issued

_T = TypeVar("_T")
_CHUNK: Final = 65536
_LINGER_SECONDS: Final = 0.2
_HANDSHAKE_RECORD: Final = 0x16
_UNEXPECTED_MESSAGE: Final = bytes([0x15, 3, 3, 0, 2, 2, 10])
"""What Java's TLS, and so ThingsBoard, answers to plain MQTT before it closes."""
_NO_CRL: Final = 3
"""X509_V_ERR_UNABLE_TO_GET_CRL: OpenSSL makes the alert certificate_unknown of it, which is what
Java sends. Asking for a CRL that nobody has is how a leaf is judged with that error at hand."""
_VERSIONS: Final = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class HandshakeFailed(ConnectionError):
    """The TLS handshake, or TLS itself later on, ended with an error; the text is OpenSSL's."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server speaks TLS; the defaults are those of ThingsBoard's own listener.

    issued: certificate, key and the chain to present. by_name: another one for a server_name.
    minimum, maximum: "TLSv1", "TLSv1.1", "TLSv1.2" or "TLSv1.3". ciphers: OpenSSL's list for 1.2.
    client_certificate: "none", "want" (asked for, any accepted) or "require".
    client_ca: when not empty, a client certificate must verify against these.
    alpn: protocols the server accepts; a client that offers only others gets the alert
    no_application_protocol, one that offers none is served.
    close_notify: whether a close says so first.
    """

    issued: Issued
    minimum: str = "TLSv1.2"
    maximum: str = "TLSv1.3"
    ciphers: str = "DEFAULT"
    client_certificate: str = "want"
    client_ca: tuple[x509.Certificate, ...] = ()
    alpn: tuple[str, ...] = ()
    by_name: Mapping[str, Issued] = field(default_factory=dict)
    close_notify: bool = True


class Connection:
    """A plain TCP connection seen from the server.

    `number` counts from 1 in order of arrival; `wire` holds all bytes received as they came,
    `plain` the same after decryption. `write` and `close` may be called from any thread.
    """

    def __init__(self, sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = number
        self.wire = bytearray()
        self.plain = self.wire
        self.server_name: str | None = None
        self.client_certificate: x509.Certificate | None = None
        self._socket = sock
        self._lock = threading.RLock()

    def handshake(self) -> None:
        """Do what comes before application data: nothing on a plain connection."""

    def read(self) -> bytes:
        """Wait for bytes and return them, b"" at the end; OSError when the connection broke."""
        return self._receive()

    def write(self, data: bytes) -> None:
        """Send `data`; OSError when the connection broke."""
        with self._lock:
            self._socket.sendall(data)

    def finish(self) -> None:
        """End our side: all that was written arrives, then the peer sees the end."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Wake the thread that serves this connection: it sees the end at once."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close with a TCP RST."""
        with suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()

    def close(self) -> None:
        """End our side, let the peer read what is on the way, and close.

        Closing with unread bytes would send a RST, which can destroy the refusal just sent; so
        what the peer still sends is read for a moment.
        """
        self.finish()
        end = time.monotonic() + _LINGER_SECONDS
        with suppress(OSError):
            while (left := end - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._receive():
                    break
        self._socket.close()

    def _receive(self) -> bytes:
        data = self._socket.recv(_CHUNK)
        self.wire += data
        return data


class TlsConnection(Connection):
    """The server's side of a TLS connection."""

    def __init__(self, sock: socket.socket, number: int, context: SSL.Context, tls: Tls) -> None:
        from OpenSSL import SSL  # heavy, and only TLS needs it

        super().__init__(sock, number)
        self.plain = bytearray()
        self._errors = SSL
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._says_goodbye = tls.close_notify

    def handshake(self) -> None:
        """Complete the handshake; HandshakeFailed when it fails or the peer leaves."""
        try:
            self._step(self._tls.do_handshake)
        except EOFError as error:
            raise HandshakeFailed("the peer closed the connection in the handshake") from error
        except HandshakeFailed:
            if self.wire and self.wire[0] != _HANDSHAKE_RECORD:
                self._socket.sendall(_UNEXPECTED_MESSAGE)
            raise
        name = self._tls.get_servername()
        self.server_name = name.decode("ascii", "replace") if name else None
        self.client_certificate = self._tls.get_peer_certificate(as_cryptography=True)

    def read(self) -> bytes:
        """Wait for application data and return it decrypted, b"" at the end."""
        try:
            data = self._step(lambda: self._tls.recv(_CHUNK))
        except (self._errors.ZeroReturnError, EOFError):
            return b""
        self.plain += data
        return data

    def write(self, data: bytes) -> None:
        """Encrypt and send `data`."""
        with self._lock:
            try:
                self._tls.sendall(data)
            except self._errors.Error as error:
                raise HandshakeFailed(_reason(error)) from error
            self._flush()

    def finish(self) -> None:
        """Send close_notify unless told not to, then end our side."""
        with suppress(OSError, self._errors.Error), self._lock:
            if self._says_goodbye:
                self._tls.shutdown()
            self._flush()
        super().finish()

    def _step(self, operation: Callable[[], _T]) -> _T:
        """Run one OpenSSL operation, feeding it bytes from the socket until it is done."""
        while True:
            with self._lock:
                try:
                    result = operation()
                    self._flush()
                    return result
                except self._errors.WantReadError:
                    self._flush()
                except HandshakeFailed:
                    self._flush()
                    raise
                except self._errors.ZeroReturnError:
                    raise
                except self._errors.Error as error:
                    self._flush()
                    raise HandshakeFailed(_reason(error)) from error
            data = self._receive()
            if not data:
                raise EOFError
            with self._lock:
                self._tls.bio_write(data)

    def _flush(self) -> None:
        with suppress(self._errors.WantReadError):
            while True:
                self._socket.sendall(self._tls.bio_read(_CHUNK))


def _reason(error: Exception) -> str:
    """OpenSSL's last reason, as in "tlsv1 alert unknown ca"."""
    stack = error.args[0] if error.args else []
    return str(stack[-1][-1]) if isinstance(stack, list) and stack else repr(error)


def tls_context(tls: Tls, accept: Callable[[x509.Certificate], bool] | None = None) -> SSL.Context:
    """Return the server context for `tls`; `accept` decides about a client's leaf certificate.

    The security level is 0: weak keys and signatures are the client's to refuse.
    """
    context = _identity_context(tls.issued)
    context.set_min_proto_version(_VERSIONS[tls.minimum])
    context.set_max_proto_version(_VERSIONS[tls.maximum])
    context.set_cipher_list(f"{tls.ciphers}:@SECLEVEL=0".encode())
    context.set_session_id(b"tbdiag")
    if tls.client_certificate != "none":
        _ask_for_certificate(context, tls, accept)
    if tls.by_name:
        others = {name: _identity_context(issued) for name, issued in tls.by_name.items()}
        context.set_tlsext_servername_callback(lambda conn: _choose(conn, others))
    if tls.alpn:
        context.set_alpn_select_callback(lambda _, offered: _select(offered, tls.alpn))
    return context


def _select(offered: list[bytes], known: tuple[str, ...]) -> bytes:
    """The first known protocol; raising makes OpenSSL send the alert (RFC 7301 section 3.2)."""
    for name in known:
        if name.encode() in offered:
            return name.encode()
    raise HandshakeFailed("no application protocol")


def _identity_context(issued: Issued) -> SSL.Context:
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    context.use_certificate(issued.certificate)
    for certificate in issued.chain:
        context.add_extra_chain_cert(certificate)
    context.use_privatekey(issued.key)
    return context


def _choose(connection: SSL.Connection, others: Mapping[str, SSL.Context]) -> None:
    name = (connection.get_servername() or b"").decode("ascii", "replace")
    if name in others:
        connection.set_context(others[name])


def _ask_for_certificate(
    context: SSL.Context, tls: Tls, accept: Callable[[x509.Certificate], bool] | None
) -> None:
    from OpenSSL import SSL, crypto

    mode = SSL.VERIFY_PEER
    if tls.client_certificate == "require":
        mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT

    def judge(_: SSL.Connection, leaf: crypto.X509, error: int, depth: int, good: int) -> bool:
        del depth
        if tls.client_ca:
            return bool(good)
        return error != _NO_CRL or accept is None or accept(leaf.to_cryptography())

    context.set_verify(mode, judge)
    store = context.get_cert_store()
    if store is not None and not tls.client_ca:
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
    for authority in tls.client_ca:
        if store is not None:
            store.add_cert(crypto.X509.from_cryptography(authority))
    for named in tls.client_ca or (tls.issued.certificate,):
        context.add_client_ca(named)
