"""The sandbox's broker answers as the reference says ThingsBoard does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tbdiag.protocol.mqtt import (
    Connack,
    Disconnect,
    Packet,
    Ping,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Version,
    Will,
)
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.profile import DEFAULT_TOKEN, PROFILES, Device, Profile

V31, V311, V5 = Version
Dial = Callable[..., Any]
TELEMETRY = "v1/devices/me/telemetry"
REQUEST = "v1/devices/me/attributes/request/1"


def code_of(connack: Packet | None) -> int | None:
    assert connack is None or isinstance(connack, Connack)
    return connack.code if connack else None


def publishing(
    dial: Dial, version: Version, topic: str, payload: bytes, **broker: Any
) -> tuple[str, tuple[dict[str, Any], ...]]:
    """What one QoS 1 publish is answered with, and what was stored."""
    with Broker(**broker) as server:
        client = dial(server.port, version)
        assert code_of(client.connect()) == 0
        return client.publish(topic, payload), server.telemetry


@pytest.mark.parametrize(
    ("fields", "returned", "reason"),
    [
        ({"username": DEFAULT_TOKEN}, 0, 0x00),
        ({"username": DEFAULT_TOKEN, "password": b"ignored"}, 0, 0x00),
        ({"username": "unknown"}, 5, 0x86),
        ({"username": "unknown", "password": b"x", "client_id": "c"}, 5, 0x86),
        ({"client_id": "c"}, 2, 0x85),
        ({"client_id": " "}, 5, 0x87),
        ({"username": ""}, 5, 0x86),
        ({"username": "provision"}, 0, 0x00),
        ({"client_id": "provision"}, 0, 0x00),
    ],
)
def test_connack(dial: Dial, fields: dict[str, Any], returned: int, reason: int) -> None:
    """CONNACK follows the table of the current server, for 3.1.1 and 5."""
    with Broker() as broker:
        old, new = dial(broker.port), dial(broker.port, V5)
        assert (code_of(old.connect(**fields)), code_of(new.connect(**fields))) == (
            returned,
            reason,
        )
        if returned:
            assert old.receive() is None
            assert new.receive() == Disconnect(reason, V5)
            assert new.receive() is None


@pytest.mark.parametrize(
    ("generation", "returned", "no_username", "new"),
    [("3.4", 5, 5, None), ("3.5.0", 4, 2, 0x86), ("3.5.1", 5, 2, 0x86), ("4.x", 5, 2, 0x86)],
)
def test_generations(
    dial: Dial, generation: str, returned: int, no_username: int, new: int | None
) -> None:
    """A wrong token, and none, are refused in the way of each server generation."""
    with Broker(generation=generation) as broker:
        assert code_of(dial(broker.port).connect(username="wrong")) == returned
        assert code_of(dial(broker.port).connect(client_id="c")) == no_username
        assert code_of(dial(broker.port, V5).connect(username="wrong")) == new


@pytest.mark.parametrize("generation", ["3.5.0", "3.5.1"])
def test_no_disconnect_before_3_7(dial: Dial, generation: str) -> None:
    """Servers before 3.7 close after a refusal without a DISCONNECT."""
    with Broker(generation=generation) as broker:
        client = dial(broker.port, V5)
        client.connect(username="wrong")
        assert client.receive() is None


@pytest.mark.parametrize("profile", ["coap", "sparkplug"])
def test_profiles_that_refuse(dial: Dial, profile: str) -> None:
    """A profile of another transport, or Sparkplug without its will, is "server unavailable"."""
    with Broker(profile=profile) as broker:
        client = dial(broker.port, V5)
        assert code_of(dial(broker.port).connect()) == 3
        assert code_of(client.connect()) == 0x88
        assert client.receive() == Disconnect(0x89, V5)


def test_sparkplug_with_its_will(dial: Dial) -> None:
    """A Sparkplug device with an NDEATH will is let in."""
    with Broker(profile="sparkplug") as broker:
        will = Will("spBv1.0/group/NDEATH/node", b"")
        assert code_of(dial(broker.port).connect(username=DEFAULT_TOKEN, will=will)) == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"client_id": "c", "username": "u", "password": b"p"}, 0),
        ({"client_id": "c", "username": "u", "password": b"q"}, 5),
        ({"client_id": "c", "username": "u"}, 5),
        ({"client_id": "d", "username": "u", "password": b"p"}, 5),
        ({"client_id": "only"}, 0),
    ],
)
def test_mqtt_basic(dial: Dial, fields: dict[str, Any], code: int) -> None:
    """MQTT Basic credentials must match in every part the device has."""
    devices = [
        Device("a", client_id="c", username="u", password="p"),
        Device("b", client_id="only"),
    ]
    with Broker(devices) as broker:
        assert code_of(dial(broker.port).connect(**fields)) == code


def test_session_present_is_not_clean_session(dial: Dial) -> None:
    """CONNACK says session present on a refusal when the client did not ask for a clean one."""
    with Broker() as broker:
        connack = dial(broker.port).connect(username="wrong", clean_session=False)
        assert connack == Connack(5, session_present=True)


@pytest.mark.parametrize("version", [V311, V5])
def test_takeover(dial: Dial, version: Version) -> None:
    """A second session of the same device ends the first, told why only in MQTT 5."""
    with Broker() as broker:
        first, second = dial(broker.port, version), dial(broker.port)
        assert code_of(first.connect(username=DEFAULT_TOKEN, client_id="one")) == 0
        assert code_of(second.connect(username=DEFAULT_TOKEN, client_id="two")) == 0
        if version is V5:
            assert first.receive() == Disconnect(0x8E, V5)
        assert first.receive() is None
        assert second.publish() == "0x00"


@pytest.mark.parametrize(
    ("payload", "stored"),
    [
        (b'{"temperature":25}', {"temperature": 25}),
        (b"{temperature:25}", {"temperature": 25}),
        (b'{"ts":1,"values":{"a":true}}', {"a": True}),
        (b'[{"a":"b"}]', {"a": "b"}),
    ],
)
@pytest.mark.parametrize("topic", [TELEMETRY, "v2/t", "v2/t/j"])
def test_telemetry_is_stored(
    dial: Dial, topic: str, payload: bytes, stored: dict[str, Any]
) -> None:
    """Telemetry on each of its topics is acknowledged and stored, quoted keys or not."""
    assert publishing(dial, V311, topic, payload) == ("0x00", (stored,))


@pytest.mark.parametrize(
    ("topic", "payload", "old", "new"),
    [
        ("v1/devices/me/telemtry", b"{}", "0x00", "0x90"),
        (TELEMETRY, b"hello world", "closed", "0x99"),
        (TELEMETRY, b"25", "closed", "0x99"),
        (TELEMETRY, b"", "closed", "0x99"),
        (TELEMETRY, b"\xff\xfe", "closed", "0x99"),
        (TELEMETRY, b"[" * 5000, "closed", "0x99"),
        ("v1/gateway/telemetry", b"{}", "nothing", "nothing"),
        (TELEMETRY, b"[]", "nothing", "nothing"),
        ("v1/devices/me/attributes", b'{"a":1}', "0x00", "0x00"),
        ("v1/devices/me/attributes", b"[]", "closed", "0x99"),
        ("v1/devices/me/attributes/request/x", b"{}", "closed", "0x99"),
        ("v1/devices/me/attributes/request/", b"{}", "closed", "0x99"),
        (REQUEST, b"no", "closed", "0x99"),
        ("v1/devices/me/claim", b"{}", "0x00", "0x00"),
    ],
)
def test_puback(dial: Dial, topic: str, payload: bytes, old: str, new: str) -> None:
    """Every row of the PUBLISH table is answered as in 3.1.1 and in 5, storing nothing."""
    assert publishing(dial, V311, topic, payload) == (old, ())
    assert publishing(dial, V5, topic, payload) == (new, ())


@pytest.mark.parametrize(
    ("profile", "topic", "payload", "old", "new"),
    [
        ("custom-topic", TELEMETRY, b'{"a":1}', "0x00", "0x90"),
        ("custom-topic", "sensors/telemetry", b'{"a":1}', "0x00", "0x00"),
        ("custom-topic", "v2/t/j", b'{"a":1}', "0x00", "0x00"),
        ("protobuf", TELEMETRY, b'{"temperature":25}', "closed", "0x99"),
        ("protobuf", TELEMETRY, b"\x08\x19", "0x00", "0x00"),
        ("protobuf", "v2/t/j", b'{"temperature":25}', "0x00", "0x00"),
        ("default", "v2/t/p", b"\x08\x19", "0x00", "0x00"),
    ],
)
def test_profiles(dial: Dial, profile: str, topic: str, payload: bytes, old: str, new: str) -> None:
    """A profile decides which topic and which encoding is telemetry; v2/t/j always works."""
    assert publishing(dial, V311, topic, payload, profile=profile)[0] == old
    assert publishing(dial, V5, topic, payload, profile=profile)[0] == new


def test_profile_that_acknowledges_invalid_payloads(dial: Dial) -> None:
    """With the profile's option an invalid payload gets a PUBACK in 3.1.1, and is dropped."""
    device = Device(token=DEFAULT_TOKEN, profile=Profile(ack_invalid=True))
    assert publishing(dial, V311, TELEMETRY, b"no", devices=[device]) == ("0x00", ())


def test_a_packet_above_the_limit(dial: Dial) -> None:
    """A packet above 65,536 bytes closes the connection, with 0x81 in MQTT 5."""
    payload = b'{"a":"' + b"x" * 65536 + b'"}'
    assert publishing(dial, V311, TELEMETRY, payload) == ("closed", ())
    assert publishing(dial, V5, TELEMETRY, payload) == ("0x81+closed", ())


def test_qos_2_gets_a_puback(dial: Dial) -> None:
    """QoS 2 is answered with PUBACK, never PUBREC, as the real transport does."""
    with Broker() as broker:
        client = dial(broker.port)
        client.connect()
        client.send(Publish(TELEMETRY, b"{}", 2, 9))
        assert client.receive() == Puback(9)


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize(
    ("request_topic", "response_topic"),
    [
        (REQUEST, "v1/devices/me/attributes/response/1"),
        ("v2/a/req/5", "v2/a/res/5"),
        ("v2/a/req/j/5", "v2/a/res/j/5"),
    ],
)
def test_attributes_round_trip(
    dial: Dial, version: Version, request_topic: str, response_topic: str
) -> None:
    """A client attribute written is read back by request, without any subscription."""
    device = Device(token=DEFAULT_TOKEN, attributes={"rate": 5})
    with Broker([device]) as broker:
        client = dial(broker.port, version)
        client.connect()
        client.send(Publish("v1/devices/me/attributes", b'{"model":"X","y":1}', version=version))
        client.send(Publish(request_topic, b'{"clientKeys":"model"}', 1, 3, version=version))
        assert client.receive() == Puback(3, version=version)
        answer = client.receive()
        assert (answer.topic, answer.payload) == (response_topic, b'{"client": {"model": "X"}}')
        client.send(Puback(answer.packet_id, version=version), Ping())
        assert client.receive() == Ping(response=True)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"{}", b'{"client": {"c": 1}, "shared": {"s": 2}}'),
        (b'{"sharedKeys":"s"}', b'{"shared": {"s": 2}}'),
        (b'{"clientKeys":"model"}', b"{}"),
    ],
)
def test_attribute_keys(dial: Dial, payload: bytes, expected: bytes) -> None:
    """No keys means all attributes, and keys the device lacks give an empty object."""
    with Broker([Device(token=DEFAULT_TOKEN, attributes={"s": 2})]) as broker:
        client = dial(broker.port)
        client.connect()
        client.send(Publish("v1/devices/me/attributes", b'{"c":1}'), Publish(REQUEST, payload))
        assert client.receive().payload == expected


def test_negative_request_id_gets_no_response(dial: Dial) -> None:
    """An attribute request with a negative id is acknowledged and not answered."""
    with Broker() as broker:
        client = dial(broker.port)
        client.connect()
        assert client.publish("v1/devices/me/attributes/request/-1", b"{}") == "0x00"
        assert client.receive() == Ping(response=True)


@pytest.mark.parametrize(("generation", "answered"), [("4.x", True), ("3.5.1", False)])
def test_session_limits(dial: Dial, generation: str, answered: bool) -> None:
    """Only current servers answer the getSessionLimits RPC."""
    with Broker(generation=generation) as broker:
        client = dial(broker.port)
        client.connect()
        rpc = b'{"method":"getSessionLimits","params":{}}'
        client.send(Publish("v1/devices/me/rpc/request/1", rpc), Ping())
        answer = client.receive()
        assert isinstance(answer, Publish if answered else Ping)
        if answered:
            assert b'"maxPayloadSize": 65536' in answer.payload


@pytest.mark.parametrize(
    ("topic_filter", "old", "new"),
    [
        ("v1/devices/me/attributes/response/+", 1, 1),
        ("v1/devices/me/rpc/request/+", 1, 1),
        ("#", 0x80, 0x8F),
        ("v1/devices/me/attributes/response/1", 0x80, 0x8F),
    ],
)
def test_subscribe(dial: Dial, topic_filter: str, old: int, new: int) -> None:
    """Only ThingsBoard's own Topic Filters are granted, at QoS 1 at most."""
    with Broker() as broker:
        for version, code in ((V311, old), (V5, new)):
            client = dial(broker.port, version)
            client.connect()
            client.send(Subscribe(4, ((topic_filter, 2),), version))
            assert client.receive() == Suback(4, (code,), version)
            client.send(Unsubscribe(5, (topic_filter,), version))
            assert isinstance(client.receive(), Unsuback)


def test_provisioning(dial: Dial) -> None:
    """A provision session creates a device whose new token connects, and does nothing else."""
    request = b'{"deviceName":"n","provisionDeviceKey":"k","provisionDeviceSecret":"s"}'
    good = request.replace(b'"k"', b'"provisionKey"').replace(b'"s"', b'"provisionSecret"')
    with Broker() as broker:
        client = dial(broker.port)
        client.connect(username="provision")
        client.send(Subscribe(1, (("/provision/response", 0), (REQUEST, 0))))
        assert client.receive() == Suback(1, (0, 0x80))
        client.send(Publish("/provision/request", request))
        assert b"NOT_FOUND" in client.receive().payload
        client.send(Publish("/provision/request", good))
        assert b"SUCCESS" in client.receive().payload
        client.send(Publish(TELEMETRY, b"{}", 1, 2))
        assert (client.receive(), client.receive()) == (Puback(2), None)
        token = broker.platform.devices[-1].token
        assert code_of(dial(broker.port).connect(username=token)) == 0
        assert broker.telemetry == ()


def test_gateway_device(dial: Dial) -> None:
    """A gateway device publishes for others."""
    with Broker([Device(token=DEFAULT_TOKEN, gateway=True)]) as broker:
        client = dial(broker.port)
        client.connect()
        payload = b'{"Device A":[{"ts":1,"values":{"t":1}}]}'
        assert client.publish("v1/gateway/telemetry", payload) == "0x00"
        assert broker.platform.telemetry == [("Device A", {"t": 1})]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x10\x0c\x00\x04MQTT\x09\x02\x00\x3c\x00\x00",
        b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00",
        b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00",
        b"\xc0\x00",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_malformed_bytes_close_without_a_word(dial: Dial, data: bytes) -> None:
    """What is no valid CONNECT closes the connection without CONNACK."""
    with Broker() as broker:
        client = dial(broker.port)
        client.sock.sendall(data)
        assert client.receive() is None
        assert broker.wait_for("malformed").connection == 1


def test_log_and_received_bytes(dial: Dial) -> None:
    """The broker tells what it saw, and which bytes reached it."""
    with Broker(profile="default") as broker:
        client = dial(broker.port, V31)
        client.connect(username=DEFAULT_TOKEN, client_id="x")
        client.publish()
        kinds = [event.kind for event in broker.log]
        assert kinds[:4] == ["connect", "sent", "publish", "outcome"]
        assert broker.connects[0].username == DEFAULT_TOKEN
        assert broker.publishes[0].topic == TELEMETRY
        assert DEFAULT_TOKEN.encode() in broker.received_bytes()


def test_unknown_generation() -> None:
    """A generation we do not know is refused before anything starts."""
    with pytest.raises(ValueError, match=r"3\.9"):
        Broker(generation="3.9")


def test_profiles_have_their_own_names() -> None:
    """A profile is found under the name it bears."""
    assert all(profile.name == name for name, profile in PROFILES.items())


def test_brokers_of_one_platform_share_its_sessions(dial: Dial) -> None:
    """8883 and 1883 of one ThingsBoard: a session on one ends the device's on the other."""
    with Broker() as first, Broker(platform=first.platform) as second:
        older = dial(first.port, Version.V5)
        older.connect()
        dial(second.port).connect()
        assert older.receive() == Disconnect(0x8E, Version.V5)
        assert older.receive() is None
