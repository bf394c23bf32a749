"""report.as_nagios: the plugin convention."""

from __future__ import annotations

import pytest

from tbdiag.model import Verdict
from tbdiag.report import render
from tbdiag.report.as_nagios import nagios_code, nagios_unknown
from tests.report.consumers import read_nagios
from tests.report.samples import NASTIEST, STORIES, finding, report


@pytest.mark.parametrize(
    ("verdict", "strict", "code"),
    [
        (Verdict.OK, False, 0),
        (Verdict.OK, True, 0),
        (Verdict.WARNING, False, 1),
        (Verdict.WARNING, True, 2),
        (Verdict.FAILED, False, 2),
        (Verdict.ERROR, False, 3),
        (Verdict.ERROR, True, 3),
    ],
)
def test_the_exit_code_and_the_word_agree(verdict, strict, code):
    """0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; the first line says the same as the exit code."""
    made = report(verdict=verdict)
    assert nagios_code(made, strict) == code
    word, _ = read_nagios(render(made, "nagios", strict=strict))
    assert word == ("OK", "WARNING", "CRITICAL", "UNKNOWN")[code]


def test_days_left_come_with_thresholds():
    """Performance data holds the days of the server's certificate, the path and the CA file."""
    _, data = read_nagios(render(STORIES["warning"](), "nagios"))
    assert "'days_left'=60.00;90:;14:;;" in data
    assert "'days_chain'=60.00;90:;14:;;" in data
    assert "'days_ca'=5000.00;90:;14:;;" in data
    assert "'tls.handshake'=0.037s;;;0;" in data


def test_a_failed_verification_still_reports_days():
    """The days of the certificate are there also when it is not trusted."""
    _, data = read_nagios(render(STORIES["wrong-ca"](), "nagios"))
    assert "'days_left'=60.00;30:;0:;;" in data
    assert "days_chain" not in data


def test_a_plain_target_has_no_days():
    """Without certificates there is no days_left to graph."""
    _, data = read_nagios(render(STORIES["plain"](), "nagios"))
    assert "days" not in data


def test_long_output_is_cut():
    """Many findings stay below the 4 KB that monitoring cores read, and the cut is marked."""
    many = tuple(finding(f"a.rule-{n}", message="x" * 500) for n in range(50))
    shown = render(report(findings=many), "nagios")
    read_nagios(shown)
    assert shown.endswith("… (cut)\n")


def test_a_run_without_a_report_has_the_same_prefix():
    """A usage error is UNKNOWN on one line, whatever its text holds."""
    shown = nagios_unknown(NASTIEST)
    assert shown.startswith("TBDIAG UNKNOWN - ")
    assert shown.count("\n") == 1
    assert "|" not in shown
