"""Servers that misbehave below MQTT, on raw sockets; one class per fault, named by its effect.

Each is a context manager with a `port`, and ends with its context whatever its clients do. A server
that speaks plain MQTT on a TLS port is a `Broker` without `tls`.
"""

from __future__ import annotations

import errno
import itertools
import socket
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from tbdiag.sandbox.connection import Connection, Tls
from tbdiag.sandbox.server import Server, listen

UNRECOGNIZED_NAME: Final = 112
HANDSHAKE_FAILURE: Final = 40
PROTOCOL_VERSION: Final = 70
INTERNAL_ERROR: Final = 80
ACCESS_DENIED: Final = 49

HTTP_BAD_REQUEST: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 26\r\n"
    b"Connection: close\r\n\r\n<h1>400 Bad Request</h1>\r\n"
)
SSH_BANNER: Final = b"SSH-2.0-OpenSSH_9.6\r\n"

_FILLED_BACKLOG: Final = 16


class Silent(Server):
    """Accepts, reads, and never answers."""

    def serve(self, connection: Connection) -> None:
        """Read until the client leaves."""
        while connection.read():
            pass


class TlsMute(Silent):
    """Completes the TLS handshake and then never answers."""

    def __init__(self, tls: Tls, *, port: int = 0) -> None:
        super().__init__(tls=tls, port=port)


class Closing(Server):
    """Closes at once; or, with `after_first_bytes`, when the client has said something."""

    def __init__(self, *, after_first_bytes: bool = False, port: int = 0) -> None:
        super().__init__(port=port)
        self._reads = after_first_bytes

    def serve(self, connection: Connection) -> None:
        """Return, which closes."""
        if self._reads:
            connection.read()


class Resetting(Server):
    """Answers with a TCP RST: at once, or when the client has said something."""

    def __init__(self, *, after_first_bytes: bool = True, port: int = 0) -> None:
        super().__init__(port=port)
        self._reads = after_first_bytes

    def serve(self, connection: Connection) -> None:
        """Reset the connection."""
        if self._reads:
            connection.read()
        connection.reset()


class Dripping(Server):
    """Sends `data` one byte every `seconds`, from the client's first byte on, without end.

    By default the bytes are the start of a TLS ServerHello that never completes.
    """

    def __init__(
        self,
        data: bytes = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03",
        seconds: float = 2.0,
        *,
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self._data = data
        self._seconds = seconds

    def serve(self, connection: Connection) -> None:
        """Drip, then go on with zeros."""
        connection.read()
        for byte in itertools.chain(self._data, itertools.repeat(0)):
            connection.write(bytes([byte]))
            self.pause(self._seconds)
            if self.stopping.is_set():
                return


class TlsDripping(Server):
    """Completes the TLS handshake, then sends `data` one byte every `seconds`, again and again."""

    def __init__(
        self, tls: Tls, data: bytes = b"\x20\x02\x00", seconds: float = 2.0, *, port: int = 0
    ) -> None:
        super().__init__(tls=tls, port=port)
        self._data = data
        self._seconds = seconds

    def serve(self, connection: Connection) -> None:
        """Drip."""
        connection.read()
        for byte in itertools.cycle(self._data):
            connection.write(bytes([byte]))
            self.pause(self._seconds)
            if self.stopping.is_set():
                return


class Banner(Server):
    """Speaks first, and another protocol: SSH unless told otherwise; then stays silent."""

    def __init__(self, banner: bytes = SSH_BANNER, *, port: int = 0) -> None:
        super().__init__(port=port)
        self._banner = banner

    def serve(self, connection: Connection) -> None:
        """Greet."""
        connection.write(self._banner)
        while connection.read():
            pass


class Replying(Server):
    """Answers the first bytes with `reply` whatever they were, and closes: a HTTP server's 400."""

    def __init__(
        self, reply: bytes = HTTP_BAD_REQUEST, *, tls: Tls | None = None, port: int = 0
    ) -> None:
        super().__init__(tls=tls, port=port)
        self._reply = reply

    def serve(self, connection: Connection) -> None:
        """Answer once."""
        if connection.read():
            connection.write(self._reply)


class Alerting(Server):
    """Answers ClientHello with a TLS alert (RFC 8446, section 6), fatal unless told otherwise."""

    def __init__(
        self, alert: int = HANDSHAKE_FAILURE, *, fatal: bool = True, port: int = 0
    ) -> None:
        super().__init__(port=port)
        self._record = bytes([0x15, 3, 3, 0, 2, 2 if fatal else 1, alert])

    def serve(self, connection: Connection) -> None:
        """Send the alert."""
        if connection.read():
            connection.write(self._record)


class TlsClosing(Server):
    """Completes the TLS handshake and closes: with close_notify, with a bare FIN, or with a RST.

    `after_first_bytes` waits for the client's first application data. Which it is follows from
    `tls.close_notify` and `reset`.
    """

    def __init__(
        self, tls: Tls, *, after_first_bytes: bool = False, reset: bool = False, port: int = 0
    ) -> None:
        super().__init__(tls=tls, port=port)
        self._reads = after_first_bytes
        self._resets = reset

    def serve(self, connection: Connection) -> None:
        """Return, which closes, or reset."""
        if self._reads:
            connection.read()
        if self._resets:
            connection.reset()


class Endless(Server):
    """Sends `unit` for ever, as fast as it is read, from the client's first bytes on.

    By default a byte that starts nothing; `ENDLESS_HANDSHAKE` is a TLS handshake without end.
    """

    def __init__(self, unit: bytes = b"\x00", *, port: int = 0) -> None:
        super().__init__(port=port)
        self._block = unit * max(1, 16384 // len(unit))

    def serve(self, connection: Connection) -> None:
        """Send until the client leaves."""
        connection.read()
        while not self.stopping.is_set():
            connection.write(self._block)


ENDLESS_HANDSHAKE: Final = bytes([0x16, 3, 3, 0, 4, 0, 0, 0, 0])
"""A TLS record with an empty HelloRequest, which a TLS 1.2 client must ignore."""


class Refusing:
    """A port that refuses connections; another program can only take it when it asks for it."""

    def __init__(self) -> None:
        self.port = 0
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))  # bound and not listening: the kernel answers RST
        self.port = self._socket.getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            self._socket.close()


class BlackHole:
    """A port where connecting never ends: its backlog is full and nobody accepts.

    Linux drops the SYN then, like a firewall; elsewhere the kernel may refuse instead, which
    `works` tells.
    """

    def __init__(self) -> None:
        self.port = 0
        self.works = False
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        listener = listen(socket.AF_INET, backlog=0)
        self._sockets.append(listener)
        self.port = listener.getsockname()[1]
        for _ in range(_FILLED_BACKLOG):
            client = socket.socket()
            client.settimeout(0.05)
            self._sockets.append(client)
            if client.connect_ex(("127.0.0.1", self.port)) in (errno.EAGAIN, errno.ETIMEDOUT):
                self.works = True
                return self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for sock in self._sockets:
            with suppress(OSError):
                sock.close()
