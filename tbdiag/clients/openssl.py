"""OpenSSL as an SSL client: mosquitto_pub, paho, most Linux gateways.

The captured certificates are handed to a real OpenSSL client in memory (see `_flight`), so path
building, purpose, security level 2 (what Debian and Python set), dates at a given time, name
constraints and the order of errors are OpenSSL's own. Only the name is compared here, by the
rules of X509_check_host, because pyOpenSSL has no public call for it.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any

from tbdiag.clients._anchors import known, relevant
from tbdiag.clients._flight import server_flight
from tbdiag.clients._openssl_errors import (
    AFTER_NAME,
    HOSTNAME_MISMATCH,
    IP_ADDRESS_MISMATCH,
    described,
)
from tbdiag.evidence import Certificate, ClientDecision, VerifyError
from tbdiag.fact import Fact, Record, field
from tbdiag.protocol.tls_names import verify_error
from tbdiag.protocol.x509_identity import ip_literal, name_match

CIPHERS = b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=2"


class Verification(Fact, frozen=True):
    """What OpenSSL's certificate verification said, without the name."""

    errors: tuple[VerifyError, ...] = ()
    """In the order OpenSSL found them."""
    path: tuple[Certificate, ...] = ()
    """The certification path it built, end-entity certificate first."""
    failure: str | None = None
    """Why OpenSSL did not even verify: the certificates could not be decoded."""

    @property
    def accepted(self) -> bool:
        """Whether the path validates."""
        return not self.errors and self.failure is None


def decide(
    presented: tuple[Certificate, ...],
    anchors: tuple[Certificate, ...],
    server_name: str,
    at: datetime,
) -> ClientDecision:
    """The verdict of an OpenSSL client with its default flags (no partial chain, not strict)."""
    return decision(verify(presented, anchors, at), presented[0], server_name)


def decision(seen: Verification, leaf: Certificate, server_name: str) -> ClientDecision:
    """The verdict that follows from `seen` and the name, with the error a client reports first."""
    if seen.failure is not None:
        return ClientDecision("openssl", "reject", seen.failure, "decode")
    code = first_error(seen, leaf, server_name)
    if code is None:
        return ClientDecision("openssl", "accept", "ok", "0", seen.path)
    return ClientDecision("openssl", "reject", described(code), str(code))


def first_error(seen: Verification, leaf: Certificate, server_name: str) -> int | None:
    """The X509_V_ERR code that ends the handshake, or None: the path before the name before dates.

    A client without a callback of its own stops at the first error, so its order matters.
    """
    codes = [error.code for error in seen.errors]
    if not name_match(server_name, leaf).matches:
        mismatch = IP_ADDRESS_MISMATCH if ip_literal(server_name) else HOSTNAME_MISMATCH
        earlier = [code for code in codes if code not in AFTER_NAME]
        codes = [*earlier[:1], mismatch]
    return next(iter(codes), None)


def verify(
    presented: tuple[Certificate, ...],
    anchors: tuple[Certificate, ...],
    at: datetime,
    flags: int = 0,
) -> Verification:
    """Let an OpenSSL client in memory verify `presented` against `anchors` at `at`.

    `flags` are X509_V_FLAG_* bits to add. Errors are collected, not stopped at. OpenSSL counts
    whole seconds, and so many targets with the same chain are verified once a second.
    """
    return _verified(presented, anchors, at.replace(microsecond=0), flags)


@functools.lru_cache(maxsize=64)
def _verified(
    presented: tuple[Certificate, ...],
    anchors: tuple[Certificate, ...],
    at: datetime,
    flags: int,
) -> Verification:
    from OpenSSL import SSL

    anchors = relevant(presented, anchors)
    judge = _Judge()
    connection = SSL.Connection(_context(anchors, at, flags), None)
    connection.set_verify(SSL.VERIFY_PEER, judge)
    connection.set_connect_state()
    failure = _feed(connection, server_flight(presented))
    if not judge.asked:
        return Verification(failure=failure or "OpenSSL did not verify these certificates")
    chain = connection.get_verified_chain() or []
    path = known((_der(c) for c in chain), (*presented, *anchors))
    return Verification(tuple(judge.errors), path)


class _Judge(Record):
    """OpenSSL's verify callback: it notes every error and lets the verification go on."""

    errors: list[VerifyError] = field(default_factory=list)
    asked: bool = False

    def __call__(self, _connection: Any, x509: Any, code: int, depth: int, ok: int) -> bool:
        self.asked = True
        if not ok:
            self.errors.append(verify_error(code, depth, _der(x509)))
        return True


@functools.lru_cache(maxsize=8)
def _context(anchors: tuple[Certificate, ...], at: datetime, flags: int) -> Any:
    """The context that trusts `anchors` at `at`; shared between verifications."""
    from OpenSSL import SSL, crypto

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    store = context.get_cert_store()
    assert store is not None
    store.set_time(at.astimezone(UTC))
    store.set_flags(flags)
    for anchor in anchors:
        try:
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, anchor.der))
        except (crypto.Error, ValueError):
            continue  # OpenSSL cannot read it: no client of it can trust it
    return context


def _feed(connection: Any, flight: bytes) -> str | None:
    """Run the client up to its verdict; returns OpenSSL's words where it stopped otherwise."""
    from OpenSSL import SSL

    try:
        connection.do_handshake()
    except SSL.WantReadError:
        connection.bio_write(flight)
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return None
    except SSL.Error as error:
        words = dict.fromkeys(part[-1] for part in error.args[0]) if error.args else ()
        return "; ".join(words) or "handshake failed"
    return None


def _der(certificate: Any) -> bytes:
    """The DER of OpenSSL's own object: `cryptography` refuses certificates that OpenSSL accepts."""
    from OpenSSL import crypto

    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
