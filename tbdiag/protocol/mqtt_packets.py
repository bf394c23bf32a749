"""The Control Packets of MQTT 3.1, 3.1.1 and 5.0 as values; `mqtt` turns them to bytes and back."""

from __future__ import annotations

from tbdiag.fact import Fact, field
from tbdiag.protocol.mqtt_codes import PacketType, Version, code_name
from tbdiag.protocol.mqtt_wire import Properties


def _text(properties: Properties) -> str | None:
    reason = properties.get("reason_string")
    return reason if isinstance(reason, str) else None


class Will(Fact, frozen=True):
    """The Will Message of a CONNECT (section 3.1.2.5)."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = field(default_factory=dict)


class Connect(Fact, frozen=True):
    """CONNECT, section 3.1.

    `client_id` is the Client Identifier; `keep_alive` is in seconds; `username` and `password` are
    None when absent, which is not the same as empty, and never shown by `repr`. `clean_session` is
    Clean Start in 5.0.
    """

    client_id: str = ""
    username: str | None = None
    password: bytes | None = None
    version: Version = Version.V311
    clean_session: bool = True
    keep_alive: int = 60
    will: Will | None = None
    properties: Properties = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Connect(client_id={self.client_id!r}, version={self.version!r})"


class Connack(Fact, frozen=True):
    """CONNACK, section 3.2; `code` is the Return code (3.1, 3.1.1) or Reason Code (5.0)."""

    code: int
    session_present: bool = False
    version: Version = Version.V311
    properties: Properties = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The specification's name of `code`."""
        return code_name(self.code, PacketType.CONNACK, self.version)

    @property
    def reason_string(self) -> str | None:
        """The server's own words (5.0, section 3.2.2.3.9): untrusted text, or None."""
        return _text(self.properties)


class Publish(Fact, frozen=True):
    """PUBLISH, section 3.3; `packet_id` is None at QoS 0."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    packet_id: int | None = None
    retain: bool = False
    dup: bool = False
    version: Version = Version.V311
    properties: Properties = field(default_factory=dict)


class Puback(Fact, frozen=True):
    """PUBACK, section 3.4; 3.1.1 has no code: `code` is 0 there whatever became of the message."""

    packet_id: int
    code: int = 0
    version: Version = Version.V311
    properties: Properties = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The specification's name of `code`."""
        return code_name(self.code, PacketType.PUBACK, Version.V5)

    @property
    def reason_string(self) -> str | None:
        """The server's own words: untrusted text, or None."""
        return _text(self.properties)


class Subscribe(Fact, frozen=True):
    """SUBSCRIBE, section 3.8; `filters` holds (Topic Filter, Subscription Options) pairs.

    The lower two bits of the options are the requested QoS, all that 3.1.1 has.
    """

    packet_id: int
    filters: tuple[tuple[str, int], ...]
    version: Version = Version.V311
    properties: Properties = field(default_factory=dict)


class Suback(Fact, frozen=True):
    """SUBACK, section 3.9; one Return code or Reason Code for each Topic Filter, in order."""

    packet_id: int
    codes: tuple[int, ...]
    version: Version = Version.V311
    properties: Properties = field(default_factory=dict)


class Unsubscribe(Fact, frozen=True):
    """UNSUBSCRIBE, section 3.10."""

    packet_id: int
    filters: tuple[str, ...]
    version: Version = Version.V311
    properties: Properties = field(default_factory=dict)


class Unsuback(Fact, frozen=True):
    """UNSUBACK, section 3.11; `codes` is empty in 3.1.1."""

    packet_id: int
    codes: tuple[int, ...] = ()
    version: Version = Version.V311
    properties: Properties = field(default_factory=dict)


class Ping(Fact, frozen=True):
    """PINGREQ, or PINGRESP when `response` (sections 3.12 and 3.13)."""

    response: bool = False


class Disconnect(Fact, frozen=True):
    """DISCONNECT, section 3.14; in 3.1.1 only a client sends one and it carries nothing."""

    code: int = 0
    version: Version = Version.V311
    properties: Properties = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The specification's name of `code`."""
        return code_name(self.code, PacketType.DISCONNECT, Version.V5)

    @property
    def reason_string(self) -> str | None:
        """The peer's own words: untrusted text, or None."""
        return _text(self.properties)


Packet = (
    Connect
    | Connack
    | Publish
    | Puback
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Ping
    | Disconnect
)
