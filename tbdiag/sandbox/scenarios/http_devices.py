"""Devices that speak HTTP: the token is part of the URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tbdiag.model import Transport
from tbdiag.registry import scenario
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.faults import Banner, Silent
from tbdiag.sandbox.http import Answer, HttpApi, HttpFault, Redirect, Response, html_page
from tbdiag.sandbox.stand import Room, Stand, token_credentials

API = "/api/v1/"
ALL_OK = dict.fromkeys(
    ("tls.handshake", "tls.verify", "http.connect", "http.telemetry", "http.attributes"), "ok"
)
NO_TLS = dict.fromkeys(("ca.load", "tls.handshake", "tls.verify"), "not-applicable")
UNVERIFIED = {"tls.verify": "failed", "http.connect": "blocked", "http.telemetry": "blocked"}
NOT_ASKED = {"http.connect": "failed", "http.telemetry": "blocked", "http.attributes": "blocked"}
SHORT = {"timeout": 2.0}
CLEAR = ("http.token-in-clear",)


@contextmanager
def _https(
    room: Room, cafile: bytes | None = None, issued: Any = None, **options: Any
) -> Iterator[Stand]:
    api = HttpApi(tls=Tls(issued or room.issue()), port=room.port)
    with room.serve(api, cafile, options, transport=Transport.HTTPS) as stand:
        yield stand


@contextmanager
def _http(
    room: Room, *faults: HttpFault, options: dict[str, Any] | None = None, **changes: Any
) -> Iterator[Stand]:
    api = HttpApi(faults=faults, port=room.port)
    with room.serve(api, options=options, transport=Transport.HTTP, **changes) as stand:
        yield stand


class _OnlyDevices(HttpFault):
    """The made-up token is refused as always; what a real token asks for gets this response."""

    def __init__(self, response: Response) -> None:
        self.response = response

    def respond(self, request: Any, response: Response) -> Response:
        """Answer with it."""
        return response if response.status == 401 else self.response


@scenario("https-healthy", status=ALL_OK)
@contextmanager
def https_healthy(room: Room) -> Iterator[Stand]:
    """An HTTPS device, a private CA, and ThingsBoard's device API."""
    with _https(room) as stand:
        yield stand


@scenario("https-wrong-ca", primary="x509.wrong-ca-file", status=UNVERIFIED)
@contextmanager
def https_wrong_ca(room: Room) -> Iterator[Stand]:
    """The CA file of an HTTPS device belongs to another CA: the token stays here."""
    other = Authority.root("Some Other Root", now=room.now)
    with _https(room, other.pem()) as stand:
        yield stand


@scenario("https-wrong-name", primary="x509.name-mismatch", status=UNVERIFIED)
@contextmanager
def https_wrong_name(room: Room) -> Iterator[Stand]:
    """The certificate of the HTTPS server is for another host."""
    with _https(room, issued=room.issue(names=("things.example.org",))) as stand:
        yield stand


@scenario(
    "https-insecure",
    primary="x509.wrong-ca-file",
    rules=("tls.verification-disabled",),
    status={"tls.verify": "failed", "http.telemetry": "ok", "http.attributes": "ok"},
)
@contextmanager
def https_insecure(room: Room) -> Iterator[Stand]:
    """Another CA's file, and --insecure: the device API works, the report stays red."""
    other = Authority.root("Some Other Root", now=room.now)
    with _https(room, other.pem(), insecure=True) as stand:
        yield stand


@scenario("https-on-plain-port", primary="tls.not-tls", status={"tls.handshake": "failed"})
@contextmanager
def https_on_plain_port(room: Room) -> Iterator[Stand]:
    """The HTTPS device meets a port that speaks plain HTTP."""
    with room.serve(HttpApi(port=room.port), transport=Transport.HTTPS) as stand:
        yield stand


@scenario("http-healthy", rules=CLEAR, status={**NO_TLS, "http.telemetry": "ok"})
@contextmanager
def http_healthy(room: Room) -> Iterator[Stand]:
    """Plain HTTP on a port the user chose: works, and the token travels in clear."""
    with _http(room) as stand:
        yield stand


@scenario("http-no-publish", status={"http.telemetry": "not-applicable", "http.attributes": "ok"})
@contextmanager
def http_no_publish(room: Room) -> Iterator[Stand]:
    """--no-publish: nothing is written, the attributes prove the token."""
    with _http(room, options={"publish": False}) as stand:
        yield stand


@scenario("http-on-tls-port", primary="http.tls-port", status=NOT_ASKED)
@contextmanager
def http_on_tls_port(room: Room) -> Iterator[Stand]:
    """The plain HTTP device meets a TLS port."""
    api = HttpApi(tls=Tls(room.issue()), port=room.port)
    with room.serve(api, transport=Transport.HTTP) as stand:
        yield stand


@scenario(
    "http-unknown-token",
    primary="http.unauthorized",
    status={"http.connect": "ok", "http.telemetry": "failed", "http.attributes": "blocked"},
)
@contextmanager
def http_unknown_token(room: Room) -> Iterator[Stand]:
    """No device of this installation has the token: 401."""
    with _http(room, credentials=token_credentials("AnotherDevicesToken1")) as stand:
        yield stand


@scenario("http-placeholder-token", primary="token.malformed", rules=("http.unauthorized",))
@contextmanager
def http_placeholder_token(room: Room) -> Iterator[Stand]:
    """The token is still the placeholder of an example."""
    with _http(room, credentials=token_credentials("YOUR_ACCESS_TOKEN")) as stand:
        yield stand


@scenario("http-device-deleted", primary="http.unauthorized")
@contextmanager
def http_device_deleted(room: Room) -> Iterator[Stand]:
    """The device was deleted: 403, in ThingsBoard's own words."""
    with _http(room, _OnlyDevices(Response(403, b"Device was deleted!"))) as stand:
        yield stand


@scenario("http-bad-json", primary="http.payload-rejected", status={"http.attributes": "ok"})
@contextmanager
def http_bad_json(room: Room) -> Iterator[Stand]:
    """The payload is not JSON: 500 with the parser's words; the token is proven all the same."""
    with _http(room, options={"payload": b"hello world"}) as stand:
        yield stand


@scenario("http-rate-limited", primary="http.refused", status={"http.telemetry": "failed"})
@contextmanager
def http_rate_limited(room: Room) -> Iterator[Stand]:
    """A limit of the tenant is exceeded: 500, with its words."""
    with _http(room, _OnlyDevices(Response(500, b"Rate limits exceeded!"))) as stand:
        yield stand


@scenario("http-core-timeout", primary="http.no-response", status={"http.telemetry": "failed"})
@contextmanager
def http_core_timeout(room: Room) -> Iterator[Stand]:
    """ThingsBoard's core does not answer its HTTP transport: 408."""
    with _http(room, _OnlyDevices(Response(408))) as stand:
        yield stand


@scenario("http-too-large", primary="http.too-large", status={"http.telemetry": "failed"})
@contextmanager
def http_too_large(room: Room) -> Iterator[Stand]:
    """A proxy does not take a message of this size: 413."""
    with _http(room, _OnlyDevices(Response(413))) as stand:
        yield stand


@scenario("http-redirected", primary="http.redirected", status=NOT_ASKED)
@contextmanager
def http_redirected(room: Room) -> Iterator[Stand]:
    """A proxy redirects http:// to https://, which loses a device's POST."""
    with _http(room, Redirect("https://things.example.org/", 301)) as stand:
        yield stand


@scenario("http-web-page", primary="http.not-thingsboard", status=NOT_ASKED)
@contextmanager
def http_web_page(room: Room) -> Iterator[Stand]:
    """Another web site answers every path with a page: the token is not sent to it."""
    with _http(room, Answer(html_page("Welcome"), API)) as stand:
        yield stand


@scenario("http-bad-gateway", primary="http.unavailable", status=NOT_ASKED)
@contextmanager
def http_bad_gateway(room: Room) -> Iterator[Stand]:
    """The proxy has no ThingsBoard behind it: 502 with a page."""
    page = Response(502, b"<html>502 Bad Gateway</html>", (("Content-Type", "text/html"),))
    with _http(room, Answer(page)) as stand:
        yield stand


@scenario("http-ssh-on-the-port", primary="http.not-thingsboard", status=NOT_ASKED)
@contextmanager
def http_ssh_on_the_port(room: Room) -> Iterator[Stand]:
    """An SSH server answers on the port of the plain HTTP device."""
    with room.serve(Banner(), options=dict(SHORT), transport=Transport.HTTP) as stand:
        yield stand


@scenario("http-mute", primary="http.unreachable", status=NOT_ASKED)
@contextmanager
def http_mute(room: Room) -> Iterator[Stand]:
    """The port accepts connections, and no HTTP server answers."""
    with room.serve(Silent(), options=dict(SHORT), transport=Transport.HTTP) as stand:
        yield stand
