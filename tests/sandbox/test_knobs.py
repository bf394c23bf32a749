"""Each fault of the broker does the one thing it is named for, and nothing outlives the broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tbdiag.protocol.mqtt import (
    Connack,
    Disconnect,
    MalformedPacket,
    Ping,
    Puback,
    Publish,
    Version,
)
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.knobs import (
    ByteByByte,
    ClosedBeforeConnack,
    ClosedOnPublish,
    DelayedConnack,
    DisconnectedAfterConnack,
    Fault,
    ForcedConnack,
    ForcedPuback,
    GarbageConnack,
    NoAttributeResponse,
    NoConnack,
    NoPuback,
    ReasonString,
    SessionPresent,
    Version5Refused,
)
from tbdiag.sandbox.profile import DEFAULT_TOKEN

V311, V5 = Version.V311, Version.V5
Dial = Callable[..., Any]


def connecting(dial: Dial, fault: Fault, version: Version = V311) -> list[Any]:
    """What a good CONNECT is answered with, up to two packets; None is the end."""
    with Broker(faults=[fault]) as broker:
        client = dial(broker.port, version)
        first = client.connect()
        return [first] if first is None or first.code == 0 else [first, client.receive()]


@pytest.mark.parametrize(
    ("fault", "version", "answers"),
    [
        (ClosedBeforeConnack(), V311, [None]),
        (ClosedBeforeConnack(reset=True), V311, [None]),
        (ForcedConnack(return_code=4), V311, [Connack(4), None]),
        (ForcedConnack(return_code=4), V5, [Connack(0, version=V5)]),
        (ForcedConnack(reason_code=0x8A), V5, [Connack(0x8A, version=V5), Disconnect(0x8A, V5)]),
        (Version5Refused(), V5, [Connack(1, version=V5), None]),
        (SessionPresent(), V311, [Connack(0, session_present=True)]),
        (ByteByByte(0.001), V311, [Connack(0)]),
        (DelayedConnack(0.01), V311, [Connack(0)]),
    ],
)
def test_connack_faults(dial: Dial, fault: Fault, version: Version, answers: list[Any]) -> None:
    """A CONNACK fault changes CONNACK as it says."""
    assert connecting(dial, fault, version) == answers


def test_delayed_connack_waits(dial: Dial) -> None:
    """CONNACK comes no earlier than the delay."""
    began = time.monotonic()
    connecting(dial, DelayedConnack(0.1))
    assert time.monotonic() - began >= 0.1


def test_byte_by_byte_is_byte_by_byte(dial: Dial) -> None:
    """The first read of a dripped CONNACK is one byte."""
    with Broker(faults=[ByteByByte(0.05)]) as broker:
        client = dial(broker.port)
        client.sock.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
        assert client.sock.recv(100) == b"\x20"


def test_garbage_connack_is_not_mqtt(dial: Dial) -> None:
    """The garbage cannot be read as a packet."""
    with pytest.raises(MalformedPacket):
        connecting(dial, GarbageConnack())


def test_hostile_reason_string(dial: Dial) -> None:
    """The reason string reaches the client as it is, in CONNACK and in PUBACK."""
    text = "\x1b[2J\r\n::error::<script>"
    faults = [ForcedPuback(0x97), ReasonString(text)]
    with Broker(faults=faults) as broker:
        client = dial(broker.port, V5)
        assert client.connect().reason_string == text
        client.send(Publish("v1/devices/me/telemetry", b"{}", 1, 1, version=V5))
        assert client.receive() == Puback(1, 0x97, V5, {"reason_string": text})


@pytest.mark.parametrize(
    ("code", "version", "answers"),
    [
        (0x8E, V5, [Disconnect(0x8E, V5), None]),
        (None, V5, [None]),
        (0x8E, V311, [None]),
    ],
)
def test_disconnected_after_connack(
    dial: Dial, code: int | None, version: Version, answers: list[Any]
) -> None:
    """An accepted client is disconnected at once, told why only in MQTT 5."""
    with Broker(faults=[DisconnectedAfterConnack(code)]) as broker:
        client = dial(broker.port, version)
        assert client.connect().code == 0
        assert [client.receive() for _ in answers] == answers


@pytest.mark.parametrize(
    ("fault", "version", "said"),
    [
        (NoPuback(), V311, "nothing"),
        (ForcedPuback(0x97), V311, "0x00"),
        (ForcedPuback(0x97), V5, "0x97"),
        (ClosedOnPublish(), V311, "closed"),
        (ClosedOnPublish(0x83), V311, "closed"),
        (ClosedOnPublish(0x83), V5, "0x83+closed"),
        (ClosedOnPublish(0x83, after=1), V5, "0x00"),
    ],
)
def test_publish_faults(dial: Dial, fault: Fault, version: Version, said: str) -> None:
    """A PUBLISH fault changes its answer as it says."""
    with Broker(faults=[fault]) as broker:
        client = dial(broker.port, version)
        client.connect()
        assert client.publish() == said


def test_no_attribute_response(dial: Dial) -> None:
    """A generic broker acknowledges an attribute request and never answers it."""
    with Broker(faults=[NoAttributeResponse()]) as broker:
        client = dial(broker.port)
        client.connect()
        assert client.publish("v1/devices/me/attributes/request/1", b"{}") == "0x00"
        assert client.receive() == Ping(response=True)


@pytest.mark.parametrize(
    "fault", [NoConnack(), DelayedConnack(600), ByteByByte(600)], ids=lambda f: type(f).__name__
)
def test_a_waiting_fault_ends_with_the_broker(dial: Dial, fault: Fault) -> None:
    """A client that waits for ever does not hold up the broker's end, nor leak its thread."""
    before = threading.active_count()
    with Broker(faults=[fault]) as broker:
        client = dial(broker.port)
        client.sock.sendall(b"\x10\x22\x00\x04MQTT\x04\x82\x00\x3c\x00\x00\x00\x14")
        client.sock.sendall(DEFAULT_TOKEN.encode())
        broker.wait_for("connect")
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert threading.active_count() == before


def test_an_error_of_the_sandbox_itself_is_not_lost(dial: Dial) -> None:
    """An exception in a connection's thread is raised when the broker stops."""

    class Broken(Fault):
        def connected(self, session: object) -> None:
            raise ZeroDivisionError

    def run() -> None:
        with Broker(faults=[Broken()]) as broker:
            client = dial(broker.port)
            client.connect()
            client.receive()

    with pytest.raises(ZeroDivisionError):
        run()
