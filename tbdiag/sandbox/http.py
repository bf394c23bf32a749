"""A ThingsBoard-like HTTP server on loopback: the device API and the download of the CA file.

    with Broker() as broker, HttpApi(broker.platform, ca_file=root.pem()) as api:
        ...  api.url

Both share one platform, so an attribute written by MQTT is read by HTTP.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tbdiag.sandbox.connection import Connection, Tls
from tbdiag.sandbox.device_api import JSON, Request, Response, answer, error
from tbdiag.sandbox.profile import DEFAULT_TOKEN, Device, Platform
from tbdiag.sandbox.server import Server

__all__ = [
    "CA_DOWNLOAD",
    "COAPS_DOWNLOAD",
    "Answer",
    "HttpApi",
    "HttpFault",
    "HugeBody",
    "NoAnswer",
    "Redirect",
    "Request",
    "Response",
    "SlowBody",
    "html_page",
]

CA_DOWNLOAD: Final = "/api/device-connectivity/mqtts/certificate/download"
"""Where ThingsBoard 3.6 and later offers its CA file, without login."""
COAPS_DOWNLOAD: Final = "/api/device-connectivity/coaps/certificate/download"
"""The same for CoAP over DTLS, from 3.6.1 on."""

_INDEX: Final = b"<!doctype html><html><head><title>ThingsBoard</title></head><body></body></html>"


class HttpFault:
    """No fault: requests are answered as they should be."""

    def respond(self, request: Request, response: Response) -> Response:
        """See every response before it is sent; return another one."""
        del request
        return response

    def write_body(self, api: HttpApi, connection: Connection, body: bytes) -> bool:
        """See every body before it is sent; return True when it was dealt with."""
        del api, connection, body
        return False


class HttpApi(Server):
    """ThingsBoard's HTTP transport and the part of its web server that devices meet.

    platform: shared with a Broker, or one device with DEFAULT_TOKEN. tls: None for plain HTTP.
    ca_file: what the download gives; None is ThingsBoard's 404. before_3_6: the download wants a
    login (401). faults: applied in order.
    """

    def __init__(
        self,
        platform: Platform | None = None,
        *,
        tls: Tls | None = None,
        ca_file: bytes | None = None,
        before_3_6: bool = False,
        faults: Sequence[HttpFault] = (),
        port: int = 0,
        ipv6: bool = False,
    ) -> None:
        super().__init__(tls=tls, port=port, ipv6=ipv6)
        self.platform = platform or Platform([Device(token=DEFAULT_TOKEN)])
        self.ca_file = ca_file
        self.before_3_6 = before_3_6
        self.faults = tuple(faults)
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        """The base URL, as in "http://localhost:8080"."""
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    def serve(self, connection: Connection) -> None:
        """Answer requests until the client leaves."""
        _Exchange(connection, self)

    def respond(self, request: Request) -> Response:
        """Return what ThingsBoard answers, with faults applied."""
        self.requests.append(request)
        response = self._respond(request)
        for fault in self.faults:
            response = fault.respond(request, response)
        return response

    def _respond(self, request: Request) -> Response:
        if request.path in (CA_DOWNLOAD, COAPS_DOWNLOAD):
            return self._download(request.path.split("/")[3])
        if found := answer(self.platform, request, self.pause):
            return found
        if request.path == "/api/noauth/userPasswordPolicy":
            return Response(200, b'{"minimumLength":6}', (("Content-Type", JSON),))
        if request.path.startswith("/api/"):
            return error(401, "Authentication failed")
        return Response(200, _INDEX, (("Content-Type", "text/html"),))

    def _download(self, protocol: str) -> Response:
        if self.before_3_6:
            return error(401, "Authentication failed")
        if self.ca_file is None:
            return error(404, f"{protocol} pem cert file is not found!")
        headers = (
            ("Content-Type", "application/octet-stream"),
            ("Content-Disposition", "attachment;filename=ca-root.pem"),
            ("x-filename", "ca-root.pem"),
        )
        return Response(200, self.ca_file, headers)


class _Reader(io.RawIOBase):
    """A connection as a file to read from."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._rest or self._connection.read()
        taken, self._rest = data[: len(buffer)], data[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


class _Writer(io.BufferedIOBase):
    """A connection as a file to write to, without a buffer in between."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._connection.write(bytes(data))
        return len(data)


class _Exchange(BaseHTTPRequestHandler):
    """HTTP/1.1 on one connection; the standard library parses, HttpApi decides."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: Connection, api: HttpApi) -> None:
        self._connection = connection
        self._api = api
        super().__init__(None, ("127.0.0.1", 0), None)  # type: ignore[arg-type]

    def setup(self) -> None:
        self.rfile = io.BufferedReader(_Reader(self._connection))
        self.wfile = _Writer(self._connection)

    def finish(self) -> None:
        self.rfile.close()
        self.wfile.close()

    def log_message(self, *_: object) -> None:
        """Keep quiet; `HttpApi.requests` is the log."""

    def do_GET(self) -> None:
        self._exchange()

    def do_POST(self) -> None:
        self._exchange()

    def _exchange(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        response = self._api.respond(Request(self.command, url.path, query, body))
        self.send_response(response.status)
        names = {name.lower() for name, _ in response.headers}
        for name, value in response.headers:
            self.send_header(name, value)
        if not names & {"content-length", "connection"}:
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        for fault in self._api.faults:
            if fault.write_body(self._api, self._connection, response.body):
                self.close_connection = True
                return
        self.wfile.write(response.body)


@dataclass(frozen=True, slots=True)
class SlowBody(HttpFault):
    """The body comes one byte every `seconds`."""

    seconds: float = 1.0

    def write_body(self, api: HttpApi, connection: Connection, body: bytes) -> bool:
        """Drip the body."""
        for byte in body:
            connection.write(bytes([byte]))
            api.pause(self.seconds)
            if api.stopping.is_set():
                break
        return True


@dataclass(frozen=True, slots=True)
class NoAnswer(HttpFault):
    """Headers come, the body never does."""

    def write_body(self, api: HttpApi, connection: Connection, body: bytes) -> bool:
        """Wait for the client to leave."""
        while connection.read():
            pass
        return True


@dataclass(frozen=True, slots=True)
class HugeBody(HttpFault):
    """Every body is `size` bytes; with `declared` False no Content-Length warns of it."""

    size: int = 1 << 30
    declared: bool = True

    def respond(self, request: Request, response: Response) -> Response:
        """Promise the size, or nothing but the end of the connection."""
        length = ("Content-Length", str(self.size)) if self.declared else ("Connection", "close")
        return Response(response.status, b"", (*response.headers, length))

    def write_body(self, api: HttpApi, connection: Connection, body: bytes) -> bool:
        """Send that many bytes."""
        sent = 0
        while sent < self.size and not api.stopping.is_set():
            block = b"x" * min(65536, self.size - sent)
            connection.write(block)
            sent += len(block)
        return True


@dataclass(frozen=True, slots=True)
class Redirect(HttpFault):
    """Every request is redirected to `location`; a path of the server itself makes a loop."""

    location: str = CA_DOWNLOAD
    status: int = 302

    def respond(self, request: Request, response: Response) -> Response:
        """Point elsewhere."""
        return Response(self.status, b"", (("Location", self.location),))


@dataclass(frozen=True, slots=True)
class Answer(HttpFault):
    """Requests whose path starts with `path` get this response: an HTML page, a proxy's 502."""

    response: Response
    path: str = "/"

    def respond(self, request: Request, response: Response) -> Response:
        """Answer with it."""
        return self.response if request.path.startswith(self.path) else response


def html_page(title: str = "ThingsBoard") -> Response:
    """The 200 that a single-page application gives for every path it does not know."""
    page = _INDEX.replace(b"ThingsBoard", title.encode())
    return Response(200, page, (("Content-Type", "text/html"),))
