"""One MQTT connection as ThingsBoard's transport handles it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tbdiag.protocol.mqtt import (
    Connack,
    Connect,
    Disconnect,
    FixedHeader,
    MalformedPacket,
    Packet,
    PacketReader,
    PacketTooLarge,
    PacketType,
    Ping,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Version,
    encode,
    parse,
)
from tbdiag.sandbox.admission import SUCCESS, admit, connack_code, disconnect_code
from tbdiag.sandbox.profile import Device, InvalidPayload, parse_json
from tbdiag.sandbox.publishing import Outcome, Verdict, may_subscribe, receive

if TYPE_CHECKING:
    from tbdiag.sandbox.broker import Broker
    from tbdiag.sandbox.connection import Connection

MALFORMED: Final = 0x81
SESSION_TAKEN_OVER: Final = 0x8E
TOPIC_FILTER_INVALID: Final = 0x8F
TOPIC_NAME_INVALID: Final = 0x90
PAYLOAD_FORMAT_INVALID: Final = 0x99

_ACKNOWLEDGED: Final = {
    Verdict.ACCEPTED: SUCCESS,
    Verdict.UNKNOWN_TOPIC: TOPIC_NAME_INVALID,
    Verdict.INVALID: PAYLOAD_FORMAT_INVALID,
}


class Session:
    """Reads one client's packets and answers them.

    `device` is None before CONNECT was accepted and in a provision session; `published` counts the
    client's PUBLISH packets.
    """

    def __init__(self, broker: Broker, connection: Connection) -> None:
        self.broker = broker
        self.connection = connection
        self.device: Device | None = None
        self.version = Version.V311
        self.published = 0
        self._connected = False
        self._over = False
        self._next_id = 0

    def run(self) -> None:
        """Serve until either side ends the connection."""
        reader = PacketReader(self.broker.max_payload)
        try:
            while not self._over and (data := self.connection.read()):
                packets = reader.feed(data)
                while packets and not self._over:
                    for header, body in packets:
                        self._packet(header, body)
                    packets = reader.feed(b"")
        except MalformedPacket as error:
            kind = "too-large" if isinstance(error, PacketTooLarge) else "malformed"
            self.broker.record(self.connection, kind, str(error))
            self.end(MALFORMED)

    def send(self, packet: Packet) -> None:
        """Send one packet, through the broker's faults."""
        data = encode(packet)
        self.broker.record(self.connection, "sent", packet)
        if not any(fault.write(self, data) for fault in self.broker.faults):
            self.connection.write(data)

    def end(self, code: int | None = None, *, reset: bool = False) -> None:
        """Close; a MQTT 5 client of a server from 3.7 on gets DISCONNECT with `code` first."""
        if self._over:
            return
        self._over = True
        if reset:
            self.connection.reset()
            return
        told = code is not None and self._connected and self.broker.generation == "4.x"
        if code is not None and told and self.version is Version.V5:
            self.send(Disconnect(code, Version.V5))
        self.connection.finish()

    def take_over(self) -> None:
        """End this session because another one uses its device; called from the other's thread."""
        self.broker.record(self.connection, "taken-over", self.device)
        with suppress(OSError):  # the older client may have left already
            self.end(SESSION_TAKEN_OVER)
        self.connection.abort()

    def _packet(self, header: FixedHeader, body: bytes) -> None:
        if self._over:
            return
        if (header.packet_type is PacketType.CONNECT) == self._connected:
            raise MalformedPacket(f"{header.packet_type.name} is out of turn")
        packet = parse(header, body, self.version)
        self.broker.record(self.connection, header.packet_type.name.lower(), packet)
        match packet:
            case Connect():
                self._connect(packet)
            case Publish():
                self._publish(packet)
            case Subscribe() | Unsubscribe():
                self._subscription(packet)
            case Ping():
                self.send(Ping(response=True))
            case Disconnect():
                self.end()

    def _connect(self, connect: Connect) -> None:
        self.version = connect.version
        if self.version is Version.V5 and self.broker.generation == "3.4":
            self.end()
            return
        admission = admit(self.broker.platform, connect, self.connection.client_certificate)
        code = connack_code(admission.code, self.version, self.broker.generation)
        connack: Connack | None = Connack(code, not connect.clean_session, self.version)
        for fault in self.broker.faults:
            if connack is not None:
                connack = fault.connack(self, connack)
        if connack is None:
            return
        self._connected = True
        self.send(connack)
        if connack.code:
            version_refused = connack.version is not self.version
            self.end(None if version_refused else disconnect_code(connack.code))
            return
        self._open(admission.device)

    def _open(self, device: Device | None) -> None:
        self.device = device
        if device is not None:
            self.broker.open_session(device, self)
        for fault in self.broker.faults:
            fault.connected(self)

    def _publish(self, publish: Publish) -> None:
        self.published += 1
        if any(fault.publish(self, publish) for fault in self.broker.faults):
            return
        if self.device is None:
            self._provision(publish)
            return
        platform, generation = self.broker.platform, self.broker.generation
        outcome = receive(platform, self.device, publish, generation)
        self.broker.record(self.connection, "outcome", outcome)
        if outcome.verdict is Verdict.IGNORED:
            return
        if outcome.verdict is Verdict.INVALID and not self._tolerates_invalid(publish):
            self.end(PAYLOAD_FORMAT_INVALID)
            return
        self._acknowledge(publish, _ACKNOWLEDGED[outcome.verdict])
        self._answer(outcome)

    def _tolerates_invalid(self, publish: Publish) -> bool:
        """Whether an invalid payload gets a PUBACK instead of a close."""
        lenient = self.device is not None and self.device.profile.ack_invalid
        return publish.packet_id is not None and (lenient or self.version is Version.V5)

    def _acknowledge(self, publish: Publish, code: int) -> None:
        """Send PUBACK, also for QoS 2: ThingsBoard never sends PUBREC."""
        if publish.packet_id is None:
            return
        code = code if self.version is Version.V5 else 0
        puback: Puback | None = Puback(publish.packet_id, code, self.version)
        for fault in self.broker.faults:
            if puback is not None:
                puback = fault.puback(self, puback)
        if puback is not None:
            self.send(puback)

    def _answer(self, outcome: Outcome) -> None:
        if all(fault.answers() for fault in self.broker.faults):
            for topic, payload in outcome.answers:
                self._next_id += 1
                self.send(Publish(topic, payload, 1, self._next_id, version=self.version))

    def _provision(self, publish: Publish) -> None:
        if publish.topic.lstrip("/") != "provision/request":
            self._acknowledge(publish, TOPIC_NAME_INVALID)
            self.end()
            return
        try:
            answer = self.broker.platform.provision(parse_json(publish.payload))
        except InvalidPayload:
            self.end(PAYLOAD_FORMAT_INVALID)
            return
        self._acknowledge(publish, SUCCESS)
        topic = publish.topic.replace("request", "response")
        self._answer(Outcome(Verdict.ACCEPTED, ((topic, json.dumps(answer).encode()),)))

    def _subscription(self, packet: Subscribe | Unsubscribe) -> None:
        v5 = self.version is Version.V5
        if isinstance(packet, Unsubscribe):
            codes = (SUCCESS,) * len(packet.filters) if v5 else ()
            self.send(Unsuback(packet.packet_id, codes, self.version))
            return
        refused = TOPIC_FILTER_INVALID if v5 else 0x80
        granted = tuple(
            min(options & 3, 1) if self._may_subscribe(topic_filter) else refused
            for topic_filter, options in packet.filters
        )
        self.send(Suback(packet.packet_id, granted, self.version))

    def _may_subscribe(self, topic_filter: str) -> bool:
        if self.device is None:
            return topic_filter.lstrip("/") == "provision/response"
        return may_subscribe(self.device.profile, topic_filter)
