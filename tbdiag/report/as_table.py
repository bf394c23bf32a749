"""The table for people: stages, then the root cause and its repair, then everything else."""

from __future__ import annotations

from tbdiag import __version__
from tbdiag.model import Finding, Report, Severity, StageResult, Status
from tbdiag.registry import renderer
from tbdiag.report._commands import pieces, planted
from tbdiag.report.escape import visible
from tbdiag.report.text import (
    COLORS,
    SEVERITY_COLORS,
    VERDICTS,
    columns,
    counts,
    headline,
    mark,
    minute,
    pad,
    paint,
    untested,
    wrap,
)

NARROW = 72
"""Columns below which the time column is left out."""
LIST = 60
"""Columns below which the stages are a list: what we saw stands under each."""
LONGEST_CELL = 300
"""Characters of what a stage saw that the table shows without --verbose."""


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
        _stages(report, width, color, unicode, verbose),
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


def _stages(report: Report, width: int, color: bool, unicode: bool, verbose: bool) -> str:
    rows = [_row(stage, unicode, verbose) for stage in report.stages]
    codes = [COLORS[stage.status] for stage in report.stages]
    if width < LIST:
        return "\n".join(
            _item(row, code, width, color) for row, code in zip(rows, codes, strict=True)
        )
    heads = ["", "Stage", "Result", "Time", "What we saw"]
    widths = [max(columns(line[i]) for line in [heads, *rows]) for i in range(4)]
    if width < NARROW:
        widths[3] = 0
    room = max(width - sum(w + 2 for w in widths if w), 16)
    widest = max(columns(line) for row in rows for line in _wrapped(row[4], room))
    rule = ["-" * w for w in [*widths, min(max(widest, columns(heads[4])), room)]]
    lines = [_line(heads, widths, "", False), _line(rule, widths, "", False)]
    for row, code in zip(rows, codes, strict=True):
        first, *more = _wrapped(row[4], room)
        lines.append(_line([*row[:4], first], widths, code, color))
        lines += [_line([""] * 4 + [line], widths, "", False) for line in more]
    return "\n".join(lines)


def _wrapped(text: str, room: int) -> list[str]:
    return wrap(text, room, "", break_words=True).split("\n")


def _line(cells: list[str], widths: list[int], code: str, color: bool) -> str:
    """One line of the table: the sign and the result in colour, the time at the right."""
    shown = [
        pad(cell, width, right=i == 3) for i, (cell, width) in enumerate(_pairs(cells, widths))
    ]
    for index in (0, 2):
        shown[index] = paint(shown[index], code, color and bool(code))
    kept = [cell for cell, width in zip(shown, widths, strict=True) if width]
    return "  ".join([*kept, cells[4]]).rstrip()


def _pairs(cells: list[str], widths: list[int]) -> list[tuple[str, int]]:
    return list(zip(cells[:4], widths, strict=True))


def _item(row: list[str], code: str, width: int, color: bool) -> str:
    """One stage on a narrow terminal: sign, name and result, then what we saw."""
    sign, title, result = row[:3]
    head = f"{paint(sign, code, color)} {title}: {paint(result, code, color)}"
    return f"{head}\n{wrap(row[4], width, '    ', break_words=True)}".rstrip()


def _row(stage: StageResult, unicode: bool, verbose: bool) -> list[str]:
    ran = stage.status not in (Status.BLOCKED, Status.NOT_APPLICABLE)
    shown = "n/a" if stage.status is Status.NOT_APPLICABLE else str(stage.status)
    saw = _saw(stage)
    return [
        mark(stage.status, unicode),
        stage.title,
        shown,
        f"{stage.duration_ms:,.0f} ms" if ran else "",
        saw if verbose else visible(saw, LONGEST_CELL),
    ]


def _saw(stage: StageResult) -> str:
    if stage.status is Status.BLOCKED:
        by = f"blocked by {stage.blocked_by}"
        plain = f"{stage.blocked_by} did not pass"
        return by if stage.reason in (None, plain) else f"{by}: {stage.reason}"
    return stage.summary


def _cause(report: Report, width: int, color: bool) -> str:
    cause = report.root_cause
    if cause is None:
        return ""
    head = paint("Root cause", "1;31", color) + f"  {cause.rule}"
    lines = [head, wrap(cause.message, width), wrap(cause.cause, width)]
    lines += ["", paint("Fix", "1;32", color), _fix(cause.fix, planted(report), width, color, "  ")]
    if cause.pem:
        lines += ["", cause.pem.rstrip()]
    return "\n".join(lines)


def _fix(fix: str, suspects: tuple[str, ...], width: int, color: bool, indent: str) -> str:
    """The repair; each command on a line of its own, never wrapped, so that it can be copied."""
    lines = []
    for piece in pieces(fix, suspects):
        if piece.command:
            lines.append(f"{indent}    {paint(piece.text, '36', color)}")
        else:
            lines.append(wrap(piece.text, width, indent))
    return "\n".join(lines)


def _others(report: Report, width: int, color: bool, verbose: bool) -> str:
    cause = report.root_cause
    others = [f for f in report.findings if f is not cause]
    if not others:
        return ""
    suspects = planted(report)
    title = "Also found" if cause else "Findings"
    blocks = [paint(title, "1", color)]
    blocks += [_other(f, suspects, width, color, verbose) for f in others]
    return "\n".join(blocks)


def _other(
    finding: Finding, suspects: tuple[str, ...], width: int, color: bool, verbose: bool
) -> str:
    severity = paint(f"{finding.severity:<7}", SEVERITY_COLORS[finding.severity], color)
    lines = [f"  {severity}  {finding.rule}", wrap(finding.message, width, "    ")]
    if finding.severity is not Severity.INFO or verbose:
        lines.append(wrap(finding.cause, width, "    "))
    if finding.fix:
        lines.append(_fix(f"Fix: {finding.fix}", suspects, width, color, "    "))
    return "\n".join(filter(None, lines))


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
        if width < LIST:
            lines += [f"  {client.client}: {verdict.rstrip()}", wrap(text, width, "    ")]
            continue
        body = wrap(text, width, " " * 26).lstrip()
        lines.append(f"  {client.client:<14}  {verdict} {body}")
    return "\n".join(lines)


def _footer(report: Report, width: int, color: bool) -> str:
    word, code = VERDICTS[report.verdict]
    left_out = ", ".join(s.title for s in untested(report))
    tail = f" Not tested: {left_out}." if left_out else ""
    text = f"{word}: {counts(report)} in {report.duration_ms / 1000:.2f} s.{tail}"
    first, *rest = wrap(text, width, "").split("\n")
    painted = paint(word, code, color) + first[len(word) :]
    return "\n".join([painted, *rest])
