"""The MQTT codec: round trips, the standard's refusals, and streams cut anywhere."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tbdiag.protocol.mqtt import (
    CONNACK_RETURN_CODES,
    REASON_CODES,
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
    Will,
    code_name,
    encode,
    parse,
    parse_connack,
    parse_connect,
)

texts = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), max_size=40)
names = texts.filter(bool)
blobs = st.binary(max_size=60)
packet_ids = st.integers(1, 0xFFFF)
codes = st.integers(0, 0xFF)
versions = st.sampled_from(Version)
properties = st.fixed_dictionaries(
    {},
    optional={
        "reason_string": texts,
        "session_expiry_interval": st.integers(0, 0xFFFFFFFF),
        "receive_maximum": st.integers(0, 0xFFFF),
        "maximum_qos": st.integers(0, 0xFF),
        "correlation_data": blobs,
        "user_property": st.lists(st.tuples(texts, texts), min_size=1, max_size=3).map(tuple),
        "subscription_identifier": st.lists(
            st.integers(1, 268_435_455), min_size=1, max_size=3
        ).map(tuple),
    },
)


def optional_properties(version: Version) -> st.SearchStrategy[dict[str, object]]:
    """Properties where the version has them."""
    return properties if version is Version.V5 else st.just({})


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """Any packet of any version."""
    version = draw(versions)
    extra = draw(optional_properties(version))
    qos = draw(st.integers(0, 2))
    v5 = version is Version.V5
    will = Will(draw(names), draw(blobs), qos, draw(st.booleans()), extra)
    client_id = draw(names)[:23] if version is Version.V31 else draw(texts)
    filters = draw(st.lists(st.tuples(names, st.integers(0, 2)), min_size=1, max_size=3))
    number, code = draw(packet_ids), draw(codes)
    code = code if v5 else 0
    return draw(
        st.sampled_from(
            [
                Connect(
                    client_id,
                    draw(st.none() | texts),
                    draw(st.none() | blobs),
                    version,
                    draw(st.booleans()),
                    number,
                    draw(st.sampled_from([None, will])),
                    extra,
                ),
                Connack(draw(codes), draw(st.booleans()), version, extra),
                Publish(
                    draw(names),
                    draw(blobs),
                    qos,
                    number if qos else None,
                    draw(st.booleans()),
                    draw(st.booleans()),
                    version,
                    extra,
                ),
                Puback(number, code, version, extra),
                Subscribe(number, tuple(filters), version, extra),
                Suback(number, tuple(draw(st.lists(codes))), version, extra),
                Unsubscribe(number, tuple(name for name, _ in filters), version, extra),
                Unsuback(number, tuple(draw(st.lists(codes))), version, extra),
                Ping(draw(st.booleans())),
                Disconnect(code, version, extra),
            ]
        )
    )


def version_of(packet: Packet) -> Version:
    """The version to parse a packet with."""
    return Version.V311 if isinstance(packet, Ping) else packet.version


@given(packets())
def test_round_trip(packet: Packet) -> None:
    """Parsing what was encoded gives the same packet."""
    [(header, body)] = PacketReader().feed(encode(packet))
    assert parse(header, body, version_of(packet)) == packet


@given(st.lists(packets(), max_size=5), st.integers(1, 7))
def test_reader_ignores_how_the_stream_was_cut(sent: list[Packet], step: int) -> None:
    """The reader finds the same packets whatever the size of the pieces."""
    stream = b"".join(map(encode, sent))
    reader = PacketReader()
    found: list[tuple[FixedHeader, bytes]] = []
    for start in range(0, len(stream), step):
        found += reader.feed(stream[start : start + step])
    assert [parse(h, b, version_of(p)) for (h, b), p in zip(found, sent, strict=True)] == sent
    assert reader.pending == b""


@given(st.sampled_from(PacketType), st.integers(0, 15), st.binary(max_size=80), versions)
def test_any_body_parses_or_is_malformed(
    kind: PacketType, flags: int, body: bytes, version: Version
) -> None:
    """No bytes make the parser raise anything but MalformedPacket."""
    with suppress(MalformedPacket):
        parse(FixedHeader(kind, flags, len(body)), body, version)


@given(st.binary(max_size=60))
def test_any_stream_reads_or_is_malformed(stream: bytes) -> None:
    """No stream makes the reader raise anything but MalformedPacket."""
    with suppress(MalformedPacket):
        PacketReader().feed(stream)


def test_connect_of_the_standard() -> None:
    """A CONNECT written by hand from section 3.1 parses field by field."""
    body = b"\x00\x04MQTT\x04\xc2\x00\x3c\x00\x02id\x00\x05TOKEN\x00\x02pw"
    assert parse_connect(body) == Connect("id", "TOKEN", b"pw", Version.V311, True, 60)


def test_repr_keeps_the_credentials() -> None:
    """A CONNECT in a log or traceback does not show its user name, which is the token."""
    assert "TOKEN" not in repr(Connect("id", "TOKEN", b"TOKEN"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x00\x04MQTX\x04\x02\x00\x3c\x00\x00", "protocol name"),
        (b"\x00\x04MQTT\x06\x02\x00\x3c\x00\x00", "level 6"),
        (b"\x00\x04MQTT\x04\x03\x00\x3c\x00\x00", "reserved connect flag"),
        (b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00", "1 to 23"),
        (b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x18" + b"x" * 24, "1 to 23"),
        (b"\x00\x04MQTT\x04\x0a\x00\x3c\x00\x00", "without a will"),
        (b"\x00\x04MQTT\x04\x1e\x00\x3c\x00\x00\x00\x01t\x00\x00", "QoS 3"),
        (b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x00!", "follow the end"),
        (b"\x00\x04MQTT\x04\x82\x00\x3c\x00\x00\x00\x09abc", "ends inside"),
        (b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x02\xff\xfe", "not UTF-8"),
        (b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\x00", "U+0000"),
        (b"\x00\x04MQTT\x05\x02\x00\x3c\x02\x7f\x00\x00\x00", "0x7F does not exist"),
        (b"\x00\x04MQTT\x05\x02\x00\x3c\x06\x21\x00\x01\x21\x00\x01\x00\x00", "appears twice"),
    ],
)
def test_malformed_connect(body: bytes, reason: str) -> None:
    """A CONNECT the standard forbids is refused with the reason."""
    with pytest.raises(MalformedPacket, match=reason.replace("+", r"\+")):
        parse_connect(body)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"\x16\x03\x01\x02\x00", "CONNECT has the flags 6"),
        (b"\x15\x03\x03\x00\x02\x02\x0a", "CONNECT has the flags 5"),
        (b"\x00\x00", "type 0"),
        (b"\x36\x00", "QoS 3"),
        (b"\x30\xff\xff\xff\xff", "more than four bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n", "PUBACK has the flags 8"),
    ],
)
def test_stream_that_is_not_mqtt(stream: bytes, reason: str) -> None:
    """Bytes of another protocol are recognised at the fixed header."""
    with pytest.raises(MalformedPacket, match=reason):
        PacketReader().feed(stream)


def test_reader_refuses_a_packet_above_its_limit() -> None:
    """A packet above the limit is refused before its body is held."""
    with pytest.raises(PacketTooLarge, match="65537 bytes, the limit is 65536"):
        PacketReader(65536).feed(b"\x30\x81\x80\x04")


def test_reader_returns_whole_packets_before_it_raises() -> None:
    """A packet that came whole is not lost to the malformed bytes behind it."""
    reader = PacketReader()
    assert len(reader.feed(b"\xc0\x00" + b"\x00\x00")) == 1
    with pytest.raises(MalformedPacket):
        reader.feed(b"")


def test_connack_refusal_with_session_present() -> None:
    """Session present on a refusal parses, since ThingsBoard sends it."""
    connack = parse_connack(b"\x01\x05", Version.V311)
    assert (connack.session_present, connack.name) == (True, CONNACK_RETURN_CODES[5])


def test_reason_string() -> None:
    """The Reason String of a CONNACK 5.0 is read by name."""
    packet = Connack(0x87, version=Version.V5, properties={"reason_string": "no"})
    [(_, body)] = PacketReader().feed(encode(packet))
    connack = parse_connack(body, Version.V5)
    assert (connack.reason_string, connack.name) == ("no", "Not authorized")


@pytest.mark.parametrize(
    ("code", "kind", "version", "name"),
    [
        (5, PacketType.CONNACK, Version.V311, "Connection Refused, not authorized"),
        (0x86, PacketType.CONNACK, Version.V5, "Bad User Name or Password"),
        (0x80, PacketType.SUBACK, Version.V311, "Failure"),
        (0, PacketType.SUBACK, Version.V5, "Granted QoS 0"),
        (0, PacketType.DISCONNECT, Version.V5, "Normal disconnection"),
        (0xEE, PacketType.CONNACK, Version.V5, "unknown code 0xEE"),
    ],
)
def test_code_names(code: int, kind: PacketType, version: Version, name: str) -> None:
    """One number has the name of its packet and version."""
    assert code_name(code, kind, version) == name


def test_reason_codes_agree_with_paho() -> None:
    """Our table of Reason Codes is the one paho-mqtt has, up to a plural."""
    ours = {name for code, name in REASON_CODES.items() if code >= 0x80}
    theirs = {
        name
        for code, uses in ReasonCode(PacketTypes.CONNACK).names.items()
        for name in uses
        if code >= 0x80
    }
    assert {name.lower().replace("subscriptions", "subscription") for name in ours} == {
        name.lower().replace("subscriptions", "subscription") for name in theirs
    }


def test_properties_agree_with_paho() -> None:
    """Properties we encode are the ones paho-mqtt decodes."""
    packet = Connack(
        0, version=Version.V5, properties={"reason_string": "hi", "user_property": (("a", "b"),)}
    )
    theirs = Properties(PacketTypes.CONNACK)
    theirs.unpack(encode(packet)[4:])
    assert (theirs.ReasonString, theirs.UserProperty) == ("hi", [("a", "b")])
