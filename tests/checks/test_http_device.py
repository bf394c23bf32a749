"""http.connect, http.telemetry and http.attributes: what an HTTP device meets, and who is told."""

from __future__ import annotations

import importlib.util
import logging
import socket
import time
from typing import Any

import pytest

from tbdiag import Options, Report, Target, check
from tbdiag.evidence.devices import HttpConnectEvidence
from tbdiag.model import Credentials, Secret, Transport
from tbdiag.report import render
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.connection import Connection, Tls
from tbdiag.sandbox.faults import Closing, Dripping, Resetting
from tbdiag.sandbox.http import (
    CA_DOWNLOAD,
    Answer,
    HttpApi,
    HttpFault,
    HugeBody,
    NoAnswer,
    Redirect,
    Response,
    SlowBody,
)
from tbdiag.sandbox.profile import DEFAULT_TOKEN, Device, Platform
from tbdiag.sandbox.proxy import HttpProxy, SocksProxy
from tbdiag.sandbox.server import Server, listen

CANARY = "Canary Token/with?odd#parts%41"
MADE_UP = "/api/v1/tbdiag-asks-without-a-token/attributes"


class Devices(HttpFault):
    """Another fault, but only for requests with a token that exists."""

    def __init__(self, fault: HttpFault) -> None:
        self.fault = fault

    def respond(self, request: Any, response: Response) -> Response:
        self.applies = response.status != 401
        return self.fault.respond(request, response) if self.applies else response

    def write_body(self, api: HttpApi, connection: Connection, body: bytes) -> bool:
        return self.applies and self.fault.write_body(api, connection, body)


class Noting(Server):
    """Remembers nothing but bytes, and answers them with one fixed text."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.text = text

    def serve(self, connection: Connection) -> None:
        connection.read()
        connection.write(self.text)


def diagnosed(
    server: Server,
    transport: Transport = Transport.HTTP,
    ca: str = "public",
    *,
    token: str = DEFAULT_TOKEN,
    host: str = "127.0.0.1",
    server_name: str | None = None,
    **options: Any,
) -> Report:
    """The report on a running server."""
    target = Target(
        host,
        server.port,
        transport,
        server_name,
        cafile=(ca,),
        credentials=Credentials(token=Secret(token)),
    )
    return check(target, Options(**{"timeout": 10.0, "compare_web": False, **options}))


def connected(report: Report) -> HttpConnectEvidence:
    evidence = report.stage("http.connect").evidence
    assert isinstance(evidence, HttpConnectEvidence)
    return evidence


@pytest.fixture
def ca(root: Authority, tmp_path: Any) -> str:
    path = tmp_path / "ca.pem"
    path.write_bytes(root.pem())
    return str(path)


def test_telemetry_is_stored_and_attributes_are_read() -> None:
    """One POST and one GET with the token, after one GET without it."""
    with HttpApi() as api:
        report = diagnosed(api)
        assert [(r.method, r.path.split("/")[-1]) for r in api.requests] == [
            ("GET", "attributes"),
            ("POST", "telemetry"),
            ("GET", "attributes"),
        ]
        assert api.requests[0].path == MADE_UP
        assert api.platform.telemetry == [("sandbox device", {"temperature": 25})]
    assert report.verdict == "ok"


def test_the_payload_is_sent_as_it_is() -> None:
    """--message goes into the body, byte for byte."""
    with HttpApi() as api:
        diagnosed(api, payload=b'{"a": [1, 2]}')
        assert api.requests[1].body == b'{"a": [1, 2]}'


def test_any_token_is_one_segment_of_the_path() -> None:
    """A token with slashes, spaces and question marks is percent-encoded."""
    platform = Platform([Device(token=CANARY)])
    with HttpApi(platform) as api:
        report = diagnosed(api, token=CANARY)
        paths = [request.path for request in api.requests]
    assert paths[1] == "/api/v1/Canary%20Token%2Fwith%3Fodd%23parts%2541/telemetry"
    assert report.stage("http.telemetry").status == "failed"  # the sandbox does not decode


def test_no_connect_sends_nothing_at_all() -> None:
    """--no-connect: not even the question without a token."""
    with HttpApi() as api:
        report = diagnosed(api, connect=False)
        assert api.requests == []
    assert report.stage("http.connect").reason == "left out by --no-connect"


def test_no_publish_reads_only() -> None:
    """--no-publish: the attributes prove the token, nothing is written."""
    with HttpApi() as api:
        report = diagnosed(api, publish=False)
        assert {request.method for request in api.requests} == {"GET"}
    assert report.stage("http.attributes").status == "ok"


def test_without_a_token_the_server_is_looked_at_all_the_same() -> None:
    """Whether ThingsBoard answers there needs no token."""
    with HttpApi() as api:
        target = Target("127.0.0.1", api.port, Transport.HTTP)
        report = check(target, Options(timeout=5))
    assert report.stage("http.connect").status == "ok"
    assert "no token given" in (report.stage("http.telemetry").reason or "")


def test_mqtt_basic_is_nothing_for_http() -> None:
    """A user name and password have no place in the HTTP device API."""
    with HttpApi() as api:
        credentials = Credentials(username="user", password=Secret("secret"))
        target = Target("127.0.0.1", api.port, Transport.HTTP, credentials=credentials)
        report = check(target, Options(timeout=5))
    assert "by access token only" in (report.stage("http.telemetry").reason or "")


def test_the_token_is_in_no_output_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Not in the table, the JSON report, or what httpx logs of its URLs."""
    caplog.set_level(logging.DEBUG)
    with HttpApi(Platform([Device(token="CanaryToken7f3a0001")])) as api:
        report = diagnosed(api, token="CanaryToken7f3a0001")
    shown = render(report, "table") + render(report, "json") + caplog.text
    assert "CanaryToken7f3a0001" not in shown
    assert "/api/v1/***/telemetry" in render(report, "json")


def test_a_body_that_echoes_the_token_is_redacted() -> None:
    """A server that repeats the URL in its error does not put the token into the report."""
    echo = Response(500, f"no handler for /api/v1/{DEFAULT_TOKEN}/telemetry".encode())
    with HttpApi(faults=[Devices(Answer(echo))]) as api:
        report = diagnosed(api)
    assert report.primary == "http.refused"
    assert DEFAULT_TOKEN not in render(report, "json") + render(report, "table")


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Answer(Response(404, b"{}", (("Content-Type", "application/json"),))), "not-thingsboard"),
        (Answer(Response(200, b"{}", (("Content-Type", "application/json"),))), "not-thingsboard"),
        (Answer(Response(401, b"<html>", (("Content-Type", "text/html"),))), "not-thingsboard"),
        (Answer(Response(400, b"The plain HTTP request was sent to HTTPS port")), "tls-port"),
        (Answer(Response(429)), "unavailable"),
        (Answer(Response(503, b"<html>")), "unavailable"),
        (Redirect("https://other.example.org/login?next=/api/v1/x"), "redirect"),
        (Redirect(CA_DOWNLOAD), "redirect"),
    ],
)
def test_the_token_is_sent_to_thingsboard_only(fault: HttpFault, outcome: str) -> None:
    """Whatever else answers the question without a token never sees the token."""
    with HttpApi(faults=[fault]) as api:
        report = diagnosed(api)
        assert DEFAULT_TOKEN.encode() not in api.received_bytes()
    assert connected(report).outcome == outcome
    assert report.stage("http.telemetry").status == "blocked"
    assert "tbdiag.unexplained" not in {f.rule for f in report.findings}


def test_a_redirect_shows_no_path() -> None:
    """Where a redirect points is shown without the path, which may repeat a token."""
    with HttpApi(faults=[Redirect("https://other.example.org:8443/api/v1/TOKEN")]) as api:
        assert connected(diagnosed(api)).location == "https://other.example.org:8443"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", "tls-port"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not-http"),
        (b"\x20\x02\x00\x05", "not-http"),
        (b"HTTP/1.1 2x0 what\r\n\r\n", "not-http"),
    ],
)
def test_what_is_no_http_is_named_by_its_first_bytes(text: bytes, outcome: str) -> None:
    """A TLS alert, another protocol's greeting and broken HTTP are told apart."""
    with Noting(text) as server:
        report = diagnosed(server)
    assert connected(report).outcome == outcome
    assert "tbdiag.unexplained" not in {f.rule for f in report.findings}


@pytest.mark.parametrize("server", [Closing(after_first_bytes=True), Resetting()])
def test_a_server_that_hangs_up_is_unreachable(server: Server) -> None:
    """Closing and resetting are the same fault."""
    with server:
        assert diagnosed(server).primary == "http.unreachable"


@pytest.mark.parametrize(
    "fault", [SlowBody(0.5), NoAnswer(), HugeBody(1 << 30), HugeBody(1 << 30, declared=False)]
)
def test_a_hostile_body_ends_within_the_deadline(fault: HttpFault) -> None:
    """A body that drips, never comes, or never ends holds nobody up."""
    started = time.monotonic()
    with HttpApi(faults=[Devices(fault)]) as api:
        diagnosed(api, timeout=2.0)
    assert time.monotonic() - started < 4.0


def test_dripping_headers_end_within_the_deadline() -> None:
    """One byte of a header at a time trips no time-out of httpx, but ours."""
    started = time.monotonic()
    with Dripping(b"HTTP/1.1 200 OK\r\nX-Y: ", 0.2) as server:
        assert diagnosed(server, timeout=2.0).primary == "http.unreachable"
    assert time.monotonic() - started < 3.0


@pytest.mark.parametrize("status", [200, 201, 204, 301, 400, 403, 404, 408, 413, 429, 500, 504])
def test_every_status_has_an_explanation(status: int) -> None:
    """No answer to a request with a token stays without a rule."""
    with HttpApi(faults=[Devices(Answer(Response(status)))]) as api:
        report = diagnosed(api)
    assert "tbdiag.unexplained" not in {f.rule for f in report.findings}
    assert (report.verdict == "ok") is (status == 200)


def test_https_trusts_the_loaded_anchors_alone(root: Authority, tmp_path: Any) -> None:
    """Neither the public roots nor another CA's file make the server trusted."""
    other = tmp_path / "other.pem"
    other.write_bytes(Authority.root("Other").pem())
    with HttpApi(tls=Tls(root.issue_server())) as api:
        for ca in ("public", str(other)):
            report = diagnosed(api, Transport.HTTPS, ca, host="localhost")
            assert report.stage("tls.verify").status == "failed"
            assert report.stage("http.connect").blocked_by == "tls.verify"
        assert api.requests == []


def test_https_with_the_right_ca_and_a_wrong_name_is_refused(root: Authority, ca: str) -> None:
    """Giving the CA file does not drop the check of the name."""
    with HttpApi(tls=Tls(root.issue_server("elsewhere.example.org"))) as api:
        report = diagnosed(api, Transport.HTTPS, ca, host="localhost")
        assert api.requests == []
    assert report.primary == "x509.name-mismatch"


def test_server_name_is_the_name_that_is_verified(root: Authority, ca: str) -> None:
    """--server-name: the certificate of another name is accepted, at the address given."""
    with HttpApi(tls=Tls(root.issue_server("elsewhere.example.org"))) as api:
        report = diagnosed(
            api, Transport.HTTPS, ca, host="127.0.0.1", server_name="elsewhere.example.org"
        )
        names = {connection.server_name for connection in api.connections}
    assert report.stage("http.telemetry").status == "ok", render(report, "table")
    assert names == {"elsewhere.example.org"}


def test_https_to_an_ipv6_literal(root: Authority, ca: str) -> None:
    """An IPv6 address is bracketed in URL and Host header."""
    try:
        listen(socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with HttpApi(tls=Tls(root.issue_server("::1", "127.0.0.1")), ipv6=True) as api:
        report = diagnosed(api, Transport.HTTPS, ca, host="::1")
    assert report.verdict == "ok", render(report, "table")
    assert f"https://[::1]:{api.port}" in render(report, "json")


@pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
def test_everything_goes_through_the_proxy(kind: Any, root: Authority, ca: str) -> None:
    """--proxy: the token goes through a tunnel, or stays here with a word on what is missing."""
    with HttpApi(tls=Tls(root.issue_server())) as api, kind() as proxy:
        report = diagnosed(
            api,
            Transport.HTTPS,
            ca,
            host="localhost",
            proxy=f"{kind.scheme}://localhost:{proxy.port}",
        )
        assert DEFAULT_TOKEN.encode() not in proxy.received_bytes()
        asked = len(proxy.requests)
    if kind is SocksProxy and importlib.util.find_spec("socksio") is None:
        assert "needs socksio" in report.findings[0].message
        return
    assert report.verdict == "ok", render(report, "table")
    assert asked >= 4
