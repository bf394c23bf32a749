"""One MQTT session over a verified channel: paho-mqtt speaks, a tap notes what the server said.

paho maps Return codes to Reason Codes and hides bytes that are not MQTT. A diagnosis needs both as
they came, so everything received also goes through `tbdiag.protocol.mqtt`. One thread does all
reading and writing (an SSL object must not be used by two); stages wait on a condition.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tbdiag.checks._mqtt_channel import ChannelFailed, Endpoint, open_channel
from tbdiag.checks._mqtt_spare import Spare
from tbdiag.deadline import Deadline
from tbdiag.errors import InternalError
from tbdiag.evidence import NOT_MQTT, ConnackAttempt
from tbdiag.fact import Fact
from tbdiag.model import Credentials
from tbdiag.protocol import mqtt
from tbdiag.protocol.mqtt import PacketType, Version, code_name

KEEP_ALIVE = 60
"""Seconds; ThingsBoard does not enforce it, other brokers do."""
FIRST_BYTES = 64
MAX_PACKET = 1024 * 1024
"""The largest packet read, in bytes: ThingsBoard's own limit is 65,536."""
MAX_RESPONSE = 65536
FLOODED = "a flood of packets that nobody asked for"
MAX_PACKETS = 2000
"""Packets of one session after which the server counts as flooding: a diagnosis needs ten."""
MAX_BYTES = 2 * MAX_PACKET
"""The same in bytes."""
READS_AT_ONCE = 64
"""Packets read before those who wait are told, and before leaving is thought of."""
CLOSE_WAIT = 0.3
"""Seconds that DISCONNECT may take to leave."""
_PROTOCOLS = {Version.V5: MQTTProtocolVersion.MQTTv5, Version.V311: MQTTProtocolVersion.MQTTv311}
_CONNACK_BYTE = 0x20
_TLS_RECORDS = (0x15, 0x16)


class Plan(Fact, frozen=True):
    """Everything a CONNECT needs, the same for every attempt of one run."""

    endpoint: Endpoint
    client_identifier: str
    credentials: Credentials
    spare: Spare | None = None
    """A channel opened ahead, for the first attempt."""


class Acknowledgement(Fact, frozen=True):
    """What answered a PUBLISH: PUBACK, or PUBREC and PUBCOMP at QoS 2, with its Reason Code."""

    packet_type: PacketType
    puback: mqtt.Puback


class Tap:
    """What the server sent, packet by packet; filled by the session's own thread."""

    def __init__(self, version: Version, *, encrypted: bool) -> None:
        self.first_bytes = b""
        self.connack: mqtt.Connack | None = None
        self.disconnect: mqtt.Disconnect | None = None
        self.fault: tuple[str, str] | None = None
        """(`not-mqtt` or `tls-port`, why), once the bytes make no MQTT session."""
        self.acks: dict[int, Acknowledgement] = {}
        self.subacks: dict[int, tuple[int, ...]] = {}
        self.messages: dict[str, bytes] = {}
        self.pongs = 0
        self._packets = 0
        self._bytes = 0
        self._version = version
        self._encrypted = encrypted
        self._reader = mqtt.PacketReader(MAX_PACKET)

    def note(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self.first_bytes += data[: max(0, FIRST_BYTES - len(self.first_bytes))]
        self._bytes += len(data)
        if self.connack is None and self.fault is None:
            self.fault = self._not_a_connack(self.first_bytes[0])
        if self.fault:
            return
        try:
            packets = self._reader.feed(data)
            self._packets += len(packets)
            for header, body in packets[:MAX_PACKETS]:
                self._record(header, body)
        except mqtt.MalformedPacket as error:
            self.fault = ("not-mqtt", str(error))
        if self._packets > MAX_PACKETS or self._bytes > MAX_BYTES:
            self.fault = self.fault or ("not-mqtt", FLOODED)

    def _not_a_connack(self, first: int) -> tuple[str, str] | None:
        if first == _CONNACK_BYTE:
            return None
        if first in _TLS_RECORDS and not self._encrypted:
            return ("tls-port", "a TLS record where CONNACK is due")
        return ("not-mqtt", f"the first byte is 0x{first:02X}, CONNACK begins with 0x20")

    def _record(self, header: mqtt.FixedHeader, body: bytes) -> None:
        match header.packet_type:
            case PacketType.CONNACK:
                self.connack = self.connack or mqtt.parse_connack(body, self._version)
            case PacketType.DISCONNECT:
                self.disconnect = mqtt.parse_disconnect(body, self._version)
            case PacketType.PUBACK | PacketType.PUBREC | PacketType.PUBCOMP:
                self._acknowledged(header.packet_type, mqtt.parse_puback(body, self._version))
            case PacketType.SUBACK:
                suback = mqtt.parse_suback(body, self._version)
                self.subacks[suback.packet_id] = suback.codes
            case PacketType.PINGRESP:
                self.pongs += 1
            case PacketType.PUBLISH:
                message = mqtt.parse_publish(body, header.flags, self._version)
                self.messages[message.topic] = message.payload[:MAX_RESPONSE]

    def _acknowledged(self, packet_type: PacketType, puback: mqtt.Puback) -> None:
        if packet_type is PacketType.PUBREC and puback.code < 0x80:
            return  # half of QoS 2: PUBCOMP is still to come
        self.acks.setdefault(puback.packet_id, Acknowledgement(packet_type, puback))


class Session:
    """An MQTT session; every method may be called from any thread."""

    def __init__(self, plan: Plan, version: Version, deadline: Deadline) -> None:
        """Open the channel and send CONNECT; raises ChannelFailed before anything secret leaves."""
        self.version = version
        self.tap = Tap(version, encrypted=plan.endpoint.context is not None)
        self.channel = open_channel(plan.endpoint, self.tap.note, deadline, plan.spare)
        self.ended = False
        self.subscription: int | None = None
        """The Packet Identifier of the SUBSCRIBE that the stages share; see Link."""
        self.sent_at = time.monotonic()
        self._crash: Exception | None = None
        self._changed = threading.Condition()
        self._leaving = False
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        try:
            self._client = self._paho(plan)
            self._client.connect("channel", keepalive=KEEP_ALIVE)
        except BaseException:
            self._close_sockets()
            raise
        self._thread = threading.Thread(target=self._serve, name="tbdiag mqtt", daemon=True)
        self._thread.start()

    def _paho(self, plan: Plan) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=plan.client_identifier,
            protocol=_PROTOCOLS[self.version],
            reconnect_on_failure=False,
        )
        username, password = plan.credentials.mqtt_username, plan.credentials.password
        if username is not None:
            client.username_pw_set(username, password.reveal() if password else None)
        channel = self.channel
        client._create_socket = lambda: channel  # type: ignore[method-assign]
        # With this callback paho leaves writing to the thread that reads, whoever publishes.
        client.on_socket_register_write = lambda *_: self._wake()
        return client

    def _wake(self) -> None:
        with suppress(OSError):
            self._wake_out.send(b"\0")

    def _serve(self) -> None:
        try:
            with selectors.DefaultSelector() as ready:
                ready.register(self._wake_in, selectors.EVENT_READ)
                ready.register(self.channel, selectors.EVENT_READ)
                while self._client.socket() is not None and not self._leaving:
                    self._turn(ready)
                    if self.tap.fault:
                        return
        except Exception as error:  # noqa: BLE001 - told to the waiting stage, which raises it
            self._crash = error
        finally:
            self._close_sockets()
            with self._changed:
                self.ended = True
                self._changed.notify_all()

    def _close_sockets(self) -> None:
        self.channel.close()
        self._wake_in.close()
        self._wake_out.close()

    def _turn(self, ready: selectors.BaseSelector) -> None:
        if self._client.want_write():
            self._client.loop_write()
        if self._client.socket() is None:
            return
        writing = selectors.EVENT_WRITE if self._client.want_write() else 0
        ready.modify(self.channel, selectors.EVENT_READ | writing)
        ready.select(0 if self.channel.pending() else KEEP_ALIVE / 4)
        with suppress(BlockingIOError):
            self._wake_in.recv(4096)
        self._client.loop_read()
        for _ in range(READS_AT_ONCE):
            if self._client.socket() is None or self.over or not self.channel.pending():
                break
            self._client.loop_read()
        self._client.loop_misc()
        with self._changed:
            self._changed.notify_all()

    def wait(self, arrived: Callable[[], object], deadline: Deadline) -> bool:
        """Wait until `arrived()` is true, the session is over or the deadline passes.

        Returns whether `arrived()` is true. Raises InternalError if our own thread failed.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self.ended or self.tap.fault or arrived(), deadline.remaining()
            )
        if self._crash and not (self.tap.fault or self.tap.disconnect or arrived()):
            raise InternalError(f"the MQTT session failed: {self._crash}") from self._crash
        return bool(arrived())

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.ended or self.tap.fault is not None

    @property
    def how_it_ended(self) -> str:
        """In words for a person; empty while the session stands."""
        if self.tap.disconnect:
            gone = self.tap.disconnect
            said = f": {gone.reason_string}" if gone.reason_string else ""
            return f"DISCONNECT 0x{gone.code:02X} {gone.name}{said}"
        if self.tap.fault:
            return f"{NOT_MQTT}: {self.tap.fault[1]}"
        return self.channel.detail

    @property
    def disconnect_code(self) -> int | None:
        """The Reason Code of the server's DISCONNECT (5.0, section 3.14.2.1), if it sent one."""
        return self.tap.disconnect.code if self.tap.disconnect else None

    def publish(self, topic: str, payload: bytes, qos: int) -> int:
        """Send PUBLISH; its Packet Identifier. ValueError for a topic that must not be sent."""
        info = self._client.publish(topic, payload, qos)
        self._wake()
        return info.mid

    def subscribe(self, topic_filter: str, qos: int) -> int:
        """Send SUBSCRIBE for one Topic Filter; its Packet Identifier (0: session over)."""
        _, packet_id = self._client.subscribe(topic_filter, qos)
        self._wake()
        return packet_id or 0

    def ping(self, deadline: Deadline) -> bool:
        """Send PINGREQ; whether PINGRESP came. What was sent before has been received then."""
        before = self.tap.pongs
        self._client._send_pingreq()
        self._wake()
        return self.wait(lambda: self.tap.pongs > before, deadline)

    def close(self) -> None:
        """Leave with DISCONNECT when the session stands, and close the channel."""
        if self.tap.connack and not self.over:
            self._client.disconnect()
            self._wake()
            self._thread.join(CLOSE_WAIT)
        self._leaving = True
        self._wake()
        self._thread.join(CLOSE_WAIT)


def open_session(
    plan: Plan, version: Version, deadline: Deadline
) -> tuple[ConnackAttempt, Session | None]:
    """CONNECT once; the session when CONNACK accepts it."""
    started = time.monotonic()
    try:
        session = Session(plan, version, deadline)
    except ChannelFailed as error:
        elapsed = _elapsed_ms(started)
        return ConnackAttempt(
            version.label, error.outcome, detail=str(error), elapsed_ms=elapsed
        ), None
    session.wait(lambda: session.tap.connack, deadline)
    attempt = _attempt(session)
    if attempt.outcome != "accepted":
        session.close()
        return attempt, None
    return attempt, session


def _attempt(session: Session) -> ConnackAttempt:
    tap, version = session.tap, session.version
    elapsed = _elapsed_ms(session.sent_at)
    if tap.connack:
        code = tap.connack.code
        return ConnackAttempt(
            version.label,
            "refused" if code else "accepted",
            code,
            _connack_name(tap.connack),
            tap.connack.reason_string,
            tap.connack.session_present,
            {name: _shown(value) for name, value in tap.connack.properties.items()},
            elapsed_ms=elapsed,
        )
    outcome, detail = _without_connack(session)
    first = tap.first_bytes if outcome in ("not-mqtt", "tls-port") else b""
    return ConnackAttempt(
        version.label, outcome, detail=detail, first_bytes=first, elapsed_ms=elapsed
    )


def _connack_name(connack: mqtt.Connack) -> str:
    """A 3.1.1 server refuses Protocol Version 5 in its own form, with its own Return code."""
    own = connack.version if connack.code >= 0x80 or not connack.code else Version.V311
    return code_name(connack.code, PacketType.CONNACK, own)


def _without_connack(session: Session) -> tuple[str, str]:
    """Closed and reset are one outcome: which of them it is, is a race on the server's side."""
    if session.tap.fault:
        return session.tap.fault
    if not session.ended:
        return "no-connack", "the connection stands, but no CONNACK came"
    if session.channel.ended == "tls":
        return "tls-failed", session.channel.detail
    return "closed", session.channel.detail or "the server closed the connection"


def _shown(value: mqtt.PropertyValue) -> str:
    if isinstance(value, tuple):
        return ", ".join("=".join(v) if isinstance(v, tuple) else str(v) for v in value)
    return value.hex() if isinstance(value, bytes) else str(value)


def _elapsed_ms(since: float) -> float:
    return round((time.monotonic() - since) * 1000, 3)


class Link:
    """The session kept for the later stages, and the single reconnection that they share."""

    def __init__(self, plan: Plan, session: Session) -> None:
        self.first = session
        """The session that CONNACK accepted; `session` is the one that stands now."""
        self.session = session
        self._plan = plan
        self._lock = threading.Lock()
        self._reconnected = False
        self.publishing_ended = threading.Event()
        """Set once the test publish knows whether the session's end was its doing."""
        self.closed_on_publish = False

    def again(self, old: Session, deadline: Deadline) -> Session | None:
        """A session after `old` was closed: at most one reconnection for all stages together."""
        with self._lock:
            if self.session is not old:
                return self.session
            if self._reconnected:
                return None
            self._reconnected = True
            _, session = open_session(self._plan, old.version, deadline)
            self.session = session or old
            return session

    def subscription(self, session: Session, topic_filter: str) -> int:
        """The Packet Identifier of the one SUBSCRIBE of `session`, sent by whoever comes first.

        QoS 2 is asked for: ThingsBoard grants 1 at most, so a granted 2 shows another broker.
        """
        with self._lock:
            if session.subscription is None:
                session.subscription = session.subscribe(topic_filter, 2)
            return session.subscription

    def close(self) -> None:
        """Leave the session."""
        self.session.close()
