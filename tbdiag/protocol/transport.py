"""Names to addresses and addresses to connections, under one monotonic deadline.

The only place that opens sockets, besides paho, httpx and aiocoap inside their checks. Everything
above works on a `Channel`; what dials through a proxy has only to return one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Any

from tbdiag.deadline import Deadline
from tbdiag.errors import os_error_kind
from tbdiag.evidence import DnsEvidence, TcpAttempt
from tbdiag.fact import Fact, Record, field
from tbdiag.protocol.hostnames import InvalidName, ascii_name
from tbdiag.protocol.x509_identity import ip_literal
from tbdiag.turns import READ, WRITE, answer, ready

__all__ = ["Channel", "Endpoint", "InvalidName", "ascii_name", "dial", "probe_ports", "resolve"]

GRACE = 0.25
"""Seconds that other addresses are given once one has connected, so that each is reported."""
SLOW_PATH = 4
"""… or this many times what the first connection took, on a long way."""
MAX_ANSWERS = 64
"""Addresses kept of one answer of the resolver."""
MAX_ADDRESSES = 16
"""Addresses of one name that are dialled; a resolver may return any number."""
CHUNK = 16384
"""Bytes read at once."""

_IN_PROGRESS = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EINTR)

_FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6}
_FAMILY_NAMES: dict[int, str] = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
_NOT_FOUND = tuple(
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
    if hasattr(socket, name)
)
_Answer = Sequence[tuple[int, int, int, str, Any]]


def resolve(host: str, port: int, family: str | None, deadline: Deadline) -> DnsEvidence:
    """The addresses of `host`; `family` `4` or `6` limits them.

    An IP literal (an IPv6 zone included) is returned as it is, without a lookup. The lookup runs in
    a thread of its own, because getaddrinfo cannot be interrupted: a resolver that hangs is left
    behind at the deadline. Never raises: what went wrong is in `error` and `detail`.
    """
    started = time.monotonic()
    try:
        literal = _literal(host, family)
        if literal:
            return DnsEvidence(host, literal=True, addresses=(literal,))
        found = _lookup(ascii_name(host), port, family, deadline)
    except InvalidName as error:
        return _failed(host, "invalid-name", str(error), started)
    except TimeoutError:
        return _failed(host, "timeout", "the resolver gave no answer", started)
    except socket.gaierror as error:
        kind = "name-not-found" if error.errno in _NOT_FOUND else "temporary-failure"
        return _failed(host, kind, f"{_eai_name(error)}: {error.strerror}", started)
    except OSError as error:
        return _failed(host, "temporary-failure", str(error), started)
    return _found(host, found, started)


def _literal(host: str, family: str | None) -> tuple[str, str] | None:
    address = None if "[" in host else ip_literal(host)
    if address is None:
        return None
    if family and family != str(address.version):
        raise InvalidName(f"it is an IPv{address.version} address, and -{family} was given")
    return f"IPv{address.version}", host


def _lookup(name: str, port: int, family: str | None, deadline: Deadline) -> _Answer:
    """getaddrinfo in a daemon thread; raises what it raises, and TimeoutError."""
    wanted = _FAMILIES[family] if family else socket.AF_UNSPEC

    def look_up() -> _Answer:
        return socket.getaddrinfo(
            name.encode("ascii"),
            port,
            family=wanted,
            type=socket.SOCK_STREAM,
            flags=socket.AI_CANONNAME,
        )

    return answer(look_up, deadline.remaining(), "tbdiag resolver")


def _found(host: str, answer: _Answer, started: float) -> DnsEvidence:
    addresses = dict.fromkeys(
        (_FAMILY_NAMES[family], str(target[0]))
        for family, _, _, _, target in answer
        if family in _FAMILY_NAMES
    )
    canonical = next((entry[3] for entry in answer if entry[3]), None)
    return DnsEvidence(
        host,
        literal=False,
        addresses=tuple(addresses)[:MAX_ANSWERS],
        canonical_name=canonical if canonical != host else None,
        elapsed_ms=_since(started),
    )


def _failed(host: str, error: str, detail: str, started: float) -> DnsEvidence:
    return DnsEvidence(host, literal=False, error=error, detail=detail, elapsed_ms=_since(started))


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


def _eai_name(error: socket.gaierror) -> str:
    names = (n for n in dir(socket) if n.startswith("EAI_") and getattr(socket, n) == error.errno)
    return next(names, f"EAI {error.errno}")


class Channel(Record):
    """One open TCP connection: non-blocking, every wait bounded by a Deadline."""

    socket: socket.socket
    address: str
    port: int
    round_trip: float
    """Seconds that connecting took: about one round trip."""
    opened_at: float = field(default_factory=time.monotonic)
    """Seconds of the monotonic clock."""
    received: int = 0
    """Bytes read so far."""
    broken: OSError | None = None
    """What a write raised. The peer may have said why before it closed, so reading goes on."""

    def write(self, data: bytes, deadline: Deadline) -> None:
        """Send all of `data`; raises TimeoutError when the peer takes none of it in time.

        A closed or reset connection does not raise here: an alert that arrived before it would be
        lost. It is remembered in `broken`, and `read` returns what is pending before the end.
        """
        view = memoryview(data)
        while view and self.broken is None:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                self._wait(WRITE, deadline)
            except OSError as error:
                self.broken = error

    def read(self, deadline: Deadline, most: int = CHUNK) -> bytes:
        """The next bytes, `most` at once; b"" when the peer closed.

        Raises TimeoutError when nothing comes in time, and OSError as the system reports it.
        """
        while True:
            try:
                data = self.socket.recv(most)
            except BlockingIOError:
                self._wait(READ, deadline)
                continue
            if not data and self.broken:
                raise self.broken
            self.received += len(data)
            return data

    def _wait(self, event: int, deadline: Deadline) -> None:
        if not ready({self.socket: event}, deadline.remaining()):
            raise TimeoutError("the deadline passed")

    def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        with contextlib.suppress(OSError):
            self.socket.close()


class Endpoint(Fact, frozen=True):
    """One address and port to dial; `family` is `IPv4` or `IPv6`."""

    family: str
    address: str
    port: int

    def attempt(self, outcome: str, started: float, detail: str = "") -> TcpAttempt:
        """How dialling this endpoint ended."""
        elapsed = round((time.monotonic() - started) * 1000, 3)
        return TcpAttempt(self.family, self.address, self.port, outcome, detail, elapsed)

    def failed(self, error: OSError, started: float) -> TcpAttempt:
        """How dialling this endpoint failed, with the system's own name for the error."""
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        return self.attempt(os_error_kind(error), started, f"{name}: {error.strerror or error}")


class _Race(Record):
    """Connections being opened at the same time, and how each went."""

    started: float = field(default_factory=time.monotonic)
    pending: dict[socket.socket, Endpoint] = field(default_factory=dict)
    attempts: dict[Endpoint, TcpAttempt] = field(default_factory=dict)
    channels: dict[Endpoint, Channel] = field(default_factory=dict)

    def start(self, endpoint: Endpoint) -> None:
        """Begin to connect to one endpoint."""
        try:
            family, kind, _, _, target = _numeric(endpoint)
            sock = socket.socket(family, kind)
        except OSError as error:
            self.attempts[endpoint] = endpoint.failed(error, self.started)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._settle(sock, endpoint, sock.connect_ex(target))

    def _settle(self, sock: socket.socket, endpoint: Endpoint, code: int) -> None:
        """Record what connect() came to.

        A RST in answer to SYN is ECONNREFUSED. ECONNRESET means that the connection was accepted
        and reset before we looked: whether it is seen here or at the first read depends on the
        moment, so it always counts as connected, and the next stage meets the reset.
        """
        if code in _IN_PROGRESS:
            self.pending[sock] = endpoint
        elif code and code != errno.ECONNRESET:
            sock.close()
            error = OSError(code, os.strerror(code))
            self.attempts[endpoint] = endpoint.failed(error, self.started)
        else:
            attempt = endpoint.attempt("connected", self.started)
            channel = Channel(sock, endpoint.address, endpoint.port, attempt.elapsed_ms / 1000)
            channel.broken = OSError(code, os.strerror(code)) if code else None
            self.attempts[endpoint] = attempt
            self.channels[endpoint] = channel

    def run(self, deadline: Deadline, grace: float | None) -> None:
        """Wait until all are settled, the deadline passes, or `grace` after the first success."""
        limit = deadline
        while self.pending and not limit.passed:
            if grace is not None and self.channels and limit is deadline:
                first = next(iter(self.channels.values())).round_trip
                limit = deadline.sooner(max(grace, SLOW_PATH * first))
            for sock in ready(dict.fromkeys(self.pending, WRITE), limit.remaining()):
                self._finish(sock)
        self._give_up(overtaken=not deadline.passed)

    def _finish(self, sock: socket.socket) -> None:
        endpoint = self.pending.pop(sock)
        self._settle(sock, endpoint, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _give_up(self, *, overtaken: bool) -> None:
        """What has not answered: `pending` when another address was faster, else `timeout`."""
        for sock, endpoint in self.pending.items():
            sock.close()
            outcome = "pending" if overtaken else "timeout"
            self.attempts[endpoint] = endpoint.attempt(outcome, self.started, "no answer")


def _numeric(
    endpoint: Endpoint,
) -> tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]:
    """The socket address of an IP literal, its zone resolved; never asks a name server."""
    if endpoint.family == "IPv4":
        socket.inet_pton(socket.AF_INET, endpoint.address)  # OSError where it is none
        address = (endpoint.address, endpoint.port)
        return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    found = socket.getaddrinfo(
        endpoint.address, endpoint.port, type=socket.SOCK_STREAM, flags=flags
    )
    return found[0]


def dial(
    addresses: Sequence[tuple[str, str]], port: int, deadline: Deadline
) -> tuple[tuple[TcpAttempt, ...], dict[str, Channel]]:
    """Connect to every address at once: how each went, and the open channels by address.

    `addresses` are (family, address) pairs. Channels come fastest first. Once one has connected
    the others get a moment more and are then reported as `pending`; without any success all of
    them have until the deadline. The caller closes every channel.
    """
    endpoints = [Endpoint(family, address, port) for family, address in addresses[:MAX_ADDRESSES]]
    race = _raced(endpoints, deadline, GRACE)
    channels = {endpoint.address: channel for endpoint, channel in race.channels.items()}
    return tuple(race.attempts[endpoint] for endpoint in endpoints), channels


def probe_ports(
    family: str, address: str, ports: Iterable[int], deadline: Deadline
) -> tuple[TcpAttempt, ...]:
    """Whether each of several ports of one address accepts a connection; all are closed again."""
    endpoints = [Endpoint(family, address, port) for port in ports]
    race = _raced(endpoints, deadline, None)
    for channel in race.channels.values():
        channel.close()
    return tuple(race.attempts[endpoint] for endpoint in endpoints)


def _raced(endpoints: Iterable[Endpoint], deadline: Deadline, grace: float | None) -> _Race:
    race = _Race()
    for endpoint in endpoints:
        race.start(endpoint)
    race.run(deadline, grace)
    return race
