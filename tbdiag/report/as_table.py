"""The table for people: stages, then the root cause and its repair, then everything else."""

from __future__ import annotations

import re

from tbdiag import __version__
from tbdiag.model import Finding, Report, Severity, StageResult, Status, Verdict
from tbdiag.registry import renderer
from tbdiag.report.text import (
    COLORS,
    SEVERITY_COLORS,
    counts,
    headline,
    mark,
    minute,
    paint,
    untested,
    wrap,
)

NARROW = 72
"""Columns below which the time column is left out."""


@renderer("table")
def as_table(
    report: Report,
    *,
    width: int = 100,
    color: bool = False,
    unicode: bool = True,
    verbose: bool = False,
    **_style: object,
) -> str:
    """A table of the stages, the root cause, its fix, other findings, and what was not tested."""
    parts = [
        _header(report, color),
        _stages(report, width, color, unicode),
        _cause(report, width, color),
        _others(report, width, color, verbose),
        _clients(report, width, color, verbose),
        _footer(report, width, color),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return text if unicode else text.encode("ascii", "backslashreplace").decode()


def _header(report: Report, color: bool) -> str:
    judged = "" if report.options.at is None else f", judged at {minute(report.now)}"
    title = paint(headline(report), "1", color)
    lines = [f"tbdiag {__version__}  {title}  {minute(report.started_at)}{judged}"]
    if report.options.insecure:
        lines.append(paint("INSECURE: the server was not verified (--insecure)", "1;31", color))
    return "\n".join(lines)


def _stages(report: Report, width: int, color: bool, unicode: bool) -> str:
    from tabulate import tabulate

    timed = width >= NARROW
    rows = [_row(stage, color, unicode, timed) for stage in report.stages]
    heads = ["", "Stage", "Result", "Time", "What we saw"]
    if not timed:
        heads.remove("Time")
    fixed = sum(max(len(_plain(r[i])) for r in rows) + 2 for i in range(len(heads) - 1))
    room = max(width - fixed - 2, 16)
    table: str = tabulate(
        rows,
        headers=heads,
        tablefmt="simple" if width >= 60 else "plain",
        disable_numparse=True,
        colalign=["left"] * 3 + (["right"] if timed else []) + ["left"],
        maxcolwidths=[None] * (len(heads) - 1) + [room],
    )
    return table


def _row(stage: StageResult, color: bool, unicode: bool, timed: bool) -> list[str]:
    code = COLORS[stage.status]
    ran = stage.status not in (Status.BLOCKED, Status.NOT_APPLICABLE)
    shown = str(stage.status)
    if stage.status is Status.NOT_APPLICABLE:
        shown = "n/a"
    row = [
        paint(mark(stage.status, unicode), code, color),
        stage.title,
        paint(shown, code, color),
        f"{stage.duration_ms:,.0f} ms" if ran else "",
        _saw(stage),
    ]
    return row if timed else row[:3] + row[4:]


def _saw(stage: StageResult) -> str:
    if stage.status is Status.BLOCKED:
        by = f"blocked by {stage.blocked_by}"
        plain = f"{stage.blocked_by} did not pass"
        return by if stage.reason in (None, plain) else f"{by}: {stage.reason}"
    return stage.summary


def _plain(cell: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", cell)


def _cause(report: Report, width: int, color: bool) -> str:
    cause = report.root_cause
    if cause is None:
        return ""
    head = paint("Root cause", "1;31", color) + f"  {cause.rule}"
    lines = [head, wrap(cause.message, width), wrap(cause.cause, width)]
    lines += ["", paint("Fix", "1;32", color), wrap(cause.fix, width)]
    if cause.pem:
        lines += ["", cause.pem.rstrip()]
    return "\n".join(lines)


def _others(report: Report, width: int, color: bool, verbose: bool) -> str:
    cause = report.root_cause
    others = [f for f in report.findings if f is not cause]
    if not others:
        return ""
    title = "Also found" if cause else "Findings"
    blocks = [paint(title, "1", color)]
    blocks += [_other(f, width, color, verbose) for f in others]
    return "\n".join(blocks)


def _other(finding: Finding, width: int, color: bool, verbose: bool) -> str:
    severity = paint(f"{finding.severity:<7}", SEVERITY_COLORS[finding.severity], color)
    lines = [f"  {severity}  {finding.rule}", wrap(finding.message, width, "    ")]
    if finding.severity is not Severity.INFO or verbose:
        lines.append(wrap(finding.cause, width, "    "))
    lines.append(wrap(f"Fix: {finding.fix}", width, "    "))
    return "\n".join(lines)


def _clients(report: Report, width: int, color: bool, verbose: bool) -> str:
    decided = [c for c in report.clients if c.verdict != "unknown"]
    if len({c.verdict for c in decided}) < 2 and not verbose:
        return ""
    lines = [paint("Device TLS stacks", "1", color)]
    for client in report.clients:
        code = {"accept": "32", "reject": "31"}.get(client.verdict, "2")
        verdict = paint(f"{client.verdict:<7}", code, color)
        stands_for = f" [{client.stands_for}]" if client.stands_for else ""
        text = f"{client.reason}{stands_for}"
        body = wrap(text, width, " " * 26).lstrip()
        lines.append(f"  {client.client:<14}  {verdict} {body}")
    return "\n".join(lines)


_VERDICTS = {
    Verdict.OK: ("OK", "1;32"),
    Verdict.WARNING: ("OK with warnings", "1;33"),
    Verdict.FAILED: ("FAILED", "1;31"),
    Verdict.ERROR: ("TBDIAG ERROR", "1;35"),
}


def _footer(report: Report, width: int, color: bool) -> str:
    word, code = _VERDICTS[report.verdict]
    left_out = ", ".join(s.title for s in untested(report))
    tail = f" Not tested: {left_out}." if left_out else ""
    text = f"{word}: {counts(report)} in {report.duration_ms / 1000:.2f} s.{tail}"
    first, *rest = wrap(text, width, "").split("\n")
    painted = paint(word, code, color) + first[len(word) :]
    return "\n".join([painted, *rest])
