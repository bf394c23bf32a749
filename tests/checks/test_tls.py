"""tls.handshake, as a stage of the pipeline, against servers with one fault each."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tbdiag.checks.tcp import connect
from tbdiag.checks.tls import observe_handshake
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import CaEvidence, CaSource, DnsEvidence, HandshakeEvidence, TcpEvidence
from tbdiag.fact import replace
from tbdiag.model import Credentials, Options, Secret, Target
from tbdiag.protocol.transport import Channel
from tbdiag.registry import Observation
from tbdiag.rules._handshake import fault_of
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Connection, Tls
from tbdiag.sandbox.server import Server
from tests.chains import chains

ROOT = Authority.root()
TOKEN = "canary-token-7f3a"


class Scripted(Server):
    """A server whose behaviour on one connection is one function."""

    def __init__(self, script: Callable[[Connection], object], tls: Tls | None = None) -> None:
        super().__init__(tls=tls)
        self.script = script

    def serve(self, connection: Connection) -> None:
        self.script(connection)


def wait(connection: Connection) -> None:
    """Keep the connection open until the client leaves."""
    while connection.read():
        pass


def run_for(port: int, credentials: Credentials | None = None, seconds: float = 5.0) -> Run:
    """A run that has resolved and connected."""
    credentials = credentials or Credentials(token=Secret(TOKEN))
    target = Target("localhost", port, credentials=credentials)
    run = Run(target, Options(), datetime.now(UTC), Deadline.after(seconds))
    addresses = (("IPv4", "127.0.0.1"),)
    run._evidence[DnsEvidence] = DnsEvidence("localhost", literal=False, addresses=addresses)
    seen = connect(run)
    assert isinstance(seen, Observation)
    run._evidence[TcpEvidence] = seen.evidence
    return run


def observed(run: Run) -> Observation[HandshakeEvidence]:
    seen = observe_handshake(run)
    run.close()
    assert isinstance(seen, Observation)
    return seen


def against(server: Server, credentials: Credentials | None = None) -> HandshakeEvidence:
    with server:
        return observed(run_for(server.port, credentials)).evidence


def test_one_connection_serves_tcp_and_tls() -> None:
    """The connection of tcp.connect carries the handshake: the server sees a single one."""
    with Scripted(wait, Tls(ROOT.issue_server())) as server:
        seen = observed(run_for(server.port))
        assert len(server.connections) == 1
    assert seen.passed
    until = seen.evidence.certificate_list[0].not_after
    expected = f"TLSv1.3, TLS_AES_256_GCM_SHA384, 1 certificate presented until {until:%Y-%m-%d}"
    assert seen.summary == expected
    assert seen.evidence.server_name == "localhost"


def test_a_stale_connection_is_not_used() -> None:
    """A connection that waited for a slow CA download is replaced by a fresh one."""
    with Scripted(wait, Tls(ROOT.issue_server())) as server:
        run = run_for(server.port)
        kept = run.kept(Channel)
        assert kept is not None
        kept.opened_at -= 60
        assert observed(run).passed
        assert len(server.connections) == 2


def test_no_name_is_sent_for_an_address() -> None:
    """RFC 6066 allows no IP address in server_name."""
    with Scripted(wait, Tls(ROOT.issue_server())) as server:
        run = run_for(server.port)
        run = replace(run, target=replace(run.target, host="127.0.0.1"))
        assert observed(run).evidence.server_name is None


def test_plain_mqtt_is_proved_without_the_token() -> None:
    """A plain listener is told by its answer to a CONNECT that carries no credential."""
    broker = Broker()
    seen = against(broker)
    assert (seen.speaks, seen.first_bytes[:1]) == ("mqtt", b"\x20")
    assert fault_of(seen) == "tls.plaintext-port"
    assert TOKEN.encode() not in broker.received_bytes()
    assert [(c.username, c.client_id) for c in broker.connects] == [(None, "")]


@pytest.mark.parametrize(
    ("script", "unprovoked", "fault"),
    [
        (lambda connection: connection.reset(), "reset", "tcp.reset"),
        (lambda connection: None, "closed", "tls.closed-in-handshake"),
        (lambda connection: connection.read(), "silent", "tls.closed-in-handshake"),
    ],
    ids=["resets everybody", "closes on everybody", "closes on ClientHello"],
)
def test_a_close_without_an_answer_is_looked_at_again(
    script: Callable[[Connection], object], unprovoked: str, fault: str
) -> None:
    """A mute connection shows whether the server closes on TLS or on everybody."""
    seen = against(Scripted(script))
    assert (seen.unprovoked, fault_of(seen)) == (unprovoked, fault)


def test_http_behind_a_close_is_recognised() -> None:
    """A server that closes on TLS and answers plain bytes with HTTP is not called closed."""

    def http(connection: Connection) -> None:
        if not connection.read().startswith(b"\x16"):
            connection.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert fault_of(against(Scripted(http))) == "tls.not-tls"


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (lambda connection: connection.reset(), "tcp.reset"),
        (lambda connection: connection.finish(), "tls.closed-in-handshake"),
    ],
    ids=["reset", "close"],
)
def test_a_race_between_dialling_and_reset_has_one_answer(
    script: Callable[[Connection], object], fault: str
) -> None:
    """Whether a reset is seen at connect, write or read, the fault is the same 20 times of 20."""
    with Scripted(script) as server:
        faults = [fault_of(observed(run_for(server.port)).evidence) for _ in range(20)]
    assert faults == [fault] * 20


def test_plain_mqtt_has_one_answer() -> None:
    """A plain broker closes with FIN or RST as it happens; the fault is one, 20 times of 20."""
    with Broker() as broker:
        faults = [fault_of(observed(run_for(broker.port)).evidence) for _ in range(20)]
    assert faults == ["tls.plaintext-port"] * 20


def test_a_mismatching_key_sends_nothing(tmp_path: Path) -> None:
    """Certificate and key that do not belong together end the stage before a byte is sent."""
    certfile, keyfile = tmp_path / "c.pem", tmp_path / "k.pem"
    certfile.write_bytes(ROOT.issue_client("sensor-7").pem())
    keyfile.write_bytes(ROOT.issue_client().key_pem())
    credentials = Credentials(certfile=str(certfile), keyfile=str(keyfile))
    server = Scripted(wait)
    seen = against(server, credentials)
    assert seen.outcome == "client-key-mismatch"
    assert [c.name for c in seen.client_chain] == ["sensor-7"]
    assert server.received_bytes() == b""


def test_an_absent_certificate_sends_nothing(tmp_path: Path) -> None:
    """A client certificate file that does not exist ends the stage before a byte is sent."""
    server = Scripted(wait)
    seen = against(server, Credentials(certfile=str(tmp_path / "absent.pem")))
    assert seen.outcome == "client-certificate-unreadable"
    assert "No such file" in seen.detail
    assert server.received_bytes() == b""


def test_a_server_gone_before_the_handshake() -> None:
    """A server that stopped listening between the stages is a time-out, not an error of ours."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        run = run_for(listener.getsockname()[1])
        kept = run.kept(Channel)
        assert kept is not None
        kept.opened_at -= 60
    seen = observed(run)
    assert (seen.passed, seen.evidence.outcome) == (False, "timeout")


def test_a_small_deadline_holds_through_all_questions() -> None:
    """With one second in all, a silent server ends the stage in about one second."""
    with Scripted(wait) as server:
        run = run_for(server.port, seconds=1.0)
        started = time.monotonic()
        seen = observed(run)
    assert seen.evidence.outcome == "timeout"
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize("name", list(chains()))
def test_a_chain_is_the_same_verified_in_the_handshake_or_after_it(name: str) -> None:
    """Fleets capture and verify apart, once for many: the evidence does not show which it was."""
    subject = chains()[name]
    source = CaSource("ca.pem", "file", "ca.pem", certificates=subject.facts()[1])
    with Scripted(wait, Tls(subject.issued)) as server:
        within, after = (seen_of(server.port, source, all_stacks=w) for w in (True, False))
    assert within.verify_errors == after.verify_errors
    assert replace(within, elapsed_ms=0, bytes_received=0) == replace(
        after, elapsed_ms=0, bytes_received=0
    )


def seen_of(port: int, source: CaSource, *, all_stacks: bool) -> HandshakeEvidence:
    """The handshake with a CA file, watched or only captured."""
    run = run_for(port)
    run.options = Options(all_stacks=all_stacks)
    run._evidence[CaEvidence] = CaEvidence((source,))
    seen = observe_handshake(run)
    run.close()
    return seen.evidence
