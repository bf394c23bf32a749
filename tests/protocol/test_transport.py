"""Resolving and dialling, against real sockets on loopback."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tbdiag.deadline import Deadline
from tbdiag.protocol import transport
from tbdiag.protocol.transport import Channel, dial, probe_ports, resolve


def soon(seconds: float = 2.0) -> Deadline:
    return Deadline.after(seconds)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        yield sock


@pytest.fixture
def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        return int(sock.getsockname()[1])


@pytest.fixture
def full() -> Iterator[socket.socket]:
    """A listener whose backlog is full: SYNs to it are dropped, as by a firewall."""
    with closing(socket.create_server(("127.0.0.3", 0), backlog=0)) as sock:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        with selectors.DefaultSelector() as selector:
            selector.register(fillers[0], selectors.EVENT_WRITE)
            selector.select(1)
        yield sock
        for filler in fillers:
            filler.close()


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[tuple[Channel, socket.socket]]:
    _, channels = dial([("IPv4", "127.0.0.1")], listener.getsockname()[1], soon())
    server, _ = listener.accept()
    with closing(server), closing(channels["127.0.0.1"]) as channel:
        yield channel, server


@pytest.mark.parametrize(
    ("host", "wrong"),
    [
        ("", "empty"),
        ("mqtts://broker.example", "scheme 'mqtts'"),
        ("broker.example/path", "a path"),
        ("user@broker.example", "a user name"),
        ("broker.example:8883", "a port"),
        ("broker example", "space"),
        ("broker.example\n", "line break"),
        ("broker..example", "empty label"),
        (".example", "empty label"),
        ("a" * 64 + ".example", "a label has 64"),
        (".".join(["abcdefgh"] * 30), "269 characters"),
        ("ä" * 5000, "5000 characters"),
        ("bro\x00ker", "cannot stand"),
        ("[::1]", "a port or a bad address"),
        ("*.example", "'*' cannot stand"),
        ("192.168.1.300", "IPv4"),
        ("192.168.1", "IPv4"),
        ("bro\u2024ker", "internationalised"),
    ],
)
def test_invalid_names_are_refused_without_a_lookup(
    host: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be a host name is `invalid-name`, says what is wrong and asks no name server."""
    monkeypatch.setattr(socket, "getaddrinfo", None)
    evidence = resolve(host, 8883, None, soon())
    assert evidence.error == "invalid-name"
    assert wrong in evidence.detail


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("my_broker.example", b"my_broker.example"),
        ("broker.example.", b"broker.example."),
        ("bücher.example", b"xn--bcher-kva.example"),
        ("例え.example", b"xn--r8jz45g.example"),
    ],
)
def test_valid_names_are_asked_in_wire_form(
    host: str, asked: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Underscores and a final dot are allowed, other scripts are asked for as A-labels."""
    seen = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *_, **__: seen.append(name) or [])
    resolve(host, 8883, None, soon())
    assert seen == [asked]


@pytest.mark.parametrize(
    ("host", "family"),
    [("192.0.2.1", "IPv4"), ("2001:db8::1", "IPv6"), ("fe80::1%eth0", "IPv6"), ("::1", "IPv6")],
)
def test_literals_are_not_looked_up(
    host: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An IP address, zone included, is returned as it is."""
    monkeypatch.setattr(socket, "getaddrinfo", None)
    evidence = resolve(host, 8883, None, soon())
    assert (evidence.literal, evidence.addresses, evidence.error) == (True, ((family, host),), None)


def test_a_literal_of_the_other_family_is_invalid() -> None:
    """An IPv4 address with -6 is told apart from a name that does not exist."""
    evidence = resolve("192.0.2.1", 8883, "6", soon())
    assert (evidence.error, "-6" in evidence.detail) == ("invalid-name", True)


def test_localhost_resolves() -> None:
    """A name is resolved by the system, each address once."""
    evidence = resolve("localhost", 8883, "4", soon())
    assert evidence.addresses == (("IPv4", "127.0.0.1"),)
    assert evidence.elapsed_ms > 0


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (socket.EAI_NONAME, "name-not-found"),
        (socket.EAI_NODATA, "name-not-found"),
        (socket.EAI_AGAIN, "temporary-failure"),
        (socket.EAI_FAIL, "temporary-failure"),
    ],
)
def test_resolver_errors_are_told_apart(
    code: int, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that does not exist is not confused with a resolver that fails."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(code, "said the resolver")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    evidence = resolve("broker.example", 8883, None, soon())
    assert evidence.error == error
    assert evidence.detail.startswith("EAI_")


def test_a_hanging_resolver_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup that never returns ends at the deadline."""
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(20) and [])
    started = time.monotonic()
    evidence = resolve("broker.example", 8883, None, soon(0.2))
    release.set()
    assert evidence.error == "timeout"
    assert time.monotonic() - started < 1


def test_endless_answers_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that returns thousands of addresses does not make us keep or dial them all."""
    answer = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.1.{i // 250}.{i % 250}", 1))
        for i in range(5000)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    assert len(resolve("many.example", 1, None, soon()).addresses) == transport.MAX_ANSWERS


def test_every_address_is_reported(listener: socket.socket) -> None:
    """One address answers, another refuses: both are in the result, in the order given."""
    port = listener.getsockname()[1]
    attempts, channels = dial([("IPv4", "127.0.0.2"), ("IPv4", "127.0.0.1")], port, soon())
    assert [a.outcome for a in attempts] == ["refused", "connected"]
    assert attempts[0].detail.startswith("ECONNREFUSED")
    assert list(channels) == ["127.0.0.1"]
    channels["127.0.0.1"].close()


def test_a_dropped_address_does_not_hold_up_one_that_answers(full: socket.socket) -> None:
    """A slow address is reported as pending a quarter of a second after another connected."""
    port = full.getsockname()[1]
    with closing(socket.create_server(("127.0.0.1", port))):
        started = time.monotonic()
        attempts, channels = dial([("IPv4", "127.0.0.3"), ("IPv4", "127.0.0.1")], port, soon(5))
        took = time.monotonic() - started
    channels["127.0.0.1"].close()
    assert [a.outcome for a in attempts] == ["pending", "connected"]
    assert transport.GRACE <= took < 1


def test_a_dropped_address_times_out(full: socket.socket) -> None:
    """Without any answer the deadline ends the attempt."""
    started = time.monotonic()
    attempts, channels = dial([("IPv4", "127.0.0.3")], full.getsockname()[1], soon(0.3))
    assert ([a.outcome for a in attempts], channels) == (["timeout"], {})
    assert 0.3 <= time.monotonic() - started < 1


def test_an_unknown_zone_is_reported_not_raised() -> None:
    """A link-local address with an interface that does not exist fails like any other address."""
    attempts, channels = dial([("IPv6", "fe80::1%nonesuch0")], 8883, soon())
    assert channels == {}
    assert attempts[0].outcome not in ("connected", "timeout")


def test_ports_are_probed_together(listener: socket.socket, closed_port: int) -> None:
    """Each port of one address is reported, and no connection is left open."""
    port = listener.getsockname()[1]
    attempts = probe_ports("IPv4", "127.0.0.1", [port, closed_port], soon())
    assert [(a.port, a.outcome) for a in attempts] == [
        (port, "connected"),
        (closed_port, "refused"),
    ]
    server, _ = listener.accept()
    with closing(server):
        server.settimeout(2)
        assert server.recv(1) == b""


def test_bytes_before_a_reset_are_read_after_a_failed_write(
    pair: tuple[Channel, socket.socket],
) -> None:
    """What the peer said before it reset is not lost when our write fails first."""
    channel, server = pair
    server.sendall(b"alert")
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert channel.socket.recv(5, socket.MSG_PEEK) == b"alert"
    server.close()
    channel.write(b"x" * 10, soon())
    channel.write(b"x" * 10, soon())
    assert channel.broken is not None
    assert channel.read(soon()) == b"alert"
    with pytest.raises(OSError, match=r"\[Errno"):
        channel.read(soon())


def test_a_peer_that_reads_nothing_cannot_hold_a_write(
    pair: tuple[Channel, socket.socket],
) -> None:
    """Writing more than the peer takes ends at the deadline."""
    channel, _ = pair
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        channel.write(bytes(1 << 24), soon(0.2))
    assert time.monotonic() - started < 1
