"""The DTLS handshake, against real servers on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tbdiag.deadline import Deadline
from tbdiag.evidence import HandshakeEvidence
from tbdiag.protocol.identity import load_identity
from tbdiag.protocol.tls_context import Hello
from tbdiag.protocol.tls_datagram import (
    DtlsSession,
    SessionEnded,
    handshake_datagrams,
    is_dtls,
    records,
)
from tbdiag.protocol.transport_udp import open_datagrams
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.datagrams import DatagramServer, Peer, RefusingDatagrams

ROOT = Authority.root()
INTERMEDIATE = ROOT.intermediate()
ISSUED = INTERMEDIATE.issue_server()
NOW = datetime.now(UTC)


class Echo(DatagramServer):
    """Sends back every message."""

    def receive(self, peer: Peer, message: bytes) -> None:
        peer.send(message)


def der(authority: Authority) -> bytes:
    return authority.certificate.public_bytes(Encoding.DER)


def shake(
    server: DatagramServer, hello: Hello | None = None, seconds: float = 5.0
) -> tuple[HandshakeEvidence, DtlsSession | None]:
    """One handshake; the server must be running already."""
    hello = hello or Hello("localhost", (der(ROOT),), datagram=True)
    channel = open_datagrams("127.0.0.1", server.port)
    return handshake_datagrams(channel, hello, Deadline.after(seconds))


def shaken(server: DatagramServer, hello: Hello | None = None, seconds: float = 5.0):
    with server:
        evidence, session = shake(server, hello, seconds)
        if session:
            session.close()
    return evidence


def test_the_handshake_shows_what_the_server_presents() -> None:
    """Version, cipher suite, the list as presented, and a CertificateRequest are captured."""
    evidence = shaken(Echo(tls=Tls(ISSUED)))
    assert (evidence.established, evidence.outcome) == (True, "established")
    assert evidence.version == "DTLSv1.2"
    assert [c.common_name for c in evidence.certificate_list] == [
        "localhost",
        INTERMEDIATE.certificate.subject.rfc4514_string().removeprefix("CN="),
    ]
    assert evidence.verify_errors == ()
    assert evidence.certificate_requested
    assert evidence.peer == "127.0.0.1"


def test_an_untrusted_server_is_captured_all_the_same() -> None:
    """Another CA's anchor: the handshake stands, and the verify errors say why nobody trusts it."""
    other = Hello("localhost", (der(Authority.root("Other")),), datagram=True)
    evidence = shaken(Echo(tls=Tls(ISSUED)), other)
    assert evidence.established
    assert {e.code for e in evidence.verify_errors} & {19, 20, 21}


def test_application_data_goes_both_ways() -> None:
    """One message is one datagram, both ways, several times."""
    with Echo(tls=Tls(ISSUED)) as server:
        _, session = shake(server)
        assert session is not None
        for message in (b"one", b"two" * 300, b"three"):
            session.send(message)
            assert session.receive(Deadline.after(2)) == message
        session.close()
        session.close()


def test_nothing_travels_in_clear() -> None:
    """What is sent over the session is not in the datagrams."""
    with Echo(tls=Tls(ISSUED)) as server:
        _, session = shake(server)
        assert session is not None
        session.send(b"canary-7f3a")
        session.receive(Deadline.after(2))
        session.close()
        assert b"canary-7f3a" not in bytes(server._wire)
        assert b"canary-7f3a" in server.received_bytes()


def test_a_lost_client_hello_is_sent_again() -> None:
    """OpenSSL's timer sends the flight again after a second (RFC 6347 section 4.2.4)."""
    evidence = shaken(Echo(tls=Tls(ISSUED), lose=1))
    assert evidence.established
    assert evidence.elapsed_ms > 900


def test_a_long_certificate_list_is_put_together() -> None:
    """A flight of many fragments, each in its own datagram, is one handshake."""
    certificate = ROOT
    for number in range(6):
        certificate = certificate.intermediate(f"Level {number}")
    evidence = shaken(Echo(tls=Tls(certificate.issue_server())))
    assert evidence.established
    assert len(evidence.certificate_list) == 7


def test_an_expired_certificate_is_captured() -> None:
    """The verify error of an expired certificate is 10, as over TLS."""
    expired = INTERMEDIATE.issue_server(not_after=NOW - timedelta(days=1))
    assert 10 in {e.code for e in shaken(Echo(tls=Tls(expired))).verify_errors}


def test_silence_is_no_answer_within_the_deadline() -> None:
    """A port that swallows everything ends at the deadline, with the flights counted."""
    started = time.monotonic()
    evidence = shaken(DatagramServer(), seconds=1.3)
    assert time.monotonic() - started < 2.3
    assert (evidence.outcome, evidence.established) == ("no-answer", False)
    assert evidence.detail == "2 datagrams sent, none came back"


def test_a_closed_port_is_refused() -> None:
    """ICMP says that nobody listens."""
    assert shaken(RefusingDatagrams()).outcome == "refused"


def test_another_protocol_is_named_by_its_bytes() -> None:
    """What does not begin as a DTLS record is not DTLS."""

    class Greets(DatagramServer):
        def receive(self, peer: Peer, message: bytes) -> None:
            peer.send(b"HTTP/1.1 400 Bad Request\r\n")

    evidence = shaken(Greets())
    assert (evidence.outcome, evidence.speaks) == ("not-tls", "http")


def test_a_server_that_stalls_is_a_timeout() -> None:
    """A first fragment of a ServerHello whose rest never comes ends at the deadline."""
    fragment = bytes.fromhex("02 000064 0000 000000 000004 fefd0000")

    class Stalls(DatagramServer):
        def receive(self, peer: Peer, message: bytes) -> None:
            peer.send(b"\x16\xfe\xfd" + bytes(9) + bytes([len(fragment)]) + fragment)

    evidence = shaken(Stalls(), seconds=0.5)
    assert evidence.outcome == "timeout"


def test_a_flood_of_records_is_cut_off() -> None:
    """More bytes than any handshake needs, or the deadline, end it."""

    class Floods(DatagramServer):
        def receive(self, peer: Peer, message: bytes) -> None:
            for _ in range(3000):
                peer.send(b"\x17\xfe\xfd" + bytes(8) + b"\x04\x00" + bytes(1024))

    started = time.monotonic()
    evidence = shaken(Floods(), seconds=1.0)
    assert evidence.outcome in ("timeout", "protocol-error")
    assert time.monotonic() - started < 3.0


def test_a_required_client_certificate_is_refused_with_an_alert() -> None:
    """DTLS 1.2 refuses within the handshake, so no token can follow it."""
    evidence = shaken(Echo(tls=Tls(ISSUED, client_certificate="require")))
    assert (evidence.outcome, evidence.established) == ("alert", False)


def test_a_client_certificate_is_shown_when_asked_for(tmp_path: Path) -> None:
    """An X.509 device proves itself in the handshake."""
    device = ROOT.issue_client("device")
    (tmp_path / "device.pem").write_bytes(device.pem())
    (tmp_path / "device.key").write_bytes(device.key_pem())
    identity = load_identity(str(tmp_path / "device.pem"), str(tmp_path / "device.key"))
    evidence = shaken(
        Echo(tls=Tls(ISSUED, client_certificate="require")),
        Hello("localhost", (der(ROOT),), identity, datagram=True),
    )
    assert evidence.established
    assert evidence.client_certificate_sent


def test_a_session_that_the_server_ends_says_so() -> None:
    """close_notify is an exception of its own, not silence."""

    class Leaves(DatagramServer):
        def receive(self, peer: Peer, message: bytes) -> None:
            peer._tls.shutdown()  # type: ignore[attr-defined]
            peer._flush()  # type: ignore[attr-defined]

    with Leaves(tls=Tls(ISSUED)) as server:
        _, session = shake(server)
        assert session is not None
        session.send(b"anything")
        with pytest.raises(SessionEnded, match="close_notify"):
            session.receive(Deadline.after(2))
        session.close()


def test_records_are_cut_where_they_end() -> None:
    """What OpenSSL writes at once is cut into records, each with its own header."""
    one, two = (b"\x16\xfe\xfd" + bytes(8) + b"\x00\x02" + body for body in (b"ab", b"cd"))
    assert list(records(one + two)) == [one, two]
    assert list(records(b"")) == []


@pytest.mark.parametrize(
    ("first", "verdict"),
    [(b"", True), (b"\x16\xfe\xff\x00", True), (b"\x15\xfe\xfd", True), (b"\x16\x03\x01", False)],
)
def test_a_dtls_record_is_told_from_a_tls_record(first: bytes, verdict: bool) -> None:
    """The major version of DTLS is 254, of TLS 3."""
    assert is_dtls(first) is verdict


def test_openssl_s_server_completes_the_handshake(tmp_path: Path) -> None:
    """An independent DTLS server, openssl s_server, sees the same handshake."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    (tmp_path / "server.pem").write_bytes(ISSUED.pem() + INTERMEDIATE.pem() + ISSUED.key_pem())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [openssl, "s_server", "-dtls1_2", "-4", "-accept", f"127.0.0.1:{port}", "-cert_chain"]
    files = [str(tmp_path / "server.pem"), "-cert", str(tmp_path / "server.pem")]
    with subprocess.Popen(
        [*words, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            while b"ACCEPT" not in process.stdout.readline():
                pass
            hello = Hello("localhost", (der(ROOT),), datagram=True)
            channel = open_datagrams("127.0.0.1", port)
            evidence, session = handshake_datagrams(channel, hello, Deadline.after(5))
            assert evidence.established
            assert evidence.verify_errors == ()
            assert session is not None
            session.close()
        finally:
            process.kill()
