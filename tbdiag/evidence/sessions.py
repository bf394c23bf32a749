"""http.token and mqtt.*: what the HTTP API and the broker answered."""

from __future__ import annotations

from tbdiag.fact import Fact, field

NOT_MQTT = "malformed packet"
"""How the end of a session is told that this client broke off, because of what it received."""


class HttpTokenEvidence(Fact, frozen=True):
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


class ConnackAttempt(Fact, frozen=True):
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


class MqttConnectEvidence(Fact, frozen=True):
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

    provisioning: bool = False
    """Whether the username or the Client Identifier is `provision`: ThingsBoard opens a session for
    requesting credentials then, whoever asks, and ends it at any other message."""

    @property
    def last(self) -> ConnackAttempt:
        """The attempt that counts: the last one."""
        return self.attempts[-1]


class PublishAttempt(Fact, frozen=True):
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


class PublishEvidence(Fact, frozen=True):
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


class AttributesEvidence(Fact, frozen=True):
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
