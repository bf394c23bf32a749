"""A small threaded TCP server on loopback: what the broker, the HTTP API and the faults share."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from tbdiag.sandbox.connection import Connection, Tls, TlsConnection, tls_context

if TYPE_CHECKING:
    from cryptography import x509
    from OpenSSL import SSL

_STOP_SECONDS: Final = 5.0


class Server:
    """Listens on 127.0.0.1 (and ::1 if asked) and serves each connection in a thread of its own.

    Use it as a context manager; subclasses write `serve`. Leaving the context ends every
    connection and thread at once, and raises what went wrong in one of them.
    """

    def __init__(self, *, tls: Tls | None = None, port: int = 0, ipv6: bool = False) -> None:
        self.tls = tls
        self.port = port
        self.stopping = threading.Event()
        self.connections: list[Connection] = []
        self.failures: list[Exception] = []
        self._ipv6 = ipv6
        self._context: SSL.Context | None = None
        self._listeners: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept_all, daemon=True)

    def serve(self, connection: Connection) -> None:
        """Speak with one client; the connection is closed when this returns or raises OSError."""
        raise NotImplementedError

    def accepts_client_certificate(self, certificate: x509.Certificate) -> bool:
        """Whether the handshake goes on with this client certificate: always, unless overridden."""
        del certificate
        return True

    def start(self) -> Self:
        """Bind, listen and return; `port` then holds the real port."""
        if self.tls is not None:
            self._context = tls_context(self.tls, self.accepts_client_certificate)
        self._listeners = listen_on_loopback(self.port, self._ipv6)
        self.port = self._listeners[0].getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """End every connection and thread; RuntimeError when one does not end in time.

        That takes milliseconds; the limit leaves room for a busy machine. Stopping twice, or
        before a start, does nothing.
        """
        if self.stopping.is_set() or not self._listeners:
            return
        self.stopping.set()
        self._wake.send(b"x")
        deadline = time.monotonic() + _STOP_SECONDS
        self._acceptor.join(_STOP_SECONDS)
        for connection in self.connections:
            connection.abort()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for sock in (*self._listeners, self._wake, self._woken):
            sock.close()
        if any(thread.is_alive() for thread in self._threads):
            raise RuntimeError("a connection of the sandbox did not end")

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the server runs."""
        self.stopping.wait(seconds)

    def received_bytes(self) -> bytes:
        """Everything all clients sent, in order of connection: as on the wire, and decrypted."""
        parts = []
        for connection in list(self.connections):
            parts.append(bytes(connection.wire))
            if connection.plain is not connection.wire:
                parts.append(bytes(connection.plain))
        return b"".join(parts)

    def broke(self, connection: Connection, error: OSError) -> None:
        """Called when a connection ended with an error; to be overridden by who wants to know."""

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, and raise what a connection's thread raised."""
        self.stop()
        if kind is None and self.failures:
            raise self.failures[0]

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (*self._listeners, self._woken):
                selector.register(sock, selectors.EVENT_READ)
            while not self.stopping.is_set():
                for key, _ in selector.select():
                    if key.fileobj is not self._woken:
                        self._accept(key.fileobj)  # type: ignore[arg-type]

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:  # the client left between select and accept
            return
        sock.setblocking(True)
        number = len(self.connections) + 1
        if self._context is not None and self.tls is not None:
            connection: Connection = TlsConnection(sock, number, self._context, self.tls)
        else:
            connection = Connection(sock, number)
        self.connections.append(connection)
        thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
        self._threads = [*(t for t in self._threads if t.is_alive()), thread]
        thread.start()

    def _run(self, connection: Connection) -> None:
        try:
            connection.handshake()
            self.serve(connection)
        except OSError as error:
            self.broke(connection, error)
        except Exception as error:  # noqa: BLE001 - shown by __exit__, not lost in a thread
            self.failures.append(error)
        finally:
            with suppress(OSError):
                connection.close()


def listen_on_loopback(port: int, ipv6: bool) -> list[socket.socket]:
    """Return listening sockets on 127.0.0.1 and, if asked, on the same port of ::1."""
    first = listen(socket.AF_INET, port)
    if not ipv6:
        return [first]
    try:
        return [first, listen(socket.AF_INET6, first.getsockname()[1])]
    except OSError:
        first.close()
        raise


def listen(family: socket.AddressFamily, port: int = 0, backlog: int = 128) -> socket.socket:
    """Return a non-blocking listening socket on loopback; OSError when the port is taken."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("::1" if family is socket.AF_INET6 else "127.0.0.1", port))
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
