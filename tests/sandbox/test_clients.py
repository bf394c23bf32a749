"""Clients that devices use, paho-mqtt and mosquitto_pub, work against the sandbox's broker."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.profile import DEFAULT_TOKEN

ROOT = Authority.root()
SERVER = ROOT.intermediate().issue_server()
VERSIONS = [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5]
mosquitto = pytest.mark.skipif(not shutil.which("mosquitto_pub"), reason="needs mosquitto_pub")


class Device:
    """A paho client whose callbacks land in one queue as (name, value)."""

    def __init__(self, broker: Broker, version: MQTTProtocolVersion, token: str) -> None:
        self.seen: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
        self.client.username_pw_set(token)
        self.client.on_connect = lambda c, u, f, code, p: self.seen.put(("connack", code))
        self.client.on_publish = lambda c, u, mid, code, p: self.seen.put(("puback", code))
        self.client.on_subscribe = lambda c, u, mid, codes, p: self.seen.put(("suback", codes))
        self.client.on_message = lambda c, u, message: self.seen.put(("message", message))
        self.client.on_disconnect = lambda c, u, f, code, p: self.seen.put(("disconnect", code))
        self._port = broker.port

    def __enter__(self) -> Device:
        self.client.connect("127.0.0.1", self._port)
        self.client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def next(self, kind: str) -> Any:
        """The next event, which must be of this kind."""
        seen, value = self.seen.get(timeout=20)
        assert seen == kind
        return value


@pytest.mark.parametrize("version", VERSIONS)
def test_paho_publishes_and_reads_attributes(version: MQTTProtocolVersion) -> None:
    """paho-mqtt publishes, subscribes and gets its attribute back, in 3.1.1 and 5."""
    with Broker() as broker, Device(broker, version, DEFAULT_TOKEN) as device:
        assert device.next("connack") == "Success"
        device.client.publish("v1/devices/me/telemetry", '{"temperature":25}', 1)
        assert device.next("puback") == "Success"
        device.client.subscribe("v1/devices/me/attributes/response/+", 1)
        assert [code.value for code in device.next("suback")] == [1]
        device.client.publish("v1/devices/me/attributes", '{"model":"X"}', 0)
        device.next("puback")
        request = '{"clientKeys":"model"}'
        device.client.publish("v1/devices/me/attributes/request/1", request, 0)
        device.next("puback")
        message = device.next("message")
        assert message.topic == "v1/devices/me/attributes/response/1"
        assert json.loads(message.payload) == {"client": {"model": "X"}}
        assert broker.telemetry == ({"temperature": 25},)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (MQTTProtocolVersion.MQTTv311, "Not authorized"),
        (MQTTProtocolVersion.MQTTv5, "Bad user name or password"),
    ],
)
def test_paho_reads_the_refusal(version: MQTTProtocolVersion, said: str) -> None:
    """paho-mqtt shows a wrong token's refusal in the words of its version."""
    with Broker() as broker, Device(broker, version, "wrong") as device:
        assert str(device.next("connack")) == said


def test_paho_is_told_of_the_takeover() -> None:
    """A MQTT 5 client learns that another session took its device over."""
    v5 = MQTTProtocolVersion.MQTTv5
    with Broker() as broker, Device(broker, v5, DEFAULT_TOKEN) as first:
        first.next("connack")
        with Device(broker, MQTTProtocolVersion.MQTTv311, DEFAULT_TOKEN) as second:
            second.next("connack")
            assert str(first.next("disconnect")) == "Session taken over"


def test_paho_gets_the_reason_code_of_puback() -> None:
    """A topic the profile does not have is 0x90 to a MQTT 5 client."""
    v5 = MQTTProtocolVersion.MQTTv5
    with Broker(profile="custom-topic") as broker, Device(broker, v5, DEFAULT_TOKEN) as device:
        device.next("connack")
        device.client.publish("v1/devices/me/telemetry", '{"temperature":25}', 1)
        assert device.next("puback").value == 0x90


def mosquitto_pub(folder: Path, port: int, *arguments: str) -> tuple[int, str]:
    """Run mosquitto_pub as the documentation does; its exit code and all it says."""
    (folder / "ca-root.pem").write_bytes(ROOT.pem())
    command = ["mosquitto_pub", "-d", "-q", "1", "-h", "localhost", "-p", str(port)]
    command += ["-t", "v1/devices/me/telemetry", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout + done.stderr


@mosquitto
@pytest.mark.parametrize("version", ["311", "5"])
@pytest.mark.parametrize("payload", ['{"temperature":25}', "{temperature:25}"])
def test_the_documentation_s_command(tmp_path: Path, version: str, payload: str) -> None:
    """mosquitto_pub with the documentation's arguments delivers over TLS, quoted keys or not."""
    with Broker(tls=Tls(SERVER)) as broker:
        more = ["--cafile", "ca-root.pem", "-V", version, "-u", DEFAULT_TOKEN, "-m", payload]
        code, said = mosquitto_pub(tmp_path, broker.port, *more)
        assert code == 0, said
        assert "received PUBACK" in said
        broker.wait_for("disconnect")
        assert broker.telemetry == ({"temperature": 25},)


@mosquitto
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-V", "311", "-u", "wrong", "-m", "{}"], "CONNACK (5)"),
        (["-V", "5", "-u", "wrong", "-m", "{}"], "CONNACK (134)"),
        (["-V", "311", "-i", "id", "-m", "{}"], "CONNACK (2)"),
        (["-V", "5", "-u", DEFAULT_TOKEN, "-m", "hello"], "RC:153"),
    ],
)
def test_mosquitto_reads_the_refusal(tmp_path: Path, arguments: list[str], said: str) -> None:
    """mosquitto_pub prints the code of a refusal over plain MQTT."""
    with Broker() as broker:
        assert said in mosquitto_pub(tmp_path, broker.port, *arguments)[1]


@mosquitto
def test_the_token_stays_home_with_the_wrong_ca(tmp_path: Path) -> None:
    """mosquitto_pub with a CA file that does not fit never sends the token."""
    with Broker(tls=Tls(Authority.root("Other").issue_server())) as broker:
        more = ["--cafile", "ca-root.pem", "-u", DEFAULT_TOKEN, "-m", "{}"]
        assert mosquitto_pub(tmp_path, broker.port, *more)[0] != 0
        assert broker.wait_for("handshake-failed")
        assert DEFAULT_TOKEN.encode() not in broker.received_bytes()
