"""Proxies on loopback: HTTP CONNECT (RFC 9110 section 9.3.6) and SOCKS5 (RFC 1928, RFC 1929).

    with Broker() as broker, HttpProxy(hosts={"tb.test": "127.0.0.1"}) as proxy:
        ...  proxy.url

They resolve by their own table first, so a name that nobody else knows proves who resolved it.
"""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from tbdiag.sandbox.connection import Connection
from tbdiag.sandbox.server import Server

_CHUNK: Final = 65536
_DIAL_SECONDS: Final = 2.0


class _Proxy(Server):
    """What both kinds share: a table of names, a login, a refusal, and the relay.

    hosts: name -> address. login: "user:password" that is asked for, or None. refusal: what every
    request is answered with, a HTTP status or a SOCKS reply code; None lets it pass. `requests`
    holds the (host, port) pairs that were asked for.
    """

    scheme = ""

    def __init__(
        self,
        *,
        hosts: Mapping[str, str] | None = None,
        login: str | None = None,
        refusal: int | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.hosts = dict(hosts or {})
        self.login = login
        self.refusal = refusal
        self.requests: list[tuple[str, int]] = []

    @property
    def url(self) -> str:
        """Its URL, without a login."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def reach(self, host: str, port: int) -> socket.socket:
        """Connect to what was asked for; OSError when that fails."""
        self.requests.append((host, port))
        address = self.hosts.get(host, host)
        return socket.create_connection((address, port), _DIAL_SECONDS)

    def relay(self, connection: Connection, upstream: socket.socket) -> None:
        """Pass bytes both ways until either side ends."""
        upstream.settimeout(None)
        back = threading.Thread(target=_pump, args=(upstream, connection), daemon=True)
        back.start()
        try:
            while data := connection.read():
                upstream.sendall(data)
        finally:
            with suppress(OSError):
                upstream.shutdown(socket.SHUT_RDWR)
            back.join()
            upstream.close()


def _pump(upstream: socket.socket, connection: Connection) -> None:
    with suppress(OSError):
        while data := upstream.recv(_CHUNK):
            connection.write(data)
    connection.abort()


class HttpProxy(_Proxy):
    """An HTTP proxy: tunnels for CONNECT, and plain requests with the whole URL in them."""

    scheme = "http"

    def serve(self, connection: Connection) -> None:
        """Answer one request."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.read()
            if not data:
                return
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        refusal = self._refusal(head.decode("latin-1"))
        if refusal:
            connection.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        self._pass(connection, head.decode("latin-1"), rest)

    def _refusal(self, head: str) -> str | None:
        expected = base64.b64encode((self.login or "").encode()).decode()
        if self.login and f"Basic {expected}" not in head:
            wanted = 'Proxy-Authenticate: Basic realm="sandbox"'
            return f"407 Proxy Authentication Required\r\n{wanted}"
        return f"{self.refusal} Refused by the sandbox" if self.refusal else None

    def _pass(self, connection: Connection, head: str, rest: bytes) -> None:
        method, url, _ = head.split(" ", 2)
        tunnel = method == "CONNECT"
        parts = urlsplit(f"//{url}" if tunnel else url)
        try:
            upstream = self.reach(parts.hostname or "", parts.port or 80)
        except OSError:
            connection.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        if tunnel:
            connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            origin = head.replace(url, parts.path, 1)
            upstream.sendall(f"{origin}\r\n\r\n".encode("latin-1"))
        if rest:
            upstream.sendall(rest)
        self.relay(connection, upstream)


class SocksProxy(_Proxy):
    """A SOCKS5 proxy that knows CONNECT, with or without a login."""

    scheme = "socks5"

    def serve(self, connection: Connection) -> None:
        """Answer one request."""
        speech = _Speech(connection)
        if not self._logged_in(speech):
            return
        _, _, _, kind = speech.take(4)
        host = _address(speech, kind)
        port = int.from_bytes(speech.take(2))
        if self.refusal:
            connection.write(_reply(self.refusal))
            return
        try:
            upstream = self.reach(host, port)
        except OSError as error:
            connection.write(_reply(5 if isinstance(error, ConnectionRefusedError) else 4))
            return
        connection.write(_reply(0))
        if speech.rest:
            upstream.sendall(speech.rest)
        self.relay(connection, upstream)

    def _logged_in(self, speech: _Speech) -> bool:
        methods = speech.take(speech.take(2)[1])
        wanted = 2 if self.login else 0
        if wanted not in methods:
            speech.connection.write(b"\x05\xff")
            return False
        speech.connection.write(bytes([5, wanted]))
        if not self.login:
            return True
        user = speech.take(speech.take(2)[1])
        password = speech.take(speech.take(1)[0])
        good = b":".join((user, password)) == self.login.encode()
        speech.connection.write(b"\x01\x00" if good else b"\x01\x01")
        return good


class _Speech:
    """What the client says, taken in pieces; OSError when it leaves in the middle."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rest = b""

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        while len(self.rest) < count:
            data = self.connection.read()
            if not data:
                raise ConnectionError("the client left")
            self.rest += data
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken


def _address(speech: _Speech, kind: int) -> str:
    if kind == 3:
        return speech.take(speech.take(1)[0]).decode("ascii")
    family = socket.AF_INET if kind == 1 else socket.AF_INET6
    return socket.inet_ntop(family, speech.take(4 if kind == 1 else 16))


def _reply(code: int) -> bytes:
    return bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])
