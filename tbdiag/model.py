"""The words that every part shares: what is checked, with which options, and what a report says."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tbdiag.fact import Fact, field

if TYPE_CHECKING:
    from tbdiag.evidence import Certificate

TELEMETRY_TOPIC = "v1/devices/me/telemetry"
TELEMETRY_PAYLOAD = b'{"temperature":25}'


class Transport(StrEnum):
    """How the device talks to the server."""

    MQTTS = "mqtts"
    MQTT = "mqtt"
    HTTPS = "https"
    HTTP = "http"
    COAPS = "coaps"
    COAP = "coap"

    @property
    def encrypted(self) -> bool:
        """Whether the server authenticates itself with a certificate (TLS or DTLS)."""
        return self in (Transport.MQTTS, Transport.HTTPS, Transport.COAPS)

    @property
    def default_port(self) -> int:
        """The port that ThingsBoard listens on for this transport unless configured otherwise."""
        return {"mqtts": 8883, "mqtt": 1883, "https": 443, "http": 80, "coaps": 5684, "coap": 5683}[
            self.value
        ]


class Status(StrEnum):
    """How one stage ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    BLOCKED = "blocked"
    NOT_APPLICABLE = "not-applicable"
    ERROR = "error"


class Severity(StrEnum):
    """What a finding means for this client with these settings.

    error: it cannot connect or deliver now. warning: it works, and will break, or breaks on another
    TLS stack, or weakens it. info: worth knowing.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Verdict(StrEnum):
    """What the whole report says."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    ERROR = "error"


class Secret:
    """A token, password or passphrase that cannot be printed by accident.

    `reveal()` is the only way to the text; `repr`, `str`, formatting, pickling and JSON show `***`
    or refuse.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself: for the wire, never for an output."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not pickled: resolve it where it is used")


class Credentials(Fact, frozen=True):
    """How the device proves who it is.

    ThingsBoard's access token travels as the MQTT username (`token`). MQTT Basic uses `username`,
    `password` and `client_id`; an X.509 device uses `certfile` and `keyfile` (paths to PEM).
    """

    token: Secret | None = None
    username: str | None = None
    password: Secret | None = None
    client_id: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    token_source: str | None = None
    """Where the token came from: "arguments", "environment", "file", "prompt", "config"."""

    @property
    def present(self) -> bool:
        """Whether there is anything to authenticate with."""
        return bool(self.token or self.username or self.client_id or self.certfile)

    @property
    def mqtt_username(self) -> str | None:
        """The User Name of the CONNECT packet: the token, else the MQTT Basic username."""
        return self.token.reveal() if self.token else self.username


def bracketed(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


class Target(Fact, frozen=True):
    """One endpoint to diagnose.

    `host` is a DNS name or an IP address literal (no brackets); `port` None means the transport's
    default. `server_name` is the name the certificate must carry and that is sent as SNI; None
    means `host`. `cafile` holds paths, URLs, `-`, `auto` or `public`.
    """

    host: str
    port: int | None = None
    transport: Transport = Transport.MQTTS
    server_name: str | None = None
    label: str | None = None
    credentials: Credentials = Credentials()
    cafile: tuple[str, ...] = ("auto",)
    http_url: str | None = None
    preset: str | None = None
    notes: tuple[str, ...] = ()
    """Remarks of whoever built the target (a parser of a pasted command, a gateway config): what
    was seen, one full stop, then what to do. The rule target.remark shows them."""

    @property
    def effective_port(self) -> int:
        """`port`, or the transport's default."""
        return self.transport.default_port if self.port is None else self.port

    @property
    def reference_name(self) -> str:
        """The reference identifier of RFC 9525: what the certificate must present."""
        return self.server_name or self.host

    @property
    def address(self) -> str:
        """`host:port`, an IPv6 literal in brackets."""
        return f"{bracketed(self.host)}:{self.effective_port}"


class Options(Fact, frozen=True):
    """How to check: limits, thresholds and what may be sent. Times are in seconds."""

    at: datetime | None = None
    """The moment to judge validity at (aware); None means now."""
    timeout: float = 30.0
    """The deadline of the whole run."""
    connect: bool = True
    publish: bool = True
    mqtt_version: str = "auto"
    """`auto` (5, then 3.1.1), `5` or `3.1.1`."""
    family: str | None = None
    """`4` or `6` to use one address family only."""
    insecure: bool = False
    """Go on to MQTT although the server certificate was not verified. Loud in every report."""
    client: str = "openssl"
    """The client stack whose verdict decides `tls.verify`."""
    topic: str = TELEMETRY_TOPIC
    payload: bytes = TELEMETRY_PAYLOAD
    qos: int = 1
    warn_days: float | None = None
    """Days left below which a certificate earns a warning; None: 30, or a third of a short life."""
    critical_days: float | None = None
    """Days left below which a certificate earns an error; None: never before it expires."""
    proxy: str | None = None
    alpn: tuple[str, ...] = ()
    round_trip: bool = False
    compare_web: bool = True
    """Whether the certificate on 443 of the same host may be fetched for comparison."""
    all_stacks: bool = True
    """Whether every device TLS stack is asked for its verdict, or only `client`."""
    ignore: frozenset[str] = frozenset()
    """Rule ids whose findings are left out."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Options of one check or rule only, by that check's or rule's own name."""


class Finding(Fact, frozen=True):
    """One thing a rule saw: the fact, its cause in one sentence, the repair as an imperative."""

    rule: str
    stage: str
    severity: Severity
    message: str
    cause: str
    fix: str
    subject: str = ""
    """The certificate, file, address, date or code at fault."""
    reference: str = ""
    pem: str | None = None
    """A PEM (or C string, …) that repairs it, to be copied as it is."""


class StageResult(Fact, frozen=True):
    """How one stage ended, with the facts it saw (`evidence`, of a type in `tbdiag.evidence`)."""

    id: str
    title: str
    status: Status
    summary: str
    duration_ms: float = 0.0
    blocked_by: str | None = None
    reason: str | None = None
    evidence: Any = None


class ClientVerdict(Fact, frozen=True):
    """What one device TLS stack decides about the presented chain with this CA file."""

    client: str
    verdict: str
    """`accept`, `reject` or `unknown`."""
    reason: str
    stands_for: str = ""
    """The devices and programs that decide like this."""
    expires: datetime | None = None
    """The earliest `not_after` on the path this stack used: when it will stop accepting."""


class Report(Fact, frozen=True):
    """Everything one run found, in pipeline order."""

    target: Target
    options: Options
    started_at: datetime
    """When the run began (aware, UTC)."""
    now: datetime
    """The moment validity was judged at: `--at`, or `started_at`."""
    duration_ms: float
    verdict: Verdict
    primary: str | None
    stages: tuple[StageResult, ...]
    findings: tuple[Finding, ...]
    clients: tuple[ClientVerdict, ...] = ()

    def stage(self, stage_id: str) -> StageResult:
        """The result of one stage by id; KeyError if there is no such stage."""
        for stage in self.stages:
            if stage.id == stage_id:
                return stage
        raise KeyError(stage_id)

    @property
    def root_cause(self) -> Finding | None:
        """The finding that `primary` names."""
        return next(
            (f for f in self.findings if f.rule == self.primary and f.severity is Severity.ERROR),
            None,
        )


class CaPath(Fact, frozen=True):
    """One way up through the certificates of a CA file."""

    certificates: tuple[int, ...]
    """Their numbers in the file, from 1, the lowest first."""
    complete: bool
    """Whether it ends at a self-signed certificate."""
    missing: str = ""
    """The issuer that is not in the file, RFC 4514; empty when complete."""


class CaReport(Fact, frozen=True):
    """What one `tbdiag ca` command found: the report of a file, with certificates for stages."""

    command: str
    """`inspect`, `fetch`, `verify` or `recommend`."""
    source: str
    """The path or URL that was looked at."""
    now: datetime
    """The moment validity was judged at (aware)."""
    verdict: Verdict
    primary: str | None
    findings: tuple[Finding, ...]
    certificates: tuple[Certificate, ...] = ()
    """What the CA file holds, in its order."""
    presented: tuple[Certificate, ...] = ()
    """With `verify`: the certificate_list that was judged, end-entity certificate first."""
    paths: tuple[CaPath, ...] = ()
    format: str = "pem"
    """`pem`, `der`, `pkcs7-pem`, `pkcs7-der`, `pkcs12`, or `unknown`."""
    clients: tuple[ClientVerdict, ...] = ()
    server_name: str | None = None
    expires: datetime | None = None
    """With `verify`: when the deciding client stops accepting; None when it rejects."""
    written: str | None = None
    """The file that was written, or None."""
    notes: tuple[str, ...] = ()
    """What was left out or cut short, a sentence each."""
    confidence: str | None = None
    """With `recommend`: a key of `tbdiag.recommend.CONFIDENCE`; how sure the advice is."""
    why: str = ""
    """With `recommend`: why it is this sure."""
    bundle: tuple[Certificate, ...] = ()
    """With `recommend`: what the server should send instead, where it omits an intermediate."""
    breaks_on: datetime | None = None
    """With `recommend`: when the recommended file itself is no longer good."""
