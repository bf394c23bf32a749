"""http.token against the sandbox's HTTP API, and against what is no ThingsBoard."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tbdiag import Options, Secret, Target
from tbdiag.checks import http
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import CaEvidence, CaSource, HttpTokenEvidence
from tbdiag.model import Credentials
from tbdiag.protocol.x509 import parse_certificate
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.faults import Closing, Refusing, Silent
from tbdiag.sandbox.http import (
    Answer,
    HttpApi,
    HttpFault,
    HugeBody,
    NoAnswer,
    Redirect,
    Response,
    SlowBody,
    html_page,
)
from tbdiag.sandbox.profile import DEFAULT_TOKEN

CANARY = "CanaryToken/with?odd#parts"


def anchors(authority: Authority) -> CaEvidence:
    from cryptography.hazmat.primitives.serialization import Encoding

    found = parse_certificate(authority.certificate.public_bytes(Encoding.DER))
    return CaEvidence((CaSource("ca.pem", "file", "ca.pem", certificates=(found,)),))


def ask(
    url: str, token: str = DEFAULT_TOKEN, ca: CaEvidence | None = None, seconds: float = 5
) -> HttpTokenEvidence:
    target = Target("localhost", http_url=url, credentials=Credentials(token=Secret(token)))
    run = Run(target, Options(), datetime.now(UTC), Deadline.after(seconds))
    if ca:
        run._evidence[CaEvidence] = ca
    seen = http.token(run)
    assert token not in repr(seen)
    return seen.evidence


@pytest.fixture
def api() -> Iterator[HttpApi]:
    with HttpApi() as api:
        yield api


def test_a_known_token(api: HttpApi) -> None:
    """HTTP 200 with JSON: the token is known, and the URL in the evidence carries none."""
    seen = ask(api.url + "/")
    assert (seen.status, seen.error, seen.base_url) == (200, None, api.url)


def test_an_unknown_token_is_quoted_into_one_segment(api: HttpApi) -> None:
    """A token with odd characters stays one path segment and is answered with 401."""
    assert ask(api.url, CANARY).status == 401
    assert api.requests[0].path == "/api/v1/CanaryToken%2Fwith%3Fodd%23parts/attributes"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Answer(html_page()), "not-thingsboard"),
        (Answer(Response(404, b"<html>", (("Content-Type", "text/html"),))), "not-thingsboard"),
        (Answer(Response(401, b"<html>", (("Content-Type", "text/html"),))), "not-thingsboard"),
        (Answer(Response(200, b"[]")), "not-thingsboard"),
        (Answer(Response(503)), "unreachable"),
        (Answer(Response(500, b"rate limit")), "unreachable"),
        (Answer(Response(403, b"Device was deleted!")), None),
    ],
)
def test_answers_are_told_apart(fault: HttpFault, error: str | None) -> None:
    """A web page or 404 is not ThingsBoard; 5xx says nothing about the token."""
    with HttpApi(faults=[fault]) as api:
        assert ask(api.url).error == error


def test_a_redirect_is_reported_and_not_followed() -> None:
    """The token is in the URL, so it goes nowhere else; the report names the host only."""
    with HttpApi() as other:
        with HttpApi(faults=[Redirect(f"{other.url}/{DEFAULT_TOKEN}")]) as api:
            seen = ask(api.url)
        assert other.requests == []
    assert (seen.status // 100 if seen.status else 0, seen.error) == (3, "not-thingsboard")
    assert "http://localhost" in seen.detail


def test_https_is_verified_by_the_ca_file() -> None:
    """A private server is trusted through the given CA file, and the evidence says so."""
    root = Authority.root()
    with HttpApi(tls=Tls(root.issue_server())) as api:
        seen = ask(api.url, ca=anchors(root))
    assert (seen.status, seen.verified_by) == (200, "CA file")


def test_an_unverified_server_never_sees_the_token() -> None:
    """Neither CA file nor public roots trust it: no request is sent at all."""
    root = Authority.root()
    with HttpApi(tls=Tls(root.issue_server())) as api:
        seen = ask(api.url, ca=anchors(Authority.root("stranger")))
        assert api.requests == []
        assert DEFAULT_TOKEN.encode() not in api.received_bytes()
    assert (seen.error, seen.verified_by) == ("tls", "public roots")
    assert "certificate verify failed" in seen.detail


def test_a_wrong_name_is_not_verified() -> None:
    """The right CA and another name: the token is not sent."""
    root = Authority.root()
    with HttpApi(tls=Tls(root.issue_server("other.example"))) as api:
        assert ask(api.url, ca=anchors(root)).error == "tls"
        assert api.requests == []


@pytest.mark.parametrize("fault", [SlowBody(0.2), NoAnswer()])
def test_slow_servers_end_with_the_deadline(fault: HttpFault) -> None:
    """A body that drips, or none: the stage ends when its time is up."""
    with HttpApi(faults=[Answer(Response(200, b" " * 100)), fault]) as api:
        started = time.monotonic()
        ask(api.url, seconds=0.6)
        assert time.monotonic() - started < 1.2


def test_a_huge_body_is_cut() -> None:
    """An endless answer is read up to its limit."""
    with HttpApi(faults=[HugeBody()]) as api:
        started = time.monotonic()
        ask(api.url, seconds=5)
        assert time.monotonic() - started < 4


@pytest.mark.parametrize("server", [Closing, Silent])
def test_what_is_no_http_server_is_unreachable(server: type[Closing]) -> None:
    """A server that closes or stays silent gives `unreachable` or `timeout`."""
    with server() as raw:
        assert ask(f"http://localhost:{raw.port}", seconds=0.5).error in ("unreachable", "timeout")


def test_a_refused_connection_is_unreachable() -> None:
    """Nothing listens: a warning's fact, not an exception."""
    with Refusing() as port:
        assert ask(f"http://localhost:{port.port}").error == "unreachable"


def test_a_url_without_scheme_is_not_asked() -> None:
    """Without http:// or https:// nothing is sent, least of all in clear."""
    assert ask("thingsboard.example").error == "unreachable"


def test_the_token_is_in_no_log(api: HttpApi, caplog: pytest.LogCaptureFixture) -> None:
    """httpx logs every URL at INFO; this one is left out."""
    with caplog.at_level(logging.DEBUG):
        ask(api.url)
    assert DEFAULT_TOKEN not in caplog.text


def test_it_applies_with_a_token_and_an_address_only() -> None:
    """Without token or HTTP address the stage says in a sentence what is missing."""
    options = Options()
    token = Credentials(token=Secret("x"))
    assert "token" in (http.with_http_base(Target("h", http_url="https://h"), options) or "")
    assert "--http-url" in (http.with_http_base(Target("h", credentials=token), options) or "")
    given = Target("h", http_url="https://h", credentials=token)
    assert http.with_http_base(given, options) is None
