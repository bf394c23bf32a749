"""Words and marks that the text formats share."""

from __future__ import annotations

import textwrap
from datetime import datetime

from tbdiag.model import Report, Severity, StageResult, Status

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
SEVERITY_COLORS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFO: "36"}


def paint(text: str, code: str, color: bool) -> str:
    """`text` in an ANSI colour, or as it is."""
    return f"\x1b[{code}m{text}\x1b[0m" if color and text else text


def mark(status: Status, unicode: bool) -> str:
    """The sign of a status, in ASCII where the terminal has no UTF-8."""
    return MARKS[status][0 if unicode else 1]


def wrap(text: str, width: int, indent: str = "  ") -> str:
    """`text` wrapped to `width` columns; words longer than a line (commands, URLs) stay whole."""
    return textwrap.fill(
        text,
        width=max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


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
