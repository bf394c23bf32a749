"""report.as_junit: what CI viewers count, and what they show."""

from __future__ import annotations

from junitparser import Error, Failure, Skipped

from tbdiag.model import Severity
from tbdiag.report import render
from tests.report.consumers import read_junit
from tests.report.samples import STORIES, finding, report


def suite_of(story, **style):
    return read_junit(render(story() if callable(story) else story, "junit", **style))


def results(suite):
    return {case.name: type(case.result[0]) if case.result else None for case in suite}


def test_a_failed_stage_is_a_failure_and_what_it_blocks_is_skipped():
    """The stage that said no is the only failure; the stages behind it are skipped, with reason."""
    suite = suite_of(STORIES["missing-intermediate"])
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (9, 1, 0, 4)
    cases = {case.name: case for case in suite}
    failure = cases["tls.verify"].result[0]
    assert isinstance(failure, Failure)
    assert failure.type == "x509.missing-intermediate"
    assert "Fix: On the server" in failure.text
    assert cases["mqtt.connect"].result[0].message.startswith("blocked by tls.verify")
    assert cases["mqtt.connect"].classname == "tbdiag.mqtt"


def test_our_own_fault_is_an_error():
    """A stage that tbdiag could not run is an error, not a failure of the server."""
    suite = suite_of(STORIES["tool-error"])
    assert results(suite)["tls.verify"] is Error
    assert suite.failures == 0


def test_warnings_fail_only_when_strict():
    """A warning stands in system-out; with --strict it is a failure."""
    assert results(suite_of(STORIES["warning"]))["tls.verify"] is None
    assert results(suite_of(STORIES["warning"], strict=True))["tls.verify"] is Failure
    cases = {case.name: case for case in suite_of(STORIES["warning"])}
    assert "x509.certificate-expiring" in cases["tls.verify"].system_out


def test_what_does_not_apply_is_skipped():
    """A stage that does not apply to a plain port is skipped and says why."""
    assert results(suite_of(STORIES["plain"]))["tls.handshake"] is Skipped


def test_no_error_finding_is_lost():
    """An error of a stage that is not in the report, or that did not run, is still a failure."""
    lost = finding("a.b", "no.such-stage")
    blocked = finding("tbdiag.out-of-time", "mqtt.connect")
    made = report(failed="tls.verify", findings=(lost, blocked))
    found = results(suite_of(made))
    assert found["no.such-stage"] is Failure
    assert found["mqtt.connect"] is Failure
    assert found["tls.verify"] is Failure, "a failed stage whose finding was ignored"


def test_info_is_never_a_failure():
    """A remark does not fail a build, strict or not."""
    remark = finding("a.remark", severity=Severity.INFO)
    assert suite_of(report(findings=(remark,)), strict=True).failures == 0
