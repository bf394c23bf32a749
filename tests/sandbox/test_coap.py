"""The sandbox's CoAP server answers as ThingsBoard does, to our messages and to libcoap's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("aiocoap", reason="the extra coap is not installed")

from tbdiag.deadline import Deadline
from tbdiag.protocol import coap
from tbdiag.protocol.transport_udp import open_datagrams
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.coap import CoapServer
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.profile import DEFAULT_TOKEN, PROFILES, Device, Platform

ROOT = Authority.root()
API = ("api", "v1")
DEVICE = Device(token=DEFAULT_TOKEN, attributes={"model": "sensor", "fw": 2})
CLIENT = "coap-client-openssl"
libcoap = pytest.mark.skipif(not shutil.which(CLIENT), reason=f"needs {CLIENT} (libcoap3-bin)")


def code(
    method: str, path: tuple[str, ...], payload: bytes = b"", device: Device = DEVICE
) -> str | None:
    with CoapServer(Platform([device])) as server:
        channel = open_datagrams("127.0.0.1", server.port)
        answer = coap.request(channel, method, path, Deadline.after(5), payload=payload)
        channel.close()
    return answer.code


@pytest.mark.parametrize(
    ("method", "path", "payload", "expected"),
    [
        ("POST", (*API, DEFAULT_TOKEN, "telemetry"), b'{"a":1}', "2.01"),
        ("POST", (*API, DEFAULT_TOKEN, "telemetry"), b"{temperature:25}", "2.01"),
        ("POST", (*API, DEFAULT_TOKEN, "attributes"), b'{"a":1}', "2.01"),
        ("GET", (*API, DEFAULT_TOKEN, "attributes"), b"", "2.05"),
        ("POST", (*API, "unknown", "telemetry"), b'{"a":1}', "4.01"),
        ("POST", (*API, "telemetry"), b'{"a":1}', "4.01"),
        ("POST", (*API, DEFAULT_TOKEN, "telemetry"), b"hello", "4.00"),
        ("POST", (*API, DEFAULT_TOKEN, "nothing"), b'{"a":1}', "4.00"),
        ("GET", (*API, DEFAULT_TOKEN, "telemetry"), b"", "4.00"),
        ("POST", API, b"", "4.00"),
        ("GET", ("elsewhere",), b"", "4.04"),
    ],
)
def test_the_codes_are_thingsboards(
    method: str, path: tuple[str, ...], payload: bytes, expected: str
) -> None:
    """2.01 and 2.05 for what is right, 4.01 for the token, 4.00 for path and payload."""
    assert code(method, path, payload) == expected


@pytest.mark.parametrize(("profile", "expected"), [("coap", "2.01"), ("custom-topic", "5.00")])
def test_a_profile_of_another_transport_is_refused(profile: str, expected: str) -> None:
    """5.00, unlike the HTTP transport, which serves every profile."""
    device = Device(token=DEFAULT_TOKEN, profile=PROFILES[profile])
    assert code("POST", (*API, DEFAULT_TOKEN, "telemetry"), b'{"a":1}', device) == expected


def posted(server: CoapServer, url: str, *words: str) -> str:
    """What libcoap's client prints for ThingsBoard's documented command."""
    command = [CLIENT, "-B", "5", "-v", "6", "-m", "POST", *words, "-t", "application/json"]
    done = subprocess.run(
        [*command, "-e", "{temperature:25}", url], capture_output=True, text=True, timeout=20
    )
    return done.stdout + done.stderr


@libcoap
def test_libcoap_posts_telemetry() -> None:
    """The documentation's own command is answered 2.01, and with an unknown token 4.01."""
    with CoapServer() as server:
        base = f"coap://127.0.0.1:{server.port}/api/v1"
        assert "c:2.01" in posted(server, f"{base}/{DEFAULT_TOKEN}/telemetry")
        assert "c:4.01" in posted(server, f"{base}/nobody/telemetry")
    assert server.platform.telemetry == [("sandbox device", {"temperature": 25})]


@libcoap
def test_libcoap_reads_attributes() -> None:
    """What is asked for by clientKeys and sharedKeys comes back as JSON."""
    with CoapServer(Platform([DEVICE])) as server:
        url = f"coap://127.0.0.1:{server.port}/api/v1/{DEFAULT_TOKEN}/attributes?sharedKeys=model"
        done = subprocess.run(
            [CLIENT, "-B", "5", "-m", "GET", url], capture_output=True, text=True, timeout=20
        )
    assert '{"shared": {"model": "sensor"}}' in done.stdout


@libcoap
def test_libcoap_verifies_the_dtls_server(tmp_path: Path) -> None:
    """With the right CA the telemetry arrives over DTLS; with another CA nothing does."""
    (tmp_path / "ca.pem").write_bytes(ROOT.pem())
    (tmp_path / "other.pem").write_bytes(Authority.root("Other").pem())
    issued = ROOT.intermediate().issue_server()
    with CoapServer(tls=Tls(issued)) as server:
        url = f"coaps://localhost:{server.port}/api/v1/{DEFAULT_TOKEN}/telemetry"
        assert "nknown CA" in posted(server, url, "-R", str(tmp_path / "other.pem"))
        assert server.requests == []
        assert "c:2.01" in posted(server, url, "-R", str(tmp_path / "ca.pem"))
    assert server.platform.telemetry == [("sandbox device", {"temperature": 25})]
