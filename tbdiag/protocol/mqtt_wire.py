"""How MQTT writes numbers, text and properties, and where one Control Packet ends.

Everything here is pure: bytes in, values out. Nothing opens a socket.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tbdiag.fact import Fact
from tbdiag.protocol.mqtt_codes import PROPERTIES, PacketType

PropertyValue = int | str | bytes | tuple[int, ...] | tuple[tuple[str, str], ...]
"""What a property holds; `user_property` and `subscription_identifier` repeat, so are tuples."""

Properties = Mapping[str, PropertyValue]
"""Properties of MQTT 5.0 by the specification's names in snake_case, as in "reason_string"."""

MAX_REMAINING_LENGTH: Final = 268_435_455
"""The largest Remaining Length that four bytes can say (section 2.2.3 of 3.1.1)."""

_PROPERTY_IDS = {name: (number, kind) for number, (name, kind) in PROPERTIES.items()}
_REPEATABLE = frozenset({"user_property", "subscription_identifier"})
_FIXED_WIDTH = {"byte": 1, "two": 2, "four": 4}
_FLAGS_TWO = frozenset({PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE, PacketType.PUBREL})


class MalformedPacket(ValueError):
    """Bytes that are no MQTT Control Packet; the message says which part and why."""


class PacketTooLarge(MalformedPacket):
    """A Remaining Length above the reader's limit; nothing of the packet was kept."""


class FixedHeader(Fact, frozen=True):
    """Type, flags (0 to 15) and Remaining Length in bytes of one packet (section 2.2 of 3.1.1)."""

    packet_type: PacketType
    flags: int
    remaining_length: int


class Cursor:
    """Reads MQTT's data types from a packet body, left to right (section 1.5 of 5.0).

    Every method raises MalformedPacket when the body ends early.
    """

    __slots__ = ("_body", "_position")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    @property
    def left(self) -> int:
        """How many bytes have not been read."""
        return len(self._body) - self._position

    def take(self, count: int, what: str = "bytes") -> bytes:
        """Return the next `count` bytes; `what` names the field in the error."""
        if count > self.left:
            raise MalformedPacket(f"the packet ends inside its {what}")
        start, self._position = self._position, self._position + count
        return self._body[start : self._position]

    def rest(self) -> bytes:
        """Return everything not yet read."""
        return self.take(self.left)

    def number(self, width: int, what: str) -> int:
        """Return an unsigned big-endian integer of `width` bytes."""
        return int.from_bytes(self.take(width, what), "big")

    def binary(self, what: str) -> bytes:
        """Return Binary Data: a two-byte length, then that many bytes."""
        return self.take(self.number(2, what), what)

    def text(self, what: str) -> str:
        """Return a UTF-8 Encoded String; U+0000 and surrogates are malformed (section 1.5.4)."""
        try:
            text = self.binary(what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedPacket(f"the {what} is not UTF-8") from error
        if "\0" in text:
            raise MalformedPacket(f"the {what} contains U+0000")
        return text

    def variable(self, what: str) -> int:
        """Return a Variable Byte Integer of one to four bytes (section 1.5.5)."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.number(1, what)
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise MalformedPacket(f"the {what} takes more than four bytes")

    def end(self) -> None:
        """Raise MalformedPacket when bytes are left over."""
        if self.left:
            raise MalformedPacket(f"{self.left} bytes follow the end of the packet")


def encode_number(value: int, width: int) -> bytes:
    """Return `value` in `width` big-endian bytes; ValueError when it does not fit."""
    try:
        return value.to_bytes(width, "big")
    except OverflowError as error:
        raise ValueError(f"{value} does not fit in {width} bytes") from error


def encode_binary(data: bytes) -> bytes:
    """Return Binary Data; ValueError above 65,535 bytes."""
    return encode_number(len(data), 2) + data


def encode_text(text: str) -> bytes:
    """Return a UTF-8 Encoded String; ValueError above 65,535 bytes."""
    return encode_binary(text.encode("utf-8"))


def encode_variable(value: int) -> bytes:
    """Return a Variable Byte Integer; ValueError outside 0 to 268,435,455."""
    if not 0 <= value <= MAX_REMAINING_LENGTH:
        raise ValueError(f"{value} does not fit in a Variable Byte Integer")
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | 0x80 if value else low)
        if not value:
            return bytes(out)


def encode_packet(packet_type: PacketType, flags: int, body: bytes) -> bytes:
    """Return a whole Control Packet: fixed header, then `body`."""
    return bytes([packet_type << 4 | flags]) + encode_variable(len(body)) + body


def _parse_property(cursor: Cursor, kind: str, name: str) -> PropertyValue:
    if kind in _FIXED_WIDTH:
        return cursor.number(_FIXED_WIDTH[kind], name)
    if kind == "variable":
        return (cursor.variable(name),)
    if kind == "string":
        return cursor.text(name)
    if kind == "binary":
        return cursor.binary(name)
    return ((cursor.text(name), cursor.text(name)),)


def parse_properties(cursor: Cursor) -> dict[str, PropertyValue]:
    """Read Property Length and properties from `cursor` (5.0, section 2.2.2).

    An unknown identifier, or a second value where one is allowed, is malformed.
    """
    block = Cursor(cursor.take(cursor.variable("property length"), "properties"))
    found: dict[str, PropertyValue] = {}
    while block.left:
        identifier = block.variable("property identifier")
        if identifier not in PROPERTIES:
            raise MalformedPacket(f"property identifier 0x{identifier:02X} does not exist")
        name, kind = PROPERTIES[identifier]
        value = _parse_property(block, kind, name)
        if name in found:
            value = _append(name, found[name], value)
        found[name] = value
    return found


def _append(name: str, first: PropertyValue, second: PropertyValue) -> PropertyValue:
    if name not in _REPEATABLE or not isinstance(first, tuple) or not isinstance(second, tuple):
        raise MalformedPacket(f"the property {name} appears twice")
    return first + second  # type: ignore[operator]  # both of one kind


def _encode_property(number: int, kind: str, value: PropertyValue) -> bytes:
    head = encode_variable(number)
    match value:
        case int() if kind in _FIXED_WIDTH:
            return head + encode_number(value, _FIXED_WIDTH[kind])
        case str() if kind == "string":
            return head + encode_text(value)
        case bytes() if kind == "binary":
            return head + encode_binary(value)
        case tuple() if kind == "variable":
            return b"".join(head + encode_variable(v) for v in value if isinstance(v, int))
        case tuple() if kind == "pair":
            pairs = [v for v in value if isinstance(v, tuple)]
            return b"".join(head + encode_text(k) + encode_text(v) for k, v in pairs)
    raise ValueError(f"{value!r} is no value for a property of type {kind}")


def encode_properties(properties: Properties) -> bytes:
    """Return Property Length and properties; KeyError for a name the standard does not have."""
    block = b"".join(
        _encode_property(*_PROPERTY_IDS[name], value) for name, value in properties.items()
    )
    return encode_variable(len(block)) + block


class PacketReader:
    """Cuts a byte stream into Control Packets, however the stream was split on the way.

    `max_packet` limits the Remaining Length in bytes, so a peer cannot make us hold more.
    """

    def __init__(self, max_packet: int = MAX_REMAINING_LENGTH) -> None:
        self._buffer = bytearray()
        self._max_packet = max_packet

    @property
    def pending(self) -> bytes:
        """The bytes of a packet that has not arrived whole."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[tuple[FixedHeader, bytes]]:
        """Add `data` and return the packets now complete, as fixed header and body.

        MalformedPacket (PacketTooLarge above `max_packet`) is raised as soon as the fixed header
        shows it; when whole packets came before it, those are returned and the next call raises,
        `feed(b"")` included.
        """
        self._buffer += data
        packets: list[tuple[FixedHeader, bytes]] = []
        try:
            while (packet := self._next()) is not None:
                packets.append(packet)
        except MalformedPacket:
            if not packets:
                raise
        return packets

    def _next(self) -> tuple[FixedHeader, bytes] | None:
        found = parse_fixed_header(self._buffer)
        if found is None:
            return None
        header, size = found
        if header.remaining_length > self._max_packet:
            raise PacketTooLarge(
                f"the packet has {header.remaining_length} bytes, the limit is {self._max_packet}"
            )
        end = size + header.remaining_length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[size:end])
        del self._buffer[:end]
        return header, body


def parse_fixed_header(data: bytes | bytearray) -> tuple[FixedHeader, int] | None:
    """Return the fixed header at the start of `data` and its length, or None when it needs more.

    Raises MalformedPacket for the reserved type 0, for flags the type does not allow (section
    2.2.2 of 3.1.1) and for a Remaining Length of more than four bytes. A ClientHello (0x16) fails
    here: read as CONNECT, its flags are 6.
    """
    if not data:
        return None
    number, flags = divmod(data[0], 16)
    if number == 0:
        raise MalformedPacket("Control Packet type 0 is reserved")
    packet_type = PacketType(number)
    if packet_type is PacketType.PUBLISH:
        if flags & 0b0110 == 0b0110:
            raise MalformedPacket("PUBLISH has QoS 3")
    elif flags != (2 if packet_type in _FLAGS_TWO else 0):
        raise MalformedPacket(f"{packet_type.name} has the flags {flags}")
    if len(data) < 5 and all(byte & 0x80 for byte in data[1:]):
        return None
    cursor = Cursor(bytes(data[:5]))
    cursor.take(1)
    length = cursor.variable("Remaining Length")
    return FixedHeader(packet_type, flags, length), min(len(data), 5) - cursor.left
