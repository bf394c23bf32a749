"""ThingsBoard's own clients work against the sandbox: what they cannot use is no ThingsBoard."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tbdiag.protocol.mqtt import Publish
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.http import CA_DOWNLOAD, HttpApi
from tbdiag.sandbox.profile import DEFAULT_TOKEN, Device

BIN = Path(__file__).parent.parent.parent / ".venv-thingsboard" / "bin"
REASON = "ThingsBoard's own clients are not installed: scripts/setup-thingsboard.sh"
needs_clients = pytest.mark.skipif(not (BIN / "thingsboard-gateway").exists(), reason=REASON)
needs_mosquitto = pytest.mark.skipif(
    not shutil.which("mosquitto_pub"), reason="needs mosquitto_pub"
)
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
ROOT = Authority.root()
SERVER = ROOT.intermediate().issue_server()
GENEROUS = 20.0
"""Seconds for what takes one on an idle machine."""
PYTHON_CLIENT = """
import json, sys, threading
from tb_device_mqtt import TBDeviceMqttClient
port, token, cafile = int(sys.argv[1]), sys.argv[2], sys.argv[3]
got, done = [], threading.Event()
client = TBDeviceMqttClient("localhost", port, token)
client.connect(timeout=20, tls=bool(cafile), ca_certs=cafile or None)
codes = [client.send_telemetry({"temperature": 25}).get(), client.send_attributes({"m": "X"}).get()]
client.request_attributes(["m"], ["s"], lambda result, *_: (got.append(result), done.set()))
done.wait(20)
client.disconnect()
print(json.dumps({"codes": codes, "attributes": got}))
"""


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the caller's, and no way out: whatever asks the Internet fails at once."""
    nowhere = "http://127.0.0.1:9"
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PIP_NO_INDEX": "1",
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "NO_PROXY": "localhost",
    }


def served(tls: bool, **device: Any) -> Broker:
    known = Device(token=DEFAULT_TOKEN, attributes={"s": 1}, **device)
    return Broker([known], tls=Tls(SERVER) if tls else None)


def written(folder: Path, tls: bool) -> str:
    """The CA file, or nothing for plain MQTT."""
    if not tls:
        return ""
    (folder / "ca.pem").write_bytes(ROOT.pem())
    return str(folder / "ca.pem")


@needs_clients
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_tb_mqtt_client(tmp_path: Path, tls: bool) -> None:
    """tb-mqtt-client connects, publishes telemetry and attributes, and reads them back."""
    with served(tls) as broker:
        arguments = [str(broker.port), DEFAULT_TOKEN, written(tmp_path, tls)]
        done = subprocess.run(
            [str(BIN / "python"), "-c", PYTHON_CLIENT, *arguments],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=2 * GENEROUS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        expected = [{"client": {"m": "X"}, "shared": {"s": 1}}]
        assert json.loads(done.stdout) == {"codes": [0, 0], "attributes": expected}
        assert broker.telemetry == ({"temperature": 25},)
        assert [c.username for c in broker.connects] == [DEFAULT_TOKEN]


@contextlib.contextmanager
def gateway(folder: Path, port: int, cafile: str) -> Iterator[Path]:
    """thingsboard-gateway without connectors, in a folder of its own; yields what it says."""
    security = {"type": "accessToken", "accessToken": DEFAULT_TOKEN}
    if cafile:
        security |= {"type": "tlsAccessToken", "caCert": cafile}
    thingsboard = {
        "host": "localhost",
        "port": port,
        "security": security,
        "remoteShell": False,
        "remoteConfiguration": False,
        "statistics": {"enable": True, "statsSendPeriodInSeconds": 60},
    }
    config = {
        "thingsboard": thingsboard,
        "storage": {"type": "memory"},
        "grpc": {"enabled": False},
        "connectors": [],
    }
    handlers = {"all": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}}
    logs = {"version": 1, "handlers": handlers, "root": {"handlers": ["all"], "level": "INFO"}}
    (folder / "tb_gateway.json").write_text(json.dumps(config))
    (folder / "logs.json").write_text(json.dumps(logs))
    said = folder / "said.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [str(BIN / "thingsboard-gateway")],
            cwd=folder,
            env={**environment(folder), "TB_GW_CONFIG_DIR": str(folder)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield said
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def answered(broker: Broker) -> bool:
    """Whether the gateway's attribute request got its answer, and the answer its PUBACK."""
    sent = [e.detail for e in broker.log if e.kind == "sent" and isinstance(e.detail, Publish)]
    ids = {p.packet_id for p in sent if p.topic.startswith("v1/devices/me/attributes/response/")}
    acknowledged = {e.detail.packet_id for e in broker.log if e.kind == "puback"}  # type: ignore[attr-defined]
    return bool(ids & acknowledged)


@needs_clients
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_thingsboard_gateway(tmp_path: Path, tls: bool) -> None:
    """thingsboard-gateway connects, asks for its limits, publishes and reads its attributes."""
    with (
        served(tls, gateway=True) as broker,
        gateway(tmp_path, broker.port, written(tmp_path, tls)) as said,
    ):
        try:
            broker.wait_until(lambda: answered(broker), GENEROUS)
            broker.wait_until(lambda: broker.telemetry, GENEROUS)
        except TimeoutError:
            pytest.fail(f"{broker.log}\n{said.read_text()}")
        topics = {p.topic for p in broker.publishes}
        assert broker.connects[0].username == DEFAULT_TOKEN
        assert "v1/devices/me/rpc/request/1" in topics
        assert "v1/devices/me/attributes/request/1" in topics
        assert "cpuCount" in broker.platform.client_attributes["sandbox device"]


@needs_mosquitto
@needs_curl
def test_the_check_connectivity_block(tmp_path: Path) -> None:
    """The two lines of the "Check connectivity" dialog, in a shell as they are shown there."""
    with Broker(tls=Tls(SERVER)) as broker, HttpApi(broker.platform, ca_file=ROOT.pem()) as api:
        lines = (
            f"curl -f -S -o ca-root.pem {api.url}{CA_DOWNLOAD} && "
            f"mosquitto_pub -d -q 1 --cafile ca-root.pem -h localhost -p {broker.port} "
            f'-t v1/devices/me/telemetry -u "{DEFAULT_TOKEN}" -m "{{temperature:25}}"'
        )
        shell(lines, tmp_path)
        assert broker.telemetry == ({"temperature": 25},)


@needs_mosquitto
def test_the_documentation_s_line(tmp_path: Path) -> None:
    """The documentation's line, whose payload loses its quotes in the shell, delivers."""
    (tmp_path / "ca-root.pem").write_bytes(ROOT.pem())
    with Broker(tls=Tls(SERVER)) as broker:
        line = (
            f'mosquitto_pub --cafile ca-root.pem -d -q 1 -h "localhost" -p "{broker.port}" '
            f'-t "v1/devices/me/telemetry" -u "{DEFAULT_TOKEN}" -m {{"temperature":25}}'
        )
        shell(line, tmp_path)
        assert broker.telemetry == ({"temperature": 25},)
        assert [p.payload for p in broker.publishes] == [b"{temperature:25}"]


def shell(line: str, folder: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
