"""Nothing wrong: what a green report looks like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tbdiag.registry import scenario
from tbdiag.sandbox.authority import self_signed
from tbdiag.sandbox.knobs import ByteByByte, DelayedConnack, Version5Refused
from tbdiag.sandbox.stand import Room, Stand

ALL_OK = dict.fromkeys(
    (
        "ca.load",
        "dns.resolve",
        "tcp.connect",
        "tls.handshake",
        "tls.verify",
        "mqtt.connect",
        "mqtt.publish",
        "mqtt.attributes",
    ),
    "ok",
)


@scenario("healthy", status=ALL_OK)
@contextmanager
def healthy(room: Room) -> Iterator[Stand]:
    """A ThingsBoard with a private CA, an intermediate and a valid certificate."""
    with room.serve(room.broker()) as stand:
        yield stand


@scenario("healthy-self-signed", status={"tls.verify": "ok", "mqtt.connect": "ok"})
@contextmanager
def healthy_self_signed(room: Room) -> Iterator[Stand]:
    """A self-signed server certificate that the device carries as its CA file: this is fine."""
    issued = self_signed(now=room.now)
    with room.serve_chain(issued, issued.pem()) as stand:
        yield stand


@scenario("plain", rules=("mqtt.token-in-clear",), status={"tls.handshake": "not-applicable"})
@contextmanager
def plain(room: Room) -> Iterator[Stand]:
    """Plain MQTT on a port the user chose: works, and the token travels in clear."""
    with room.serve_plain() as stand:
        yield stand


@scenario("old-server", rules=("mqtt.publish-unproven",), status={"mqtt.connect": "ok"})
@contextmanager
def old_server(room: Room) -> Iterator[Stand]:
    """A ThingsBoard 3.4 that speaks MQTT 3.1.1 only: a PUBACK there proves no storage."""
    with room.serve(room.broker(generation="3.4")) as stand:
        yield stand


@scenario("version-5-refused", rules=("mqtt.publish-unproven",), status={"mqtt.connect": "ok"})
@contextmanager
def version_5_refused(room: Room) -> Iterator[Stand]:
    """A broker that answers an MQTT 5 CONNECT with Return code 1, and speaks 3.1.1."""
    with room.serve(room.broker(Version5Refused())) as stand:
        yield stand


@scenario("remark", rules=("target.remark",), status=ALL_OK)
@contextmanager
def remark(room: Room) -> Iterator[Stand]:
    """A target read from a gateway's configuration, with a remark on it."""
    note = "the gateway itself verifies nothing with caCert and a token since 3.6.2"
    with room.serve(room.broker(), notes=(note,)) as stand:
        yield stand


@scenario("slow-connack", status=ALL_OK)
@contextmanager
def slow_connack(room: Room) -> Iterator[Stand]:
    """CONNACK takes three seconds: slow, but it works."""
    with room.serve(room.broker(DelayedConnack(3))) as stand:
        yield stand


@scenario("byte-by-byte", status=ALL_OK)
@contextmanager
def byte_by_byte(room: Room) -> Iterator[Stand]:
    """Every MQTT packet arrives one byte at a time: it works."""
    with room.serve(room.broker(ByteByByte())) as stand:
        yield stand
