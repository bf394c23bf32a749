"""dns.resolve, tcp.connect and tls.handshake: what the network and the server showed."""

from __future__ import annotations

from tbdiag.evidence.certificates import Certificate
from tbdiag.fact import Fact


class DnsEvidence(Fact, frozen=True):
    """dns.resolve: the addresses of the host."""

    host: str
    literal: bool
    """Whether the host is an IP address already."""
    addresses: tuple[tuple[str, str], ...] = ()
    """(`IPv4`|`IPv6`, address) in the resolver's order."""
    canonical_name: str | None = None
    error: str | None = None
    """`name-not-found`, `timeout`, `invalid-name`, `temporary-failure`, or None."""
    detail: str = ""
    elapsed_ms: float = 0.0


class TcpAttempt(Fact, frozen=True):
    """One dialled address."""

    family: str
    address: str
    port: int
    outcome: str
    """`connected`, `refused`, `timeout`, `unreachable`, `reset`, `forbidden`, `other`."""
    detail: str = ""
    elapsed_ms: float = 0.0


class TcpEvidence(Fact, frozen=True):
    """tcp.connect: every address tried at once, and the one that answered first."""

    attempts: tuple[TcpAttempt, ...]
    connected: str | None
    """The address used for the following stages; the server's name where a proxy resolves it."""
    other_ports: tuple[TcpAttempt, ...] = ()
    """After a refusal: whether the server's other usual ports answer."""
    via_proxy: str | None = None
    """The proxy's URL without its login; the attempts are then those to the proxy."""
    proxy_outcome: str | None = None
    """`tunnel`, `refused`, `timeout`, `closed`, `not-a-proxy` or `unreachable`."""
    proxy_code: int | None = None
    """The HTTP status or SOCKS reply code that refused the tunnel."""
    proxy_detail: str = ""


class VerifyError(Fact, frozen=True):
    """One error that OpenSSL's verify callback reported during the handshake."""

    code: int
    depth: int
    message: str
    subject: str


class Alert(Fact, frozen=True):
    """A TLS alert (RFC 8446 section 6)."""

    direction: str
    """`received` or `sent`."""
    level: str
    """`warning` or `fatal`."""
    code: int
    name: str
    """As the RFC spells it: `unknown_ca`, `certificate_required`."""


class HandshakeEvidence(Fact, frozen=True):
    """tls.handshake: what the server showed, captured without judging it."""

    server_name: str | None
    """The SNI sent; None for an IP address (RFC 6066 section 3)."""
    established: bool
    """Whether the handshake completed and the server kept the connection open after it."""
    outcome: str
    """`established`, `not-tls`, `closed`, `reset`, `timeout`, `alert`, `late-alert`,
    `late-close`, `protocol-error`, `client-key-mismatch`, `client-certificate-unreadable`."""
    detail: str = ""
    version: str | None = None
    """`TLSv1.3`, …"""
    cipher: str | None = None
    alpn: str | None = None
    certificate_list: tuple[Certificate, ...] = ()
    """As presented, end-entity certificate first."""
    unparsed: tuple[str, ...] = ()
    """Presented certificates that could not be parsed: why."""
    verify_errors: tuple[VerifyError, ...] = ()
    alerts: tuple[Alert, ...] = ()
    certificate_requested: bool = False
    certificate_request_names: tuple[str, ...] = ()
    """The certificate_authorities of the CertificateRequest, RFC 4514."""
    client_certificate_sent: bool = False
    client_chain: tuple[Certificate, ...] = ()
    """The client certificate given, and its issuers."""
    first_bytes: bytes = b""
    """What the peer sent first, when that is not TLS."""
    speaks: str | None = None
    """What the peer speaks when not TLS: `http`, `ssh`, `mqtt`, `smtp`, `unknown`, or None."""
    bytes_received: int = 0
    elapsed_ms: float = 0.0
    truncated: str | None = None
    """Which limit cut the handshake short, if one did."""
    peer: str | None = None
    unprovoked: str | None = None
    """After a close without any answer: what a second connection met on which nothing was sent,
    `closed`, `reset`, `spoke` or `silent`."""
