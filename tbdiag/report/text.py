"""Words and marks that the text formats share."""

from __future__ import annotations

import unicodedata
from datetime import datetime

from tbdiag.model import Report, Severity, StageResult, Status, Verdict

MARKS = {
    Status.OK: ("√", "OK"),
    Status.WARNING: ("‼", "!!"),
    Status.FAILED: ("×", "XX"),
    Status.BLOCKED: ("·", "--"),
    Status.NOT_APPLICABLE: ("·", "--"),
    Status.ERROR: ("×", "XX"),
}
COLORS = {
    Status.OK: "32",
    Status.WARNING: "33",
    Status.FAILED: "31",
    Status.BLOCKED: "2",
    Status.NOT_APPLICABLE: "2",
    Status.ERROR: "35",
}
VERDICTS = {
    Verdict.OK: ("OK", "1;32"),
    Verdict.WARNING: ("OK with warnings", "1;33"),
    Verdict.FAILED: ("FAILED", "1;31"),
    Verdict.ERROR: ("TBDIAG ERROR", "1;35"),
}
"""The word of a verdict, and its colour."""
SEVERITY_COLORS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFO: "36"}


def paint(text: str, code: str, color: bool) -> str:
    """`text` in an ANSI colour, or as it is."""
    return f"\x1b[{code}m{text}\x1b[0m" if color and text else text


def mark(status: Status, unicode: bool) -> str:
    """The sign of a status, in ASCII where the terminal has no UTF-8."""
    return MARKS[status][0 if unicode else 1]


def columns(text: str) -> int:
    """The columns that `text` takes on a terminal: CJK characters two, combining marks none."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrap(text: str, width: int, indent: str = "  ", *, break_words: bool = False) -> str:
    """`text` wrapped to `width` columns, counted as a terminal shows them.

    Words longer than a line (commands, URLs) stay whole, to be copied, unless `break_words`.
    """
    room = max(width, 20) - columns(indent)
    lines: list[str] = []
    for word in text.split():
        if lines and columns(lines[-1]) + 1 + columns(word) <= room:
            lines[-1] += f" {word}"
        elif break_words:
            lines += _broken(word, room)
        else:
            lines.append(word)
    return "\n".join(indent + line for line in lines)


def _broken(word: str, room: int) -> list[str]:
    """A word in pieces of at most `room` columns, split behind a separator where there is one."""
    pieces = []
    while columns(word) > room:
        used = cut = 0
        for character in word:
            used += _columns(character)
            if used > room:
                break
            cut += 1
        tiers = ("/,;", ":@-_.=")
        ends = [max(word.rfind(sign, cut // 2, cut) for sign in signs) + 1 for signs in tiers]
        cut = next(filter(None, ends), max(cut, 1))
        pieces.append(word[:cut])
        word = word[cut:]
    return [*pieces, word] if word else pieces


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled with spaces to `width` columns."""
    space = " " * max(width - columns(text), 0)
    return space + text if right else text + space


def minute(moment: datetime) -> str:
    """`2026-01-31 23:59 UTC`."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def headline(report: Report) -> str:
    """`mqtts://host:port`, or the label before it."""
    address = f"{report.target.transport}://{report.target.address}"
    return f"{report.target.label} ({address})" if report.target.label else address


def untested(report: Report) -> list[StageResult]:
    """The stages that did not run: a green report must say what it did not look at."""
    return [s for s in report.stages if s.status in (Status.BLOCKED, Status.NOT_APPLICABLE)]


def counts(report: Report) -> str:
    """`1 error, 2 warnings`, or `no findings`."""
    parts = []
    for severity in (Severity.ERROR, Severity.WARNING):
        number = sum(f.severity is severity for f in report.findings)
        if number:
            parts.append(f"{number} {severity}{'' if number == 1 else 's'}")
    return ", ".join(parts) or "no errors, no warnings"
