"""What was read of certificates and CA files."""

from __future__ import annotations

from datetime import datetime, timedelta

from tbdiag.fact import Fact

DAY = timedelta(days=1)


class PublicKey(Fact, frozen=True):
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


class Certificate(Fact, frozen=True, eq=False):
    """One X.509 certificate, parsed (RFC 5280 section 4.1). Equality is that of the DER bytes."""

    der: bytes
    subject: str
    """RFC 4514 string."""
    issuer: str
    serial_number: str
    """Hex, no leading zeros."""
    version: int
    not_before: datetime
    not_after: datetime
    key: PublicKey
    signature_algorithm: str
    """For example `sha256WithRSAEncryption`, `ecdsa-with-SHA256`, or a dotted OID."""
    signature_hash: str | None
    """`sha256`, `sha1`, …; None where the algorithm has none (Ed25519)."""
    fingerprint_sha256: str
    common_name: str | None = None
    is_ca: bool | None = None
    """basicConstraints cA; None where the extension is absent."""
    path_length: int | None = None
    key_usage: tuple[str, ...] | None = None
    """RFC 5280 names (`digitalSignature`, `keyCertSign`, …); None where absent."""
    extended_key_usage: tuple[str, ...] | None = None
    """`serverAuth`, `clientAuth`, `anyExtendedKeyUsage`, … or dotted OIDs; None where absent."""
    subject_alt_name: tuple[str, ...] | None = None
    """`DNS:example.org`, `IP:192.0.2.1`, `URI:…`, `email:…`; None where absent."""
    subject_key_identifier: str | None = None
    authority_key_identifier: str | None = None
    unknown_critical: tuple[str, ...] = ()
    """OIDs of critical extensions that path validation does not know."""
    critical: tuple[str, ...] = ()
    """OIDs of all critical extensions."""
    name_constraints: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    """(permitted, excluded) subtrees as `DNS:…`, `IP:…`, …; None where absent."""
    ca_issuers: tuple[str, ...] = ()
    """URLs of the issuer's certificate (authorityInfoAccess caIssuers)."""
    subject_der: bytes = b""
    issuer_der: bytes = b""
    self_signed: bool = False
    """Subject equals issuer and the signature verifies with its own key."""
    oddities: tuple[str, ...] = ()
    """What a strict reader objects to while parsing (negative serial, bad extension …)."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and other.der == self.der

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        return f"Certificate({self.subject!r}, sha256={self.fingerprint_sha256[:16]})"

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
        """Whether `now` is after not_after: its last second is valid until that second is over."""
        return now.replace(microsecond=0) > self.not_after

    def not_yet_valid(self, now: datetime) -> bool:
        """Whether `now` is before not_before."""
        return now < self.not_before

    def days_left(self, now: datetime) -> float:
        """Days from `now` to not_after; negative when expired."""
        return (self.not_after - now) / DAY


class CaProblem(Fact, frozen=True):
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


class CaSource(Fact, frozen=True):
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
    revocation_lists: tuple[bytes, ...] = ()
    """CRLs (RFC 5280 section 5) that stand between the certificates, as DER."""


class CaEvidence(Fact, frozen=True):
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
