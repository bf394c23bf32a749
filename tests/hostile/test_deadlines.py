"""Whatever the peer does, a run ends within its limit plus one second, and says why."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tbdiag import Options, Report, Target, check, registry
from tbdiag.model import Status, Transport
from tbdiag.sandbox import faults
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.http import HttpApi, HttpFault, HugeBody, NoAnswer, Redirect, SlowBody
from tbdiag.sandbox.resolver import hanging
from tbdiag.sandbox.server import Server
from tests.hostile_servers import (
    ISSUED,
    TOKEN,
    ManyCaNames,
    Scripted,
    diagnosed,
    dripping_after,
    endless_certificates,
    slow_certificates,
    target_of,
)

LIMIT = 1.5
ACCEPTED = b"\x20\x03\0\0\0"
"""CONNACK of MQTT 5 that accepts."""

PEERS: dict[str, tuple[Callable[[], Server], str]] = {
    "silent": (faults.Silent, "tls.timeout"),
    "one byte every 2 s, not TLS": (lambda: faults.Dripping(b"SSH-"), "tls.not-tls"),
    "one byte every 2 s in the handshake": (faults.Dripping, "tls.timeout"),
    "TLS, then mute": (lambda: faults.TlsMute(Tls(ISSUED)), "mqtt.no-connack"),
    "one byte every 2 s for CONNACK": (
        lambda: faults.TlsDripping(Tls(ISSUED)),
        "mqtt.no-connack",
    ),
    "one byte every 2 s for PUBACK": (
        lambda: dripping_after(ACCEPTED + b"\x40\x7f"),
        "mqtt.publish-no-puback",
    ),
    "endless handshake records": (
        lambda: faults.Endless(faults.ENDLESS_HANDSHAKE),
        "tls.alert",
    ),
    "endless empty records": (lambda: faults.Endless(b"\x16\3\3\0\0"), "tls.alert"),
    "endless warnings": (lambda: faults.Endless(b"\x15\3\3\0\2\1\x5a"), "tls.alert"),
    "endless certificate list": (endless_certificates, "tls.alert"),
    "slow certificate list": (slow_certificates, "tls.timeout"),
    "huge CertificateRequest": (lambda: ManyCaNames(400), "mqtt.no-connack"),
    "endless zeros": (faults.Endless, "tls.not-tls"),
    "endless zeros over TLS": (
        lambda: Scripted(b"", bytes(16000), tls=Tls(ISSUED)),
        "mqtt.not-mqtt",
    ),
    "endless CONNACK": (
        lambda: Scripted(b"\x20\xff\xff\xff\x7f\0\0", bytes(16000), tls=Tls(ISSUED)),
        "mqtt.not-mqtt",
    ),
    "endless packets after CONNACK": (
        lambda: Scripted(ACCEPTED, b"\xd0\0" * 8000, tls=Tls(ISSUED)),
        "mqtt.not-mqtt",
    ),
    "PUBLISH of 256 MB": (
        lambda: Scripted(ACCEPTED + b"\x30\xff\xff\xff\x7f", bytes(16000), tls=Tls(ISSUED)),
        "mqtt.not-mqtt",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Import what a run imports, so that the limits measure the run; the process test has both."""
    for package in ("checks", "rules"):
        registry.load(package)
    check(Target("127.0.0.1", 1, cafile=("public",)), Options(timeout=10))


def assert_explained(report: Report, seconds: float, primary: str, limit: float = LIMIT) -> None:
    assert seconds <= limit + 1, [(s.id, s.duration_ms) for s in report.stages]
    assert report.primary == primary, [f.message for f in report.findings]
    assert Status.ERROR not in {stage.status for stage in report.stages}
    assert "tbdiag.unexplained" not in {f.rule for f in report.findings}


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_cannot_hold_a_run_up(peer: str, tmp_path: Path) -> None:
    """The run ends in time, with a rule of its own for what the peer did."""
    make, primary = PEERS[peer]
    with diagnosed(make(), tmp_path) as (report, seconds):
        assert_explained(report, seconds, primary)


def test_a_peer_that_reads_nothing_cannot_hold_a_run_up(tmp_path: Path) -> None:
    """A large message to a server that stops reading ends at the limit."""
    options = {"payload": b"x" * 250_000}
    accepts = Scripted(ACCEPTED, b"\0" * 0, tls=None)
    with diagnosed(accepts, tmp_path, options, transport=Transport.MQTT) as (report, seconds):
        assert_explained(report, seconds, "mqtt.publish-no-puback")


def test_a_black_hole_ends_at_the_limit(tmp_path: Path) -> None:
    """Packets that nobody answers: tcp.timeout."""
    with faults.BlackHole() as hole:
        if not hole.works:
            pytest.skip("this kernel refuses where Linux drops")
        started = time.monotonic()
        report = check(Target("127.0.0.1", hole.port), Options(timeout=LIMIT))
        assert_explained(report, time.monotonic() - started, "tcp.timeout")


def test_a_name_server_that_hangs_ends_at_the_limit() -> None:
    """getaddrinfo that never comes back is left behind: dns.timeout."""
    with hanging("hangs.test"):
        started = time.monotonic()
        report = check(Target("hangs.test", 8883, cafile=("public",)), Options(timeout=LIMIT))
        assert_explained(report, time.monotonic() - started, "dns.timeout")


BODIES: dict[str, HttpFault] = {
    "endless body": HugeBody(1 << 40, declared=False),
    "body of a terabyte": HugeBody(1 << 40),
    "one byte a second": SlowBody(),
    "no body": NoAnswer(),
    "redirect loop": Redirect(),
}


@pytest.mark.parametrize("body", BODIES)
def test_an_http_server_cannot_hold_up_the_download_of_the_ca(body: str) -> None:
    """However its answer goes on, the download ends in time: ca.download-failed."""
    with (
        Broker(tls=Tls(ISSUED)) as broker,
        HttpApi(ca_file=b"x" * 100, faults=[BODIES[body]]) as api,
    ):
        target = Target("localhost", broker.port, cafile=(f"{api.url}/ca.pem",))
        started = time.monotonic()
        report = check(target, Options(timeout=LIMIT))
        assert_explained(report, time.monotonic() - started, "ca.download-failed")


@pytest.mark.parametrize("body", BODIES)
def test_an_http_server_cannot_hold_up_the_proof_of_the_token(body: str, tmp_path: Path) -> None:
    """Whatever its HTTP API does, the MQTT stages get their turn and the run ends in time."""
    options = {"timeout": 3.0}
    with (
        HttpApi(faults=[BODIES[body]]) as api,
        diagnosed(Broker(tls=Tls(ISSUED)), tmp_path, options, http_url=api.url) as found,
    ):
        report, seconds = found
        assert seconds <= 3.0 + 1
        assert report.stage("http.token").status == "warning", report.stage("http.token")
        assert "out-of-time" not in str(report.primary)


def test_headers_that_never_end_cannot_hold_up_the_proof_of_the_token(tmp_path: Path) -> None:
    """One byte of header every 100 ms resets each read's own limit, and not the deadline; the
    thread that read them ends too."""
    dripping = Scripted(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.1)
    with dripping, Broker(tls=Tls(ISSUED)) as broker:
        target = target_of(broker, tmp_path, http_url=f"http://localhost:{dripping.port}")
        started = time.monotonic()
        report = check(target, Options(timeout=3.5))
        assert time.monotonic() - started <= 3.5 + 1
        assert report.stage("http.token").status == "warning"
        for thread in threading.enumerate():
            if thread.name in ("tbdiag http", "tbdiag download"):
                thread.join(5)
                assert not thread.is_alive(), thread.name


COMMANDS: dict[str, Callable[[], Server]] = {
    "silent": faults.Silent,
    "TLS, then mute": lambda: faults.TlsMute(Tls(ISSUED)),
    "endless handshake records": lambda: faults.Endless(faults.ENDLESS_HANDSHAKE),
}


@pytest.mark.parametrize("peer", COMMANDS)
def test_the_process_ends_in_time(peer: str, tmp_path: Path) -> None:
    """The whole `tbdiag check --timeout`, threads left behind included, ends in time: exit 1."""
    with COMMANDS[peer]() as server:
        cafile = target_of(server, tmp_path).cafile[0]
        words = ["check", f"localhost:{server.port}", "--cafile", cafile, "--timeout", str(LIMIT)]
        code = "import sys; from tbdiag.__main__ import main; print('up', flush=True); main()"
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code, *words, "--no-compare-web"],
            env={"TBDIAG_TOKEN": TOKEN, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert time.monotonic() - started <= LIMIT + 1 + 2, "two seconds for the interpreter"
    assert done.returncode == 1, done.stderr
    assert TOKEN.encode() not in done.stdout + done.stderr
