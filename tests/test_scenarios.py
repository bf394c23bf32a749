"""Every scenario, end to end: a real server on loopback, the whole pipeline, the rules it names."""

from __future__ import annotations

import pytest

from tbdiag import Options, Report, Severity, check
from tbdiag.model import Secret
from tbdiag.registry import SCENARIOS
from tbdiag.report import render
from tbdiag.sandbox import all_scenarios, open_scenario
from tbdiag.sandbox.stand import Stand

IDS = sorted(all_scenarios())


def diagnose(stand: Stand) -> Report:
    return check(stand.target, Options(**{"timeout": 15.0, "compare_web": False, **stand.options}))


@pytest.mark.parametrize("scenario_id", IDS)
def test_a_scenario_gives_what_it_names(scenario_id: str) -> None:
    """The diagnosis has the primary, the rules and the stage statuses that the scenario names."""
    expected = SCENARIOS[scenario_id]
    with open_scenario(scenario_id) as stand:
        report = diagnose(stand)
    shown = render(report, "table")
    assert report.primary == expected.primary, shown
    assert set(expected.rules) <= {f.rule for f in report.findings}, shown
    for stage_id, status in expected.status.items():
        assert report.stage(stage_id).status == status, shown
    assert "tbdiag.unexplained" not in {f.rule for f in report.findings}, shown


@pytest.mark.parametrize("scenario_id", IDS)
def test_the_token_leaves_only_over_a_verified_or_plain_channel(scenario_id: str) -> None:
    """Where tls.verify did not pass, the server never receives the token; no output holds it."""
    with open_scenario(scenario_id) as stand:
        report = diagnose(stand)
        token = stand.target.credentials.token
        seen = stand.server.received_bytes() if stand.server else b""
    assert isinstance(token, Secret) or token is None
    if token is None:
        return
    verified = report.stage("tls.verify").evidence
    plain = report.stage("tls.verify").status == "not-applicable"
    trusted = verified.trusted if verified else plain
    if not trusted and not report.options.insecure:
        assert token.reveal().encode() not in seen
    if len(token.reveal()) >= 8:
        assert token.reveal() not in render(report, "table") + render(report, "json")


def test_every_error_has_a_cause_and_a_fix() -> None:
    """A finding of any scenario says what was seen, why, and what to do."""
    with open_scenario("unknown-and-expired") as stand:
        report = diagnose(stand)
    for finding in report.findings:
        assert finding.message, finding.rule
        if finding.severity is Severity.ERROR:
            assert "" not in (finding.cause, finding.fix), finding.rule
