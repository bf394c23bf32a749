"""What the checks see: facts in the words of the RFCs, one frozen type per stage, no verdicts.

Text that a file or a server supplied is kept as it came; whoever shows it escapes it for its sink.
Times are aware datetimes in UTC, durations are milliseconds, fingerprints lower-case hex.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The subjectPublicKeyInfo of a certificate (RFC 5280 section 4.1.2.7)."""

    algorithm: str
    """`RSA`, `EC`, `Ed25519`, `Ed448`, `DSA`, or the OID when unknown."""
    bits: int | None
    curve: str | None = None
    fingerprint_sha256: str = ""
    """SHA-256 of the DER of the SubjectPublicKeyInfo."""

    def __str__(self) -> str:
        detail = self.curve or (str(self.bits) if self.bits else "")
        return f"{self.algorithm} {detail}".strip()


@dataclass(frozen=True, slots=True)
class Certificate:
    """One X.509 certificate, parsed (RFC 5280 section 4.1). Equality is that of the DER bytes."""

    der: bytes = field(repr=False)
    subject: str = field(compare=False)
    """RFC 4514 string."""
    issuer: str = field(compare=False)
    serial_number: str = field(compare=False)
    """Hex, no leading zeros."""
    version: int = field(compare=False)
    not_before: datetime = field(compare=False)
    not_after: datetime = field(compare=False)
    key: PublicKey = field(compare=False)
    signature_algorithm: str = field(compare=False)
    """For example `sha256WithRSAEncryption`, `ecdsa-with-SHA256`, or a dotted OID."""
    signature_hash: str | None = field(compare=False)
    """`sha256`, `sha1`, …; None where the algorithm has none (Ed25519)."""
    fingerprint_sha256: str = field(compare=False)
    common_name: str | None = field(default=None, compare=False)
    is_ca: bool | None = field(default=None, compare=False)
    """basicConstraints cA; None where the extension is absent."""
    path_length: int | None = field(default=None, compare=False)
    key_usage: tuple[str, ...] | None = field(default=None, compare=False)
    """RFC 5280 names (`digitalSignature`, `keyCertSign`, …); None where absent."""
    extended_key_usage: tuple[str, ...] | None = field(default=None, compare=False)
    """`serverAuth`, `clientAuth`, `anyExtendedKeyUsage`, … or dotted OIDs; None where absent."""
    subject_alt_name: tuple[str, ...] | None = field(default=None, compare=False)
    """`DNS:example.org`, `IP:192.0.2.1`, `URI:…`, `email:…`; None where absent."""
    subject_key_identifier: str | None = field(default=None, compare=False)
    authority_key_identifier: str | None = field(default=None, compare=False)
    unknown_critical: tuple[str, ...] = field(default=(), compare=False)
    """OIDs of critical extensions that path validation does not know."""
    critical: tuple[str, ...] = field(default=(), compare=False)
    """OIDs of all critical extensions."""
    name_constraints: tuple[tuple[str, ...], tuple[str, ...]] | None = field(
        default=None, compare=False
    )
    """(permitted, excluded) subtrees as `DNS:…`, `IP:…`, …; None where absent."""
    ca_issuers: tuple[str, ...] = field(default=(), compare=False)
    """URLs of the issuer's certificate (authorityInfoAccess caIssuers)."""
    subject_der: bytes = field(default=b"", repr=False, compare=False)
    issuer_der: bytes = field(default=b"", repr=False, compare=False)
    self_signed: bool = field(default=False, compare=False)
    """Subject equals issuer and the signature verifies with its own key."""
    oddities: tuple[str, ...] = field(default=(), compare=False)
    """What a strict reader objects to while parsing (negative serial, bad extension …)."""

    @property
    def self_issued(self) -> bool:
        """Whether subject and issuer are the same name (RFC 5280 section 3.2)."""
        return self.subject_der == self.issuer_der

    @property
    def role(self) -> str:
        """`root`, `intermediate`, `end-entity`, or `v1-root` (self-signed, no basicConstraints)."""
        if self.is_ca:
            return "root" if self.self_signed else "intermediate"
        if self.is_ca is None and self.self_signed and self.version == 1:
            return "v1-root"
        return "end-entity"

    @property
    def name(self) -> str:
        """A short name for sentences: the common name, else the subject, else the serial number."""
        return self.common_name or self.subject or f"serial {self.serial_number}"

    def expired(self, now: datetime) -> bool:
        """Whether `now` is after not_after (the second itself still counts as valid)."""
        return now > self.not_after

    def not_yet_valid(self, now: datetime) -> bool:
        """Whether `now` is before not_before."""
        return now < self.not_before

    def days_left(self, now: datetime) -> float:
        """Days from `now` to not_after; negative when expired."""
        return (self.not_after - now) / DAY


@dataclass(frozen=True, slots=True)
class CaProblem:
    """Something in a CA source that is not a usable PEM certificate.

    `kind`: file-not-found, file-unreadable, empty, not-a-certificate, corrupt-pem, not-pem,
    download-failed, download-not-configured, private-key, unwrapped-base64, too-large, oddity.
    """

    kind: str
    detail: str
    """What it is instead, or what is wrong, in words for a person: "an HTML page"."""
    line: int | None = None
    """The line in the file, from 1, where that helps."""
    refused: bool = False
    """Whether OpenSSL refuses the whole source because of it, good certificates included."""


@dataclass(frozen=True, slots=True)
class CaSource:
    """One thing that `--cafile` named, and what became of it."""

    given: str
    """As the user wrote it: a path, a URL, `-`, `auto`, `public`."""
    origin: str
    """`file`, `stdin`, `download` or `public`."""
    location: str
    """The path, the URL fetched, or the name of the bundle."""
    format: str = "pem"
    """`pem`, `der`, `pkcs7-pem`, `pkcs7-der`, `pkcs12`, or `unknown`."""
    size: int = 0
    certificates: tuple[Certificate, ...] = ()
    problems: tuple[CaProblem, ...] = ()
    http_status: int | None = None
    content_type: str | None = None
    truncated: int = 0
    """How many certificates beyond the cap were left unread."""


@dataclass(frozen=True, slots=True)
class CaEvidence:
    """ca.load: where the trust anchors come from and what they are."""

    sources: tuple[CaSource, ...]
    attempts: tuple[CaSource, ...] = ()
    """With `auto`: downloads that were tried first and gave no certificate."""

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Every certificate of every source, in order."""
        return tuple(c for source in self.sources for c in source.certificates)

    @property
    def public(self) -> bool:
        """Whether the anchors are the public roots rather than a file for this server."""
        return any(source.origin == "public" for source in self.sources)

    @property
    def described(self) -> str:
        """Where the certificates come from, for sentences."""
        return ", ".join(source.location for source in self.sources)


@dataclass(frozen=True, slots=True)
class DnsEvidence:
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


@dataclass(frozen=True, slots=True)
class TcpAttempt:
    """One dialled address."""

    family: str
    address: str
    port: int
    outcome: str
    """`connected`, `refused`, `timeout`, `unreachable`, `reset`, `forbidden`, `other`."""
    detail: str = ""
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class TcpEvidence:
    """tcp.connect: every address tried at once, and the one that answered first."""

    attempts: tuple[TcpAttempt, ...]
    connected: str | None
    """The address used for the following stages."""
    other_ports: tuple[TcpAttempt, ...] = ()
    """After a refusal: whether the server's other usual ports answer."""
    via_proxy: str | None = None


@dataclass(frozen=True, slots=True)
class VerifyError:
    """One error that OpenSSL's verify callback reported during the handshake."""

    code: int
    depth: int
    message: str
    subject: str


@dataclass(frozen=True, slots=True)
class Alert:
    """A TLS alert (RFC 8446 section 6)."""

    direction: str
    """`received` or `sent`."""
    level: str
    """`warning` or `fatal`."""
    code: int
    name: str
    """As the RFC spells it: `unknown_ca`, `certificate_required`."""


@dataclass(frozen=True, slots=True)
class HandshakeEvidence:
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


@dataclass(frozen=True, slots=True)
class NameMatch:
    """The reference identifier against the presented identifiers (RFC 9525)."""

    reference: str
    presented: tuple[str, ...]
    matches: bool
    """By subjectAltName, or as OpenSSL does by common name where there is no SAN of DNS type."""
    by_common_name: bool = False
    """Only the common name matches: OpenSSL accepts, RFC 9525 and most device stacks do not."""


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """What other trust anchors or another port say. Evidence for a cause, never trust."""

    public_anchor: Certificate | None = None
    """The public root that validates the presented chain (without the user's CA file), if any."""
    web_chain: tuple[Certificate, ...] = ()
    """What port 443 of the same host presents, when it was asked."""
    web_trusted_by_ca_file: bool = False
    downloaded: tuple[Certificate, ...] = ()
    """What the platform offers as its CA, when it was asked besides the CA file."""
    downloaded_from: str | None = None
    downloaded_trusts: bool | None = None
    """Whether that download validates the presented chain."""


@dataclass(frozen=True, slots=True)
class ClientDecision:
    """A client stack's verdict on a chain, with the path it used.

    `code` is the stack's own error word or number (`20`, `X509_BADCERT_NOT_TRUSTED`, …).
    """

    client: str
    verdict: str
    """`accept`, `reject`, `unknown`."""
    reason: str
    code: str | None = None
    path: tuple[Certificate, ...] = ()
    """The certification path used, end-entity first, trust anchor last; empty on reject."""
    stands_for: str = ""

    @property
    def expires(self) -> datetime | None:
        """The earliest not_after on the path."""
        return min((c.not_after for c in self.path), default=None)


@dataclass(frozen=True, slots=True)
class VerifyEvidence:
    """tls.verify: the verdicts on the captured chain with the CA file, at `at`."""

    at: datetime
    name: NameMatch
    decided_by: str
    """The client stack whose verdict decides this stage."""
    decisions: tuple[ClientDecision, ...]
    """Name match included: a stack that trusts the path but not the name rejects."""
    opinion: SecondOpinion = SecondOpinion()
    insecure: bool = False

    @property
    def deciding(self) -> ClientDecision:
        """The decision of `decided_by`."""
        return next(d for d in self.decisions if d.client == self.decided_by)

    @property
    def trusted(self) -> bool:
        """Whether the deciding client stack accepts path and name."""
        return self.deciding.verdict == "accept"

    def decision(self, client: str) -> ClientDecision | None:
        """The decision of one client stack; None when it was not asked."""
        return next((d for d in self.decisions if d.client == client), None)

    def with_opinion(self, opinion: SecondOpinion) -> VerifyEvidence:
        """The same with second opinions added."""
        return replace(self, opinion=opinion)


@dataclass(frozen=True, slots=True)
class HttpTokenEvidence:
    """http.token: `GET {base}/api/v1/{token}/attributes`. URLs here carry no token."""

    base_url: str
    status: int | None
    content_type: str | None = None
    error: str | None = None
    """`unreachable`, `timeout`, `tls`, `not-thingsboard`, or None."""
    detail: str = ""
    elapsed_ms: float = 0.0
    verified_by: str | None = None
    """The trust anchors that verified (or last refused) the server: `CA file`, `public roots`."""


@dataclass(frozen=True, slots=True)
class ConnackAttempt:
    """One CONNECT and what came back."""

    version: str
    """`5` or `3.1.1`."""
    outcome: str
    """`accepted`, `refused`, `no-connack`, `closed`, `reset`, `not-mqtt`, `tls-port`, `tls-failed`,
    `tcp-failed`."""
    code: int | None = None
    """Return code (3.1.1) or Reason Code (5.0) of the CONNACK."""
    code_name: str | None = None
    reason_string: str | None = None
    session_present: bool = False
    properties: dict[str, str] = field(default_factory=dict)
    detail: str = ""
    first_bytes: bytes = b""
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class MqttConnectEvidence:
    """mqtt.connect: every CONNECT tried, in order."""

    attempts: tuple[ConnackAttempt, ...]
    accepted: bool
    version: str | None
    """The protocol version of the open session."""
    client_identifier: str = ""
    username_sent: bool = False
    credentials: str = "token"
    """`token`, `basic`, `x509` or `none`."""
    disconnected_after: str | None = None
    """How the server ended the session right after CONNACK, if it did."""
    disconnect_code: int | None = None

    @property
    def last(self) -> ConnackAttempt:
        """The attempt that counts: the last one."""
        return self.attempts[-1]


@dataclass(frozen=True, slots=True)
class PublishAttempt:
    """One PUBLISH and its answer."""

    topic: str
    qos: int
    size: int
    outcome: str
    """`acknowledged`, `refused` (PUBACK with an error), `no-puback`, `closed`, `sent` (QoS 0)."""
    code: int | None = None
    code_name: str | None = None
    reason_string: str | None = None
    disconnect_code: int | None = None
    detail: str = ""
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class PublishEvidence:
    """mqtt.publish: the test message, and the discriminating probes that followed it."""

    version: str
    attempts: tuple[PublishAttempt, ...]
    delivered: bool
    """Whether the message asked for was acknowledged without an error code."""
    round_trip: bool | None = None
    """`--round-trip`: whether the attribute written was read back; None when not asked."""
    detail: str = ""
    json_error: str | None = None
    """Why the payload is no JSON object or array as ThingsBoard wants it; None when it is one."""
    unprovoked: bool = False
    """The session was closed without regard to the message: also before or without one."""

    @property
    def first(self) -> PublishAttempt:
        """The message the user asked for."""
        return self.attempts[0]


@dataclass(frozen=True, slots=True)
class AttributesEvidence:
    """mqtt.attributes: the attribute request and its response."""

    request_id: int
    request: str
    answered: bool
    response: bytes = b""
    outcome: str = "answered"
    """`answered`, `no-response`, `subscribe-refused`, `closed`."""
    subscribe_code: int | None = None
    """The Return code or Reason Code of the SUBACK."""
    puback_code: int | None = None
    """The Reason Code of the request's PUBACK; 0x10 says that nobody listens to requests."""
    disconnect_code: int | None = None
    detail: str = ""
    elapsed_ms: float = 0.0
