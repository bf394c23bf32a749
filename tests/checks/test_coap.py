"""coap.connect, coap.telemetry and coap.attributes, over UDP and DTLS."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiocoap", reason="the extra coap is not installed")

from tbdiag import Options, Report, Target, check
from tbdiag.deadline import Deadline
from tbdiag.model import Credentials, Secret, Transport
from tbdiag.protocol import coap
from tbdiag.protocol.transport_udp import open_datagrams
from tbdiag.report import render
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.coap import Always, CoapServer, Mute
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.datagrams import DatagramServer, RefusingDatagrams
from tbdiag.sandbox.profile import DEFAULT_TOKEN, Device, Platform

libcoap = pytest.mark.skipif(
    not shutil.which("coap-server-openssl"), reason="needs coap-server-openssl (libcoap3-bin)"
)


def diagnosed(
    port: int,
    transport: Transport = Transport.COAP,
    ca: str = "public",
    *,
    token: str | None = DEFAULT_TOKEN,
    host: str = "localhost",
    **options: Any,
) -> Report:
    """The report on a running server."""
    credentials = Credentials(token=Secret(token) if token else None)
    target = Target(host, port, transport, cafile=(ca,), credentials=credentials)
    return check(target, Options(**{"timeout": 6.0, "compare_web": False, **options}))


@pytest.fixture
def ca(root: Authority, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_bytes(root.pem())
    return str(path)


def test_telemetry_is_stored_and_attributes_are_read() -> None:
    """One POST and one GET with the token, after a ping without it."""
    with CoapServer() as server:
        report = diagnosed(server.port, payload=b'{"a":1}')
    assert [(r.method, r.path[3]) for r in server.requests] == [
        ("POST", "telemetry"),
        ("GET", "attributes"),
    ]
    assert server.requests[1].query == {"clientKeys": "model"}
    assert server.platform.telemetry == [("sandbox device", {"a": 1})]
    assert report.verdict == "ok"


def test_over_dtls_the_same_session_carries_everything(root: Authority, ca: str) -> None:
    """The session that tls.verify judged is the one that the token goes over."""
    with CoapServer(tls=Tls(root.issue_server())) as server:
        report = diagnosed(server.port, Transport.COAPS, ca)
    assert len(server._peers) == 1
    assert len(server.requests) == 2
    assert report.verdict == "ok", render(report, "table")


def test_the_token_is_not_sent_before_a_coap_server_answered() -> None:
    """A port that swallows everything never sees the token, not even unencrypted."""
    with DatagramServer() as server:
        report = diagnosed(server.port, timeout=1.0)
    assert DEFAULT_TOKEN.encode() not in server.received_bytes()
    assert report.stage("coap.telemetry").status == "blocked"


def test_the_token_is_in_no_output() -> None:
    """The path shown has *** in its place, and a diagnostic payload that repeats it is redacted."""
    with CoapServer(faults=[Always("5.00", b"failed: " + DEFAULT_TOKEN.encode())]) as server:
        report = diagnosed(server.port)
    shown = render(report, "table") + render(report, "json")
    assert DEFAULT_TOKEN not in shown
    assert "/api/v1/***/telemetry" in shown


@pytest.mark.parametrize(
    "code", ["2.01", "2.04", "2.05", "4.00", "4.01", "4.02", "4.03", "4.04", "4.05", "4.13", "5.00"]
)
def test_every_code_has_an_explanation(code: str) -> None:
    """No response to a request with a token stays without a rule."""
    with CoapServer(faults=[Always(code)]) as server:
        report = diagnosed(server.port)
    assert "tbdiag.unexplained" not in {f.rule for f in report.findings}
    assert (report.verdict == "ok") is code.startswith("2.")


def test_options_leave_stages_out() -> None:
    """--no-connect sends nothing at all, --no-publish reads only."""
    with CoapServer() as server:
        report = diagnosed(server.port, connect=False)
        assert server.received_bytes() == b""
        assert report.stage("coap.connect").reason == "left out by --no-connect"
        report = diagnosed(server.port, publish=False)
        assert [r.method for r in server.requests] == ["GET"]
    assert report.stage("coap.telemetry").status == "not-applicable"


def test_without_a_token_the_server_is_pinged_all_the_same() -> None:
    """Whether a CoAP server answers there needs no token."""
    with CoapServer() as server:
        report = diagnosed(server.port, token=None)
    assert report.stage("coap.connect").status == "ok"
    assert "no token given" in (report.stage("coap.telemetry").reason or "")


def test_without_aiocoap_the_stages_say_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library is not a fault of the server."""
    monkeypatch.setattr(coap, "installed", lambda: False)
    with CoapServer() as server:
        report = diagnosed(server.port)
    for stage in ("coap.connect", "coap.telemetry", "coap.attributes"):
        assert report.stage(stage).status == "not-applicable"
        assert "pip install 'tbdiag[coap]'" in (report.stage(stage).reason or "")


def test_the_handshake_needs_no_aiocoap(
    root: Authority, ca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate of coaps:// is judged without the extra."""
    monkeypatch.setattr(coap, "installed", lambda: False)
    with CoapServer(tls=Tls(root.issue_server())) as server:
        report = diagnosed(server.port, Transport.COAPS, ca)
    assert report.stage("tls.verify").status == "ok"


def test_the_next_address_is_tried_when_one_refuses() -> None:
    """localhost may be ::1 first, where nobody listens: 127.0.0.1 is asked as well."""
    with CoapServer() as server:
        report = diagnosed(server.port)
        evidence = report.stage("coap.connect").evidence
    assert evidence.address == "127.0.0.1"
    assert evidence.attempts[-1][:2] == ("127.0.0.1", "reset")


def test_a_payload_larger_than_a_datagram_is_not_sent() -> None:
    """Block-wise transfer is not done, and the report says so instead of blaming the server."""
    with CoapServer() as server:
        report = diagnosed(server.port, payload=b'{"a":"' + b"x" * 20000 + b'"}')
        assert {r.method for r in server.requests} == {"GET"}
    assert report.primary == "coap.too-large"


def test_a_failed_telemetry_blocks_the_attributes() -> None:
    """When the server does not answer at all, it is not asked twice."""
    with CoapServer(faults=[Mute()]) as server:
        report = diagnosed(server.port, timeout=2.0)
    assert report.stage("coap.attributes").blocked_by == "coap.telemetry"


def test_insecure_goes_on_over_the_unverified_session(root: Authority) -> None:
    """--insecure waives the verdict, and only the verdict."""
    with CoapServer(tls=Tls(root.issue_server())) as server:
        report = diagnosed(server.port, Transport.COAPS, insecure=True)
    assert report.stage("tls.verify").status == "failed"
    assert report.stage("coap.telemetry").status == "ok"


def test_a_refusing_port_fails_at_once_over_dtls(ca: str) -> None:
    """ICMP is an answer: no time is spent on waiting."""
    with RefusingDatagrams() as server:
        report = diagnosed(server.port, Transport.COAPS, ca)
    assert report.primary == "coap.no-response"
    assert report.stage("tls.handshake").duration_ms < 1500
    assert report.stage("tls.verify").blocked_by == "tls.handshake"


def test_a_shared_platform_shows_what_coap_wrote() -> None:
    """The sandbox's CoAP server and the other transports store in one place."""
    platform = Platform([Device(token=DEFAULT_TOKEN, attributes={"model": "x"})])
    with CoapServer(platform) as server:
        diagnosed(server.port)
    assert platform.telemetry == [("sandbox device", {"temperature": 25})]


def _await(host: str, port: int) -> None:
    """Return when the server answers a ping."""
    end = Deadline.after(5)
    while not end.passed:
        channel = open_datagrams(host, port)
        answer = coap.ping(channel, end)
        channel.close()
        if answer.outcome == "reset":
            return
    raise TimeoutError("the server does not come up")


@contextmanager
def _libcoap(*words: str, host: str = "127.0.0.1") -> Iterator[int]:
    """libcoap's own example server on a free port; its DTLS port is the next one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    command = ["coap-server-openssl", "-A", host, "-p", str(port), *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _await(host, port)
            yield port
        finally:
            process.kill()


@libcoap
def test_libcoap_is_a_coap_server_and_no_thingsboard() -> None:
    """An independent server understands the messages, and has no device API."""
    with _libcoap() as port:
        report = diagnosed(port)
    assert report.stage("coap.connect").status == "ok", render(report, "table")
    assert report.primary == "coap.not-thingsboard"


@libcoap
def test_libcoap_over_dtls_is_verified_like_any_server(
    root: Authority, ca: str, tmp_path: Path
) -> None:
    """An independent DTLS server: the handshake stands and its certificate is judged."""
    issued = root.issue_server()
    (tmp_path / "server.pem").write_bytes(issued.pem())
    (tmp_path / "server.key").write_bytes(issued.key_pem())
    words = ("-c", str(tmp_path / "server.pem"), "-j", str(tmp_path / "server.key"), "-n")
    with _libcoap(*words) as port:
        report = diagnosed(port + 1, Transport.COAPS, ca)
    assert report.stage("tls.verify").status == "ok", render(report, "table")
    assert report.stage("coap.connect").status == "ok", render(report, "table")
    assert report.primary == "coap.not-thingsboard"
