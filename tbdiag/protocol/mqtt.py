"""MQTT 3.1, 3.1.1 and 5.0 without a socket: Control Packets to bytes and back, and their names.

Facts only, no verdicts. `parse_...` takes the body of a packet (what follows the fixed header) and
raises MalformedPacket with the reason; `encode(packet)` returns the whole packet. Section numbers
are those of MQTT 3.1.1 and 5.0, which number the packets alike (CONNECT is 3.1).
"""

from __future__ import annotations

from collections.abc import Callable

from tbdiag.protocol.mqtt_codes import (
    CONNACK_RETURN_CODES,
    PROPERTIES,
    REASON_CODES,
    SUBACK_RETURN_CODES,
    PacketType,
    Version,
    code_name,
)
from tbdiag.protocol.mqtt_packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from tbdiag.protocol.mqtt_wire import (
    Cursor,
    FixedHeader,
    MalformedPacket,
    PacketReader,
    PacketTooLarge,
    Properties,
    PropertyValue,
    encode_binary,
    encode_number,
    encode_packet,
    encode_properties,
    encode_text,
    parse_fixed_header,
    parse_properties,
)

__all__ = [
    "CONNACK_RETURN_CODES",
    "PROPERTIES",
    "REASON_CODES",
    "SUBACK_RETURN_CODES",
    "Connack",
    "Connect",
    "Disconnect",
    "FixedHeader",
    "MalformedPacket",
    "Packet",
    "PacketReader",
    "PacketTooLarge",
    "PacketType",
    "Ping",
    "Properties",
    "PropertyValue",
    "Puback",
    "Publish",
    "Suback",
    "Subscribe",
    "Unsuback",
    "Unsubscribe",
    "Version",
    "Will",
    "code_name",
    "encode",
    "parse",
    "parse_connack",
    "parse_connect",
    "parse_disconnect",
    "parse_fixed_header",
    "parse_puback",
    "parse_publish",
    "parse_suback",
    "parse_subscribe",
    "parse_unsuback",
    "parse_unsubscribe",
]

_PROTOCOL_NAMES = {Version.V31: "MQIsdp", Version.V311: "MQTT", Version.V5: "MQTT"}


def _properties(cursor: Cursor, version: Version) -> dict[str, PropertyValue]:
    return parse_properties(cursor) if version is Version.V5 else {}


def _with_properties(version: Version, properties: Properties) -> bytes:
    return encode_properties(properties) if version is Version.V5 else b""


def parse_connect(body: bytes) -> Connect:
    """Parse CONNECT (section 3.1) as a server must.

    Malformed: another protocol name or level, the reserved flag set, will flags without a will,
    QoS 3, and a MQTT 3.1 Client Identifier that is empty or longer than 23 characters. A password
    without a user name is let through, as ThingsBoard's decoder does.
    """
    cursor = Cursor(body)
    version = _protocol(cursor)
    flags = cursor.number(1, "connect flags")
    if flags & 1 and version is not Version.V31:
        raise MalformedPacket("the reserved connect flag is set")
    keep_alive = cursor.number(2, "keep alive")
    properties = _properties(cursor, version)
    client_id = cursor.text("Client Identifier")
    if version is Version.V31 and not 1 <= len(client_id) <= 23:
        raise MalformedPacket("MQTT 3.1 wants a Client Identifier of 1 to 23 characters")
    will = _will(cursor, flags, version)
    username = cursor.text("user name") if flags & 0x80 else None
    password = cursor.binary("password") if flags & 0x40 else None
    cursor.end()
    clean = bool(flags & 2)
    return Connect(client_id, username, password, version, clean, keep_alive, will, properties)


def _protocol(cursor: Cursor) -> Version:
    name, level = cursor.text("protocol name"), cursor.number(1, "protocol level")
    for version, expected in _PROTOCOL_NAMES.items():
        if (name, level) == (expected, version):
            return version
    raise MalformedPacket(f"the protocol name {name!r} with level {level} is not MQTT 3.1 to 5.0")


def _will(cursor: Cursor, flags: int, version: Version) -> Will | None:
    qos, retain = flags >> 3 & 3, bool(flags & 0x20)
    if not flags & 4:
        if qos or retain:
            raise MalformedPacket("will QoS or will retain is set without a will")
        return None
    if qos == 3:
        raise MalformedPacket("the will has QoS 3")
    properties = _properties(cursor, version)
    return Will(cursor.text("will topic"), cursor.binary("will"), qos, retain, properties)


def parse_connack(body: bytes, version: Version) -> Connack:
    """Parse CONNACK (section 3.2).

    `session_present` may come with a refusal: ThingsBoard does that, against the standard. In 5.0 a
    body of two bytes is read too, since a server refusing the version may answer in the old form.
    """
    cursor = Cursor(body)
    flags = cursor.number(1, "connect acknowledge flags")
    if flags > 1:
        raise MalformedPacket(f"the connect acknowledge flags are 0x{flags:02X}")
    code = cursor.number(1, "code")
    properties = _properties(cursor, version) if cursor.left else {}
    cursor.end()
    return Connack(code, bool(flags), version, properties)


def parse_publish(body: bytes, flags: int, version: Version) -> Publish:
    """Parse PUBLISH (section 3.3); a wildcard in the topic or Packet Identifier 0 is malformed."""
    cursor = Cursor(body)
    qos = flags >> 1 & 3
    topic = cursor.text("Topic Name")
    if "+" in topic or "#" in topic:
        raise MalformedPacket("the Topic Name contains a wildcard")
    packet_id = _packet_id(cursor) if qos else None
    properties = _properties(cursor, version)
    if not topic and "topic_alias" not in properties:
        raise MalformedPacket("the Topic Name is empty")
    retain, dup = bool(flags & 1), bool(flags & 8)
    return Publish(topic, cursor.rest(), qos, packet_id, retain, dup, version, properties)


def _packet_id(cursor: Cursor) -> int:
    packet_id = cursor.number(2, "Packet Identifier")
    if packet_id == 0:
        raise MalformedPacket("the Packet Identifier is 0")
    return packet_id


def parse_puback(body: bytes, version: Version) -> Puback:
    """Parse PUBACK (section 3.4); in 5.0 the Reason Code and properties may be left out."""
    cursor = Cursor(body)
    packet_id = _packet_id(cursor)
    code, properties = _code_and_properties(cursor, version)
    return Puback(packet_id, code, version, properties)


def _code_and_properties(cursor: Cursor, version: Version) -> tuple[int, Properties]:
    code = cursor.number(1, "Reason Code") if cursor.left and version is Version.V5 else 0
    properties = _properties(cursor, version) if cursor.left else {}
    cursor.end()
    return code, properties


def parse_subscribe(body: bytes, version: Version) -> Subscribe:
    """Parse SUBSCRIBE (section 3.8); no Topic Filter, an empty one, or QoS 3 is malformed."""
    cursor = Cursor(body)
    packet_id = _packet_id(cursor)
    properties = _properties(cursor, version)
    filters: list[tuple[str, int]] = []
    while cursor.left:
        topic, options = cursor.text("Topic Filter"), cursor.number(1, "subscription options")
        if not topic or options & 3 == 3 or options & 0xC0:
            raise MalformedPacket("SUBSCRIBE has an empty Topic Filter, QoS 3 or reserved bits")
        filters.append((topic, options))
    if not filters:
        raise MalformedPacket("SUBSCRIBE has no Topic Filter")
    return Subscribe(packet_id, tuple(filters), version, properties)


def parse_suback(body: bytes, version: Version) -> Suback:
    """Parse SUBACK (section 3.9)."""
    cursor = Cursor(body)
    packet_id = _packet_id(cursor)
    properties = _properties(cursor, version)
    return Suback(packet_id, tuple(cursor.rest()), version, properties)


def parse_unsubscribe(body: bytes, version: Version) -> Unsubscribe:
    """Parse UNSUBSCRIBE (section 3.10); no Topic Filter is malformed."""
    cursor = Cursor(body)
    packet_id = _packet_id(cursor)
    properties = _properties(cursor, version)
    filters: list[str] = []
    while cursor.left:
        filters.append(cursor.text("Topic Filter"))
    if not filters:
        raise MalformedPacket("UNSUBSCRIBE has no Topic Filter")
    return Unsubscribe(packet_id, tuple(filters), version, properties)


def parse_unsuback(body: bytes, version: Version) -> Unsuback:
    """Parse UNSUBACK (section 3.11)."""
    cursor = Cursor(body)
    packet_id = _packet_id(cursor)
    properties = _properties(cursor, version)
    return Unsuback(packet_id, tuple(cursor.rest()), version, properties)


def parse_disconnect(body: bytes, version: Version) -> Disconnect:
    """Parse DISCONNECT (section 3.14)."""
    code, properties = _code_and_properties(Cursor(body), version)
    return Disconnect(code, version, properties)


def parse(header: FixedHeader, body: bytes, version: Version = Version.V311) -> Packet:
    """Parse any packet this module knows; `version` is the connection's (CONNECT brings its own).

    Raises MalformedPacket also for PUBREC, PUBREL, PUBCOMP and AUTH: ThingsBoard has no QoS 2 and
    no enhanced authentication, so nobody here sends them.
    """
    match header.packet_type:
        case PacketType.CONNECT:
            return parse_connect(body)
        case PacketType.PUBLISH:
            return parse_publish(body, header.flags, version)
        case PacketType.PINGREQ | PacketType.PINGRESP:
            Cursor(body).end()
            return Ping(header.packet_type is PacketType.PINGRESP)
    parser = _PARSERS.get(header.packet_type)
    if parser is None:
        raise MalformedPacket(f"{header.packet_type.name} is not spoken here")
    return parser(body, version)


_PARSERS: dict[PacketType, Callable[[bytes, Version], Packet]] = {
    PacketType.CONNACK: parse_connack,
    PacketType.PUBACK: parse_puback,
    PacketType.SUBSCRIBE: parse_subscribe,
    PacketType.SUBACK: parse_suback,
    PacketType.UNSUBSCRIBE: parse_unsubscribe,
    PacketType.UNSUBACK: parse_unsuback,
    PacketType.DISCONNECT: parse_disconnect,
}


def encode(packet: Packet) -> bytes:
    """Return the bytes of a whole packet; ValueError when a value does not fit its field."""
    match packet:
        case Connect():
            return encode_packet(PacketType.CONNECT, 0, _connect_body(packet))
        case Connack(code, present, version, properties):
            body = bytes([present, code]) + _with_properties(version, properties)
            return encode_packet(PacketType.CONNACK, 0, body)
        case Publish():
            flags = packet.dup << 3 | packet.qos << 1 | packet.retain
            return encode_packet(PacketType.PUBLISH, flags, _publish_body(packet))
        case Puback(packet_id, code, version, properties):
            body = encode_number(packet_id, 2) + _short_body(code, version, properties)
            return encode_packet(PacketType.PUBACK, 0, body)
        case Ping(response):
            kind = PacketType.PINGRESP if response else PacketType.PINGREQ
            return encode_packet(kind, 0, b"")
        case Disconnect(code, version, properties):
            return encode_packet(PacketType.DISCONNECT, 0, _short_body(code, version, properties))
    return _encode_subscription(packet)


def _encode_subscription(packet: Subscribe | Suback | Unsubscribe | Unsuback) -> bytes:
    head = encode_number(packet.packet_id, 2) + _with_properties(packet.version, packet.properties)
    match packet:
        case Subscribe(filters=pairs):
            body = b"".join(encode_text(topic) + bytes([options]) for topic, options in pairs)
            return encode_packet(PacketType.SUBSCRIBE, 2, head + body)
        case Unsubscribe(filters=topics):
            body = b"".join(map(encode_text, topics))
            return encode_packet(PacketType.UNSUBSCRIBE, 2, head + body)
        case Suback(codes=codes):
            return encode_packet(PacketType.SUBACK, 0, head + bytes(codes))
        case Unsuback(codes=codes):
            return encode_packet(PacketType.UNSUBACK, 0, head + bytes(codes))


def _connect_body(packet: Connect) -> bytes:
    flags = 2 * packet.clean_session
    flags |= 0x80 * (packet.username is not None) | 0x40 * (packet.password is not None)
    if will := packet.will:
        flags |= 4 | will.qos << 3 | 0x20 * will.retain
    head = encode_text(_PROTOCOL_NAMES[packet.version]) + bytes([packet.version, flags])
    body = head + encode_number(packet.keep_alive, 2)
    body += _with_properties(packet.version, packet.properties) + encode_text(packet.client_id)
    if will:
        body += _with_properties(packet.version, will.properties)
        body += encode_text(will.topic) + encode_binary(will.payload)
    if packet.username is not None:
        body += encode_text(packet.username)
    return body + (encode_binary(packet.password) if packet.password is not None else b"")


def _publish_body(packet: Publish) -> bytes:
    if (packet.packet_id is None) != (packet.qos == 0):
        raise ValueError("a PUBLISH has a Packet Identifier exactly when its QoS is not 0")
    number = b"" if packet.packet_id is None else encode_number(packet.packet_id, 2)
    properties = _with_properties(packet.version, packet.properties)
    return encode_text(packet.topic) + number + properties + packet.payload


def _short_body(code: int, version: Version, properties: Properties) -> bytes:
    if version is not Version.V5 or not (code or properties):
        return b""
    return bytes([code]) + (encode_properties(properties) if properties else b"")
