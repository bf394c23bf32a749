"""Output of a Nagios or Icinga plugin: one status line with performance data, then the details."""

from __future__ import annotations

import re

from tbdiag.evidence import Certificate
from tbdiag.model import Finding, Report, Severity, StageResult, Status, Verdict
from tbdiag.registry import renderer
from tbdiag.report._expiry import critical_below, warn_below
from tbdiag.report._facts import ca_certificates, presented, trusted_path
from tbdiag.report.text import counts, headline, untested

WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
"""The plugin convention's words, by exit code."""
LONGEST_LINE = 400
"""Characters of text before the performance data: mail and SMS gateways cut there."""
LONGEST = 4000
"""Bytes of the whole output: many cores cut at 4 KB."""
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])")


def _neutral(text: str) -> str:
    """Text without what begins performance data (`|`), or markup in the web interface."""
    return _MARKUP.sub("\u2039", text.replace("|", "\u00a6"))


def nagios_code(report: Report, strict: bool = False) -> int:
    """The plugin's exit code: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (tbdiag itself failed)."""
    if report.verdict is Verdict.WARNING:
        return 2 if strict else 1
    return {Verdict.OK: 0, Verdict.FAILED: 2}.get(report.verdict, 3)


def nagios_unknown(message: str) -> str:
    """The output for a run that made no report: same prefix, exit code 3."""
    from tbdiag.report.escape import visible

    return f"TBDIAG UNKNOWN - {_said(visible(message))}\n"


@renderer("nagios")
def as_nagios(report: Report, *, strict: bool = False, **_style: object) -> str:
    """Nagios and Icinga plugin output: status line, performance data, details; exit 0/1/2/3."""
    data = " ".join(_performance(report))
    first = f"TBDIAG {WORDS[nagios_code(report, strict)]} - {_said(_headline(report))}"
    text = f"{first} | {data}\n"
    for line in _details(report):
        line = _neutral(line) + "\n"
        if len((text + line).encode()) > LONGEST - 20:
            return text + "… (cut)\n"
        text += line
    return text


def _said(text: str) -> str:
    text = _neutral(text)
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"


def _headline(report: Report) -> str:
    where = headline(report)
    worst = report.root_cause or _first_warning(report)
    if worst:
        return f"{where}: {worst.rule}: {worst.message}"
    failed = next((s for s in report.stages if s.status is Status.ERROR), None)
    if failed:
        return f"{where}: tbdiag failed in {failed.id}: {failed.reason or failed.summary}"
    return f"{where}: {counts(report)}"


def _first_warning(report: Report) -> Finding | None:
    return next((f for f in report.findings if f.severity is Severity.WARNING), None)


def _details(report: Report) -> list[str]:
    lines = ["INSECURE: the server was not verified"] if report.options.insecure else []
    for finding in report.findings:
        if finding.severity is not Severity.INFO:
            lines.append(f"{finding.severity}: {finding.rule}: {finding.message}")
            lines += [finding.cause, f"Fix: {finding.fix}"]
    left_out = ", ".join(f"{s.title} ({s.status})" for s in untested(report))
    return [*lines, f"Not tested: {left_out}"] if left_out else lines


def _performance(report: Report) -> list[str]:
    data = [f"'time'={report.duration_ms / 1000:.3f}s;;;0;{report.options.timeout:g}"]
    for label, certificates in (
        ("days_left", presented(report)[:1]),
        ("days_chain", trusted_path(report)),
        ("days_ca", ca_certificates(report)),
    ):
        data += _days(report, label, certificates)
    return data + [_stage_time(stage) for stage in report.stages if _ran(stage)]


def _days(report: Report, label: str, certificates: tuple[Certificate, ...]) -> list[str]:
    if not certificates:
        return []
    soonest = min(certificates, key=lambda c: c.not_after)
    warn = warn_below(soonest, report.options)
    critical = critical_below(report.options)
    return [f"'{label}'={soonest.days_left(report.now):.2f};{warn:g}:;{critical:g}:;;"]


def _ran(stage: StageResult) -> bool:
    return stage.status not in (Status.BLOCKED, Status.NOT_APPLICABLE)


def _stage_time(stage: StageResult) -> str:
    return f"'{stage.id}'={stage.duration_ms / 1000:.3f}s;;;0;"
