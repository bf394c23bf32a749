"""Raw servers misbehave as their names say, and end in time whatever the client does."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tbdiag.sandbox import faults
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.server import Server

ROOT = Authority.root()
TLS = Tls(ROOT.issue_server())


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def handshake(port: int) -> ssl.SSLSocket:
    """A verified TLS connection to localhost; an end without close_notify is an error."""
    context = ssl.create_default_context(cadata=ROOT.pem().decode())
    sock = dial(port)
    try:
        return context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)
    except OSError:
        sock.close()
        raise


def read_all(sock: socket.socket) -> bytes:
    """Everything until the end."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Every server's end takes less than a second and leaves no thread."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_silent() -> None:
    """A silent server accepts and never answers."""
    with faults.Silent() as server, dial(server.port) as sock:
        sock.sendall(b"hello")
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)


@pytest.mark.parametrize("after_first_bytes", [False, True])
def test_closing(after_first_bytes: bool) -> None:
    """A closing server sends nothing and ends the connection."""
    server = faults.Closing(after_first_bytes=after_first_bytes)
    with server, dial(server.port) as sock:
        sock.sendall(b"hello")
        assert sock.recv(1) == b""


@pytest.mark.parametrize("after_first_bytes", [False, True])
def test_resetting(after_first_bytes: bool) -> None:
    """A resetting server gives ECONNRESET, not an orderly end."""
    server = faults.Resetting(after_first_bytes=after_first_bytes)
    with server, pytest.raises(ConnectionResetError):
        ask(server.port)


def ask(port: int) -> bytes:
    with dial(port) as sock:  # each of these lines may be the first to meet the reset
        sock.send(b"hello")
        return sock.recv(1)


def test_dripping() -> None:
    """A dripping server sends single bytes, and goes on after its data."""
    with faults.Dripping(b"ab", 0.001) as server, dial(server.port) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) + sock.recv(1) + sock.recv(1) == b"ab\0"


def test_tls_dripping() -> None:
    """A server can drip inside TLS as well."""
    with faults.TlsDripping(TLS, b"ab", 0.001) as server, handshake(server.port) as stream:
        stream.sendall(b"x")
        assert stream.recv(1) + stream.recv(1) == b"ab"


@pytest.mark.parametrize("banner", [faults.SSH_BANNER, b"220 smtp ready\r\n"])
def test_banner(banner: bytes) -> None:
    """A banner comes before the client said anything."""
    with faults.Banner(banner) as server, dial(server.port) as sock:
        assert sock.recv(100) == banner


@pytest.mark.parametrize("tls", [None, TLS])
def test_http_server_on_the_port(tls: Tls | None) -> None:
    """A HTTP server answers MQTT with 400, plain or inside TLS."""
    open_stream = handshake if tls else dial
    with faults.Replying(tls=tls) as server, open_stream(server.port) as stream:
        stream.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
        assert read_all(stream) == faults.HTTP_BAD_REQUEST


@pytest.mark.parametrize(
    ("alert", "said"),
    [
        (faults.UNRECOGNIZED_NAME, "UNRECOGNIZED_NAME"),
        (faults.HANDSHAKE_FAILURE, "HANDSHAKE_FAILURE"),
        (faults.PROTOCOL_VERSION, "PROTOCOL_VERSION"),
        (faults.INTERNAL_ERROR, "INTERNAL_ERROR"),
        (faults.ACCESS_DENIED, "ACCESS_DENIED"),
    ],
)
def test_alerting(alert: int, said: str) -> None:
    """A client reads the alert that was chosen."""
    with faults.Alerting(alert) as server:
        with pytest.raises(ssl.SSLError) as caught:
            handshake(server.port)
        assert said in (caught.value.reason or "")


def test_tls_mute() -> None:
    """The handshake completes, and then there is silence."""
    with faults.TlsMute(TLS) as server, handshake(server.port) as stream:
        stream.settimeout(0.05)
        with pytest.raises(TimeoutError):
            stream.recv(1)


def test_tls_closing_with_close_notify() -> None:
    """With close_notify the client sees an orderly end of TLS."""
    with faults.TlsClosing(TLS) as server, handshake(server.port) as stream:
        assert stream.recv(1) == b""


def test_tls_closing_without_a_word() -> None:
    """Without close_notify the client sees TLS cut off."""
    tls = Tls(TLS.issued, close_notify=False)
    with faults.TlsClosing(tls, after_first_bytes=True) as server, handshake(server.port) as stream:
        stream.sendall(b"x")
        with pytest.raises(ssl.SSLEOFError):
            stream.recv(1)


def test_tls_resetting() -> None:
    """A reset inside TLS is a TCP RST; TLS 1.2, where no ticket comes before it."""
    tls = Tls(TLS.issued, maximum="TLSv1.2")
    server = faults.TlsClosing(tls, after_first_bytes=True, reset=True)
    with server, handshake(server.port) as stream:
        stream.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            socket.socket.recv(stream, 1)


def test_late_alert_for_a_missing_client_certificate() -> None:
    """In TLS 1.3 the handshake completes for the client, and certificate_required comes after."""
    tls = Tls(TLS.issued, "TLSv1.3", client_certificate="require")
    refusal = pytest.raises(ssl.SSLError, match=r"(?i)certificate required")
    with faults.TlsMute(tls) as server, handshake(server.port) as stream, refusal:
        stream.recv(1)


def test_endless_garbage() -> None:
    """Garbage never ends: a megabyte comes without a pause."""
    with faults.Endless() as server, dial(server.port) as sock:
        sock.sendall(b"x")
        total = 0
        while total < 1_000_000:
            total += len(sock.recv(65536))


def test_endless_handshake() -> None:
    """Handshake records without end: a client that does not count would read for ever."""
    with faults.Endless(faults.ENDLESS_HANDSHAKE) as server, dial(server.port) as sock:
        sock.sendall(b"x")
        assert sock.recv(9, socket.MSG_WAITALL) == faults.ENDLESS_HANDSHAKE


def test_refusing() -> None:
    """A refusing port refuses."""
    with faults.Refusing() as server, pytest.raises(ConnectionRefusedError):
        dial(server.port)


def test_black_hole() -> None:
    """Connecting to a black hole times out."""
    with faults.BlackHole() as server:
        assert server.works
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.1", server.port), timeout=0.2)


@pytest.mark.parametrize(
    "server",
    [
        faults.Silent(),
        faults.TlsMute(TLS),
        faults.Dripping(seconds=600),
        faults.Banner(),
        faults.Endless(),
    ],
    ids=lambda server: type(server).__name__,
)
def test_every_server_ends_in_time(server: Server) -> None:
    """A client that stays does not hold up the end of the server."""
    with server:
        sock = dial(server.port)
        sock.sendall(b"x")
        sock.settimeout(0.05)
        with suppress(TimeoutError):
            sock.recv(1)
        began = time.monotonic()
    assert time.monotonic() - began < 1
    sock.close()


def test_a_server_that_is_busy_sending_ends_in_time() -> None:
    """A client that never reads does not hold up the end of an endless sender."""
    with faults.Endless() as server, dial(server.port) as sock:
        sock.sendall(b"x")
        assert sock.recv(1)
        began = time.monotonic()
    assert time.monotonic() - began < 1
