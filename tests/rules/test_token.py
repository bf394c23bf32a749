"""The token.* and http.* rules on evidence written by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tbdiag import Options, Secret, Severity, Target
from tbdiag.context import Case
from tbdiag.evidence import ConnackAttempt, HttpTokenEvidence, MqttConnectEvidence
from tbdiag.model import Credentials, Finding
from tbdiag.registry import RULES, load
from tbdiag.rules.token import malformation

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JWT = "eyJhbGciOiJIUzUxMiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
load("rules")


def judged(rule_id: str, *evidence: object, **credentials: Any) -> list[Finding]:
    given = {"token": Secret("A1B2C3D4E5F6G7H8I9J0"), **credentials}
    target = Target("tb.example", credentials=Credentials(**given))
    found: dict[type[Any], Any] = {Target: target, **{type(e): e for e in evidence}}
    return list(RULES[rule_id].findings(Case(target, Options(), NOW, found)))


def connected(accepted: bool) -> MqttConnectEvidence:
    attempt = ConnackAttempt("5", "accepted" if accepted else "refused", 0 if accepted else 0x86)
    return MqttConnectEvidence((attempt,), accepted, "5" if accepted else None)


@pytest.mark.parametrize(
    ("token", "word"),
    [
        ("YOUR_ACCESS_TOKEN", "placeholder"),
        ("$ACCESS_TOKEN", "placeholder"),
        ("${TOKEN}", "placeholder"),
        ("<token>", "placeholder"),
        ("{deviceToken}", "placeholder"),
        ("%TOKEN%", "placeholder"),
        ("ACCESS_TOKEN", "placeholder"),
        ("token", "placeholder"),
        ("xxxxxxxx", "placeholder"),
        ("put your token here", "placeholder"),
        ("A1B2C3 D4E5F6", "white space inside"),
        ("A1B2C3D4E5F6\n", "white space at its end"),
        (" A1B2C3D4E5F6", "white space at its end"),
        ('"A1B2C3D4E5F6"', "quotation mark"),
        ("A1B2C3D4E5F6'", "quotation mark"),
        ("\u201cA1B2C3D4E5F6\u201d", "quotation mark"),
        (JWT, "JWT"),
        (f"Bearer {JWT}", "JWT"),
        ("A1B2\x00C3D4", "characters"),
        ("A1B2\u2026C3", "characters"),
    ],
)
def test_what_cannot_be_a_token(token: str, word: str) -> None:
    """Each slip is named, and the text of the token is not part of the sentence."""
    wrong = malformation(token)
    assert wrong
    assert word in wrong[0]
    findings = judged("token.malformed", token=Secret(token))
    assert [f.severity for f in findings] == [Severity.ERROR]
    if len(token.strip()) > 8 and "placeholder" not in word:
        assert token.strip() not in f"{findings[0].message}{findings[0].cause}{findings[0].fix}"


@pytest.mark.parametrize(
    "token",
    [
        "A1B2C3D4E5F6G7H8I9J0",
        "my-sensor-01",
        "your_pump_7",
        "token-ring-sensor-4",
        "Tokyo",
        "eyJoe",
    ],
)
def test_what_may_be_a_token(token: str) -> None:
    """Tokens that people choose themselves are left alone."""
    assert malformation(token) is None


def test_a_token_that_worked_is_not_malformed() -> None:
    """Whatever it looks like: the server accepted it."""
    token = Secret("YOUR_ACCESS_TOKEN")
    assert judged("token.malformed", connected(accepted=True), token=token) == []
    assert judged("token.malformed", connected(accepted=False), token=token)


def test_a_token_in_the_arguments_is_a_hint() -> None:
    """Info, and only where the token came from the command line."""
    assert judged("token.in-arguments", token_source="environment") == []
    findings = judged("token.in-arguments", token_source="arguments")
    assert [f.severity for f in findings] == [Severity.INFO]
    assert "TBDIAG_TOKEN" in findings[0].fix


@pytest.mark.parametrize(
    ("accepted", "severity"), [(None, "error"), (False, "error"), (True, "warning")]
)
def test_http_401(accepted: bool | None, severity: str) -> None:
    """401 is an error, unless MQTT accepts the token: then the HTTP address is another's."""
    evidence: list[object] = [HttpTokenEvidence("https://tb.example", 401)]
    if accepted is not None:
        evidence.append(connected(accepted))
    assert [f.severity.value for f in judged("token.unknown", *evidence)] == [severity]


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        ("not-thingsboard", "http.not-thingsboard"),
        ("unreachable", "http.unreachable"),
        ("timeout", "http.unreachable"),
        ("tls", "http.unreachable"),
    ],
)
def test_an_http_side_that_proves_nothing_is_a_warning(error: str, rule: str) -> None:
    """The second opinion failed: a warning, never the cause of anything."""
    evidence = HttpTokenEvidence("https://tb.example", None, error=error, detail="why")
    found = [f for r in ("http.not-thingsboard", "http.unreachable") for f in judged(r, evidence)]
    assert [(f.rule, f.severity) for f in found] == [(rule, Severity.WARNING)]
