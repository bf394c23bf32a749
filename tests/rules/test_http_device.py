"""http.*: which rule, and which words, for what an HTTP device meets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tbdiag import registry
from tbdiag.context import Case
from tbdiag.evidence import CaEvidence, CaSource
from tbdiag.evidence.devices import (
    HttpAttributesEvidence,
    HttpConnectEvidence,
    HttpTelemetryEvidence,
)
from tbdiag.judgement import all_findings
from tbdiag.model import Credentials, Finding, Options, Secret, Severity, Target, Transport
from tbdiag.pipeline import primary_of

registry.load("rules")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
TOKEN = "CanaryToken7f3a0001"
BASE = "https://things.example"
URL = f"{BASE}/api/v1/***/telemetry"


def target(transport: Transport = Transport.HTTPS, token: str = TOKEN) -> Target:
    return Target("things.example", None, transport, credentials=Credentials(token=Secret(token)))


def judged(*evidence: Any, device: Target | None = None) -> list[Finding]:
    """The findings of every rule, in no particular order."""
    device = device or target()
    case = Case(device, Options(), NOW, {Target: device, **{type(e): e for e in evidence}})
    return list(all_findings(case))


def posted(status: int | None, body: str = "", **fields: Any) -> HttpTelemetryEvidence:
    outcome = "answered" if status else "timeout"
    return HttpTelemetryEvidence("POST", URL, outcome, status, body=body, size=18, **fields)


@pytest.mark.parametrize(
    ("status", "body", "json_error", "rule", "words"),
    [
        (401, "", None, "http.unauthorized", "No device of this installation has this access"),
        (403, "Device was deleted!", None, "http.unauthorized", "The device was deleted."),
        (500, "Expected BEGIN_OBJECT", "Expecting value", "http.payload-rejected", "not JSON"),
        (400, "", "Expecting value", "http.payload-rejected", "not JSON"),
        (500, "Rate limits exceeded!", None, "http.refused", "rate limit"),
        (429, "", None, "http.refused", "rate limit"),
        (404, "", None, "http.refused", "none of the device API's own answers"),
        (408, "", None, "http.no-response", "the core behind it does not"),
        (504, "", None, "http.no-response", "the core behind it does not"),
        (413, "", None, "http.too-large", "larger than"),
        (None, "", None, "http.no-response", "the core behind it does not"),
    ],
)
def test_every_status_has_one_rule_and_its_words(
    status: int | None, body: str, json_error: str | None, rule: str, words: str
) -> None:
    """One finding for one answer: its rule, its cause, and ThingsBoard's own words."""
    (finding,) = judged(posted(status, body, json_error=json_error))
    assert (finding.rule, finding.stage) == (rule, "http.telemetry")
    assert words in finding.cause
    assert body in finding.message
    assert finding.severity is Severity.ERROR
    assert TOKEN not in finding.message + finding.cause + finding.fix


def test_an_accepted_request_has_no_finding() -> None:
    """200 is what ThingsBoard answers, and nothing is wrong with it."""
    assert judged(posted(200)) == []


def test_refused_attributes_are_found_in_their_own_stage() -> None:
    """Without a test publish the attributes are what shows the unknown token."""
    (finding,) = judged(HttpAttributesEvidence("GET", URL, "answered", 401))
    assert (finding.rule, finding.stage) == ("http.unauthorized", "http.attributes")


@pytest.mark.parametrize(
    ("outcome", "rule"),
    [
        ("redirect", "http.redirected"),
        ("not-thingsboard", "http.not-thingsboard"),
        ("not-http", "http.not-thingsboard"),
        ("unavailable", "http.unavailable"),
        ("tls-port", "http.tls-port"),
        ("tls", "http.unreachable"),
        ("unreachable", "http.unreachable"),
        ("timeout", "http.unreachable"),
    ],
)
def test_every_outcome_of_http_connect_has_one_rule(outcome: str, rule: str) -> None:
    """What is no ThingsBoard is one finding, an error, in the stage that saw it."""
    (finding,) = judged(HttpConnectEvidence(BASE, outcome, 502, detail="as seen"))
    assert (finding.rule, finding.stage) == (rule, "http.connect")
    assert finding.severity is Severity.ERROR
    assert "" not in (finding.message, finding.cause, finding.fix)


def test_a_redirect_to_https_names_the_address_to_use() -> None:
    """The fix is the address that the server itself points to."""
    seen = HttpConnectEvidence("http://things.example", "redirect", 301, location=BASE)
    (finding,) = judged(seen, device=target(Transport.HTTP))
    assert finding.fix.endswith(f"tbdiag check {BASE}")
    assert "https://" in finding.cause


def test_a_placeholder_is_the_cause_of_the_refusal() -> None:
    """401 for a token that is a placeholder: the placeholder is what is wrong."""
    found = judged(posted(401), device=target(token="YOUR_ACCESS_TOKEN"))
    assert {f.rule for f in found} == {"http.unauthorized", "token.malformed"}
    assert primary_of(found) == "token.malformed"
    assert {f.stage for f in found} == {"http.telemetry"}


def test_an_odd_token_that_works_is_not_malformed() -> None:
    """What the server takes is a token, however it looks."""
    assert judged(posted(200), device=target(token="YOUR_ACCESS_TOKEN")) == []


@pytest.mark.parametrize(
    ("source", "trust"),
    [
        (CaSource("ca.pem", "file", "my ca.pem"), "--cacert 'my ca.pem'"),
        (CaSource("auto", "download", "https://x/ca"), "--cacert ca-root.pem"),
        (CaSource("public", "public", "public roots"), "--cacert /etc/ssl/certs/"),
    ],
)
def test_the_fix_is_the_documentations_command(source: CaSource, trust: str) -> None:
    """curl with the CA file of this run, and the token left to the shell."""
    (finding,) = judged(posted(401), CaEvidence((source,)))
    assert f"curl -v -X POST {trust}" in finding.fix
    assert f"{BASE}/api/v1/$TBDIAG_TOKEN/telemetry" in finding.fix


def test_in_clear_is_said_where_the_token_was_sent() -> None:
    """http:// earns an information once the token has travelled, and https:// none."""
    connect = HttpConnectEvidence("http://things.example", "thingsboard", 401)
    plain = target(Transport.HTTP)
    assert [f.rule for f in judged(connect, posted(200), device=plain)] == ["http.token-in-clear"]
    assert judged(connect, device=plain) == []
    assert judged(connect, posted(200)) == []
