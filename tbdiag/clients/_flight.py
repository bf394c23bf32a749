"""The first half of a TLS 1.2 server's flight: enough for a client to judge the certificates.

A TLS 1.2 client validates the Certificate message before it reads ServerKeyExchange (RFC 5246
section 7.3), and both messages travel in clear. So a client library that is fed a ServerHello and
a Certificate message in memory gives its real verdict, and no server key is needed.
"""

from __future__ import annotations

from collections.abc import Iterable

from tbdiag.evidence import Certificate

ECDHE_ECDSA_AES128_GCM = 0xC02B
ECDHE_RSA_AES128_GCM = 0xC02F
_HANDSHAKE, _SERVER_HELLO, _CERTIFICATE = 22, 2, 11
_VERSION = b"\x03\x03"
_RENEGOTIATION_INFO = b"\xff\x01\x00\x01\x00"
_RECORD = 16384


def server_flight(presented: tuple[Certificate, ...]) -> bytes:
    """ServerHello and Certificate (RFC 5246 sections 7.4.1.3 and 7.4.2) as TLS records."""
    messages = _message(_SERVER_HELLO, _server_hello(presented)) + _message(
        _CERTIFICATE, _vector(_vector(c.der) for c in presented)
    )
    return b"".join(_record(messages[i : i + _RECORD]) for i in range(0, len(messages), _RECORD))


def _server_hello(presented: tuple[Certificate, ...]) -> bytes:
    rsa = presented[0].key.algorithm == "RSA"
    suite = ECDHE_RSA_AES128_GCM if rsa else ECDHE_ECDSA_AES128_GCM
    extensions = len(_RENEGOTIATION_INFO).to_bytes(2, "big") + _RENEGOTIATION_INFO
    random, no_session, no_compression = bytes(32), b"\0", b"\0"
    return _VERSION + random + no_session + suite.to_bytes(2, "big") + no_compression + extensions


def _vector(parts: Iterable[bytes] | bytes) -> bytes:
    content = parts if isinstance(parts, bytes) else b"".join(parts)
    return len(content).to_bytes(3, "big") + content


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _vector(body)


def _record(fragment: bytes) -> bytes:
    return bytes([_HANDSHAKE]) + _VERSION + len(fragment).to_bytes(2, "big") + fragment
