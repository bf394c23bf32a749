"""Markdown for an issue, a pull request or a step summary.

Words that markup, autolinks, mentions or issue references could hide in stand in code spans; their
other characters are escaped. So text of a server is never a link, an image, a mention or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tbdiag import __version__
from tbdiag.model import ClientVerdict, Finding, Report, Severity, StageResult, Status
from tbdiag.registry import renderer
from tbdiag.report._commands import pieces, planted
from tbdiag.report.text import MARKS, VERDICTS, counts, headline, minute, untested

MAX_FINDINGS = 100
_PLAIN_WORD = re.compile(r"[^\W_]+(?:[-.,:;'’/][^\W_]+)*")
_LEFT, _RIGHT = "(\"'„“", "\"'.,:;!?”“"
_LINKABLE = re.compile(r"://|www\.|^[0-9a-fA-F]{7,40}$|^GH-\d|/.*/|\.[A-Za-z]{2,}", re.I)


@renderer("markdown")
def as_markdown(report: Report, **_style: object) -> str:
    """Markdown for an issue, a pull request or a step summary."""
    parts = [
        _head(report),
        _cause(report),
        _stages(report.stages),
        _others(report),
        _clients(report.clients),
        _footer(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def inline(text: str) -> str:
    """Text for any place of a line: nothing in it is markup, a link or a mention."""
    words = " ".join(_word(word) for word in text.split(" ") if word)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", lambda m: f"{m[1]}&#{ord(m[2])};", words)


def _word(word: str) -> str:
    core = word.lstrip(_LEFT)
    left = word[: len(word) - len(core)]
    inner = core.rstrip(_RIGHT)
    while inner.endswith(")") and inner.count(")") > inner.count("("):
        inner = inner[:-1].rstrip(_RIGHT)
    if not inner:
        return _entities(word)
    right = _entities(core[len(inner) :])
    plain = _PLAIN_WORD.fullmatch(inner) and not _LINKABLE.search(inner)
    return f"{_entities(left)}{inner if plain else code(inner)}{right}"


def _entities(text: str) -> str:
    return re.sub(r"[^\w\s.,;:?()'\"’“”„…]|_", _entity, text)


def _entity(match: re.Match[str]) -> str:
    return f"&#{ord(match.group())};"


def code(text: str) -> str:
    """A code span; where backticks, pipes or backslashes are in it, as HTML with entities."""
    if re.search(r"[`|\\]", text):
        safe = re.sub(r"[^\w\s]|_", _entity, text)
        return f"<code>{safe}</code>"
    return f"`{text}`" if text.strip() else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    heads = list(heads)
    return "\n".join([_row(*heads), _row(*("---" for _ in heads)), *rows])


def _head(report: Report) -> str:
    word = VERDICTS[report.verdict][0]
    judged = "" if report.options.at is None else f", judged at {minute(report.now)}"
    lines = [
        f"## {word}: {inline(headline(report))}",
        f"tbdiag {code(__version__)}, {minute(report.started_at)}{judged}: {counts(report)} "
        f"in {report.duration_ms / 1000:.2f} s.",
    ]
    if report.options.insecure:
        lines.insert(1, "**INSECURE: the server was not verified (`--insecure`).**")
    return "\n\n".join(lines)


def _cause(report: Report) -> str:
    cause = report.root_cause
    if cause is None:
        return ""
    lines = [f"### Root cause: {code(cause.rule)}", inline(cause.message), inline(cause.cause)]
    lines += ["### Fix", *_fix(cause, planted(report))]
    if cause.pem:
        lines.append(_fenced(cause.pem.rstrip(), "text"))
    return "\n\n".join(filter(None, lines))


def _fix(finding: Finding, suspects: tuple[str, ...]) -> list[str]:
    return [
        _fenced(piece.text, "sh") if piece.command else inline(piece.text)
        for piece in pieces(finding.fix, suspects)
    ]


def _fenced(text: str, language: str) -> str:
    runs = [len(run) for run in re.findall(r"`+", text)]
    fence = "`" * max(3, max(runs, default=0) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _stages(stages: Iterable[StageResult]) -> str:
    rows = []
    for stage in stages:
        ran = stage.status not in (Status.BLOCKED, Status.NOT_APPLICABLE)
        time = f"{stage.duration_ms:,.0f} ms" if ran else ""
        saw = stage.summary
        if stage.status is Status.BLOCKED:
            saw = f"blocked by {stage.blocked_by}"
        shown = f"{MARKS[stage.status][0]} {stage.status}"
        rows.append(_row(inline(stage.title), shown, time, inline(saw)))
    return _table(("Stage", "Result", "Time", "What we saw"), rows)


def _others(report: Report) -> str:
    cause = report.root_cause
    others = [f for f in report.findings if f is not cause]
    if not others:
        return ""
    blocks = ["### Also found" if cause else "### Findings"]
    blocks += [_item(f) for f in others[:MAX_FINDINGS]]
    if len(others) > MAX_FINDINGS:
        blocks.append(f"{len(others) - MAX_FINDINGS} more findings are left out here.")
    return "\n\n".join(blocks)


def _item(finding: Finding) -> str:
    words = [f"- **{finding.severity}** {code(finding.rule)}: {inline(finding.message)}"]
    if finding.severity is not Severity.INFO:
        words.append(inline(finding.cause))
    words.append(f"Fix: {inline(finding.fix)}" if finding.fix else "")
    return "<br>\n  ".join(filter(None, words))


def _clients(clients: Iterable[ClientVerdict]) -> str:
    rows = [
        _row(code(c.client), c.verdict, inline(c.reason), inline(c.stands_for)) for c in clients
    ]
    if not rows:
        return ""
    heads = ("Stack", "Verdict", "Reason", "Stands for")
    return f"### Device TLS stacks\n\n{_table(heads, rows)}"


def _footer(report: Report) -> str:
    left_out = ", ".join(f"{inline(s.title)} ({s.status})" for s in untested(report))
    return f"Not tested: {left_out}." if left_out else "Every stage was tested."
