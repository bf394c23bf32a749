"""tcp.connect, as a stage."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from tbdiag.checks import tcp
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import DnsEvidence, TcpAttempt, TcpEvidence
from tbdiag.model import Options, Target, Transport
from tbdiag.protocol.transport import Channel
from tbdiag.registry import Observation


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        yield sock


def run_for(
    port: int,
    *addresses: str,
    transport: Transport = Transport.MQTTS,
    seconds: float = 5,
) -> Run:
    target = Target("localhost", port, transport)
    run = Run(target, Options(), datetime.now(UTC), Deadline.after(seconds))
    found = tuple(("IPv4", address) for address in addresses or ("127.0.0.1",))
    run._evidence[DnsEvidence] = DnsEvidence("localhost", literal=False, addresses=found)
    return run


def observed(run: Run) -> Observation[TcpEvidence]:
    seen = tcp.connect(run)
    assert isinstance(seen, Observation)
    return seen


def test_the_connection_is_kept_for_tls(listener: socket.socket) -> None:
    """The handshake reuses the connection that answered first; it is closed with the run."""
    run = run_for(listener.getsockname()[1])
    seen = observed(run)
    kept = run.kept(Channel)
    assert (seen.passed, seen.evidence.connected) == (True, "127.0.0.1")
    assert kept is not None
    assert kept.socket.fileno() != -1
    run.close()
    assert kept.socket.fileno() == -1


def test_a_plain_target_keeps_nothing(listener: socket.socket) -> None:
    """paho dials its own connection, so the proof is closed at once."""
    run = run_for(listener.getsockname()[1], transport=Transport.MQTT)
    assert observed(run).passed
    assert run.kept(Channel) is None
    server, _ = listener.accept()
    with closing(server):
        server.settimeout(2)
        assert server.recv(1) == b""


def test_failed_addresses_are_counted(listener: socket.socket) -> None:
    """An address that fails beside a good one is in the evidence and in the summary."""
    run = run_for(listener.getsockname()[1], "127.0.0.2", "127.0.0.1")
    seen = observed(run)
    run.close()
    assert seen.passed
    assert [a.outcome for a in seen.evidence.attempts] == ["refused", "connected"]
    assert seen.summary.endswith("(1 of 2 addresses failed)")


def test_after_a_refusal_the_usual_ports_are_tried(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of the server's other usual ports answer is in the evidence."""
    open_port = listener.getsockname()[1]
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        closed_port = sock.getsockname()[1]
    monkeypatch.setattr(tcp, "USUAL_PORTS", (open_port, closed_port))
    seen = observed(run_for(closed_port))
    assert (seen.passed, seen.summary) == (False, f"refused by 127.0.0.1:{closed_port}")
    assert [(a.port, a.outcome) for a in seen.evidence.other_ports] == [(open_port, "connected")]


def test_a_dropped_connection_stays_within_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no answer at all, dialling and trying the usual ports share the stage's time."""

    def dropped(
        addresses: tuple[tuple[str, str], ...], port: int, deadline: Deadline
    ) -> tuple[tuple[TcpAttempt, ...], dict[str, Channel]]:
        shares.append(deadline.remaining())
        return tuple(TcpAttempt(f, a, port, "timeout") for f, a in addresses), {}

    shares: list[float] = []
    monkeypatch.setattr(tcp, "dial", dropped)
    started = time.monotonic()
    seen = observed(run_for(1, seconds=1))
    assert seen.summary == "no answer from 127.0.0.1:1"
    assert shares[0] < 0.75
    assert time.monotonic() - started < 1.2


def test_different_failures_are_all_told() -> None:
    """When every address fails in its own way the summary names each."""
    evidence = TcpEvidence(
        (
            TcpAttempt("IPv6", "2001:db8::1", 8883, "unreachable", "ENETUNREACH: no route"),
            TcpAttempt("IPv4", "192.0.2.1", 8883, "refused"),
        ),
        None,
    )
    assert tcp._summary(evidence) == ("no route to [2001:db8::1]:8883; refused by 192.0.2.1:8883")
