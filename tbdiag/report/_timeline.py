"""Draw when certificates are valid, around the moment they are judged at.

The axis is logarithmic to both sides of that moment: a certificate of 90 days and a root of twenty
years are both readable, and so is what happens in the next days.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from xml.etree.ElementTree import Element

from tbdiag.evidence import DAY, Certificate
from tbdiag.model import Report
from tbdiag.report._expiry import critical_below, warn_below
from tbdiag.report._facts import ca_certificates, presented, trusted_path
from tbdiag.report._svg import box, fitted, line, svg, text

MAX_ROWS = 8
ROW, TOP, BAR = 44.0, 34.0, 12.0
TICKS = ((1, "1 d"), (7, "7 d"), (30, "30 d"), (90, "90 d"), (365, "1 y"), (3652, "10 y"))
SPAN = 30 * 365.25
"""Days to both sides of now that the axis covers."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From days before or after now to a place on the page."""

    left: float
    right: float
    now: float

    def at(self, days: float) -> float:
        """The place of `days` from now."""
        share = math.log1p(min(abs(days), SPAN) / 3) / math.log1p(SPAN / 3)
        room = (self.right - self.now) if days >= 0 else (self.left - self.now)
        return self.now + share * room


def timelines(report: Report) -> list[Element]:
    """The same picture for wide and for narrow pages; none where there is no certificate."""
    rows = _rows(report)
    if not rows:
        return []
    return [_draw(report, rows, 900, "wide"), _draw(report, rows, 360, "narrow")]


def _rows(report: Report) -> list[tuple[str, Certificate]]:
    path = trusted_path(report)
    rows: dict[bytes, tuple[str, Certificate]] = {}
    for place, certificates in (
        ("sent", presented(report)),
        ("path", path),
        ("CA file", ca_certificates(report)),
    ):
        for certificate in certificates:
            rows.setdefault(certificate.der, (place, certificate))
    return list(rows.values())[:MAX_ROWS]


def _draw(
    report: Report, rows: Iterable[tuple[str, Certificate]], width: float, class_: str
) -> Element:
    rows = list(rows)
    bottom = TOP + ROW * len(rows)
    axis = Axis(8, width - 8, width * 0.34)
    parts = _ticks(axis, bottom, width < 500)
    for index, (_, certificate) in enumerate(rows):
        parts += _bar(axis, TOP + ROW * index + 22, certificate, report)
    parts.append(line(axis.now, TOP - 8, axis.now, bottom, "now"))
    for index, (place, certificate) in enumerate(rows):
        parts += _label(report, axis, TOP + ROW * index + 14, place, certificate)
    today = "judged at" if report.options.at else "today"
    parts.append(text(axis.now, 16, f"{today} {report.now:%Y-%m-%d}", "today mid"))
    words = "; ".join(f"{c.name} until {c.not_after:%Y-%m-%d}" for _, c in rows)
    return svg(width, bottom + 22, f"Validity: {words}", *parts, class_=f"pic {class_}")


def _ticks(axis: Axis, bottom: float, narrow: bool) -> list[Element]:
    parts: list[Element] = []
    for days, word in TICKS:
        if narrow and days in (1, 90):
            continue
        for sign in (-1, 1):
            if sign < 0 and (days < 30 or (narrow and days < 365)):
                continue
            x = axis.at(sign * days)
            parts.append(line(x, TOP - 4, x, bottom, "tick"))
            label = f"-{word}" if sign < 0 else f"+{word}"
            parts.append(text(x, bottom + 15, label, "scale mid"))
    return parts


def _label(
    report: Report, axis: Axis, y: float, place: str, certificate: Certificate
) -> list[Element]:
    room = axis.right - axis.left
    left, look = _left(report, certificate)
    if room < 500:
        left = left.removeprefix("until ")
    words = fitted(f"{certificate.name} ({place})", room - 190, 12)
    return [
        text(axis.left, y, words, "detail"),
        text(axis.right, y, left, f"days end {look}"),
    ]


def _bar(axis: Axis, y: float, certificate: Certificate, report: Report) -> list[Element]:
    """The validity in up to three colours: good, from the warning on, from the error on."""
    track = box(axis.left, y, axis.right - axis.left, BAR, "track", r=3)
    start = (certificate.not_before - report.now) / DAY
    end = certificate.days_left(report.now)
    if end < 0:
        return [track, _piece(axis, y, start, end, "past")]
    warn, critical = warn_below(certificate, report.options), critical_below(report.options)
    edges = [start, max(start, end - max(warn, critical)), max(start, end - critical), end]
    looks = ("good", "warn", "bad")
    return [track] + [
        _piece(axis, y, before, after, look)
        for before, after, look in zip(edges[:3], edges[1:], looks, strict=True)
        if after > before
    ]


def _piece(axis: Axis, y: float, start: float, end: float, look: str) -> Element:
    x = axis.at(start)
    return box(x, y, max(axis.at(end) - x, 2), BAR, f"bar {look}", r=3)


def _left(report: Report, certificate: Certificate) -> tuple[str, str]:
    end = certificate.days_left(report.now)
    until = f"until {certificate.not_after:%Y-%m-%d}"
    if end < 0:
        return f"expired {certificate.not_after:%Y-%m-%d} ({_amount(-end)} ago)", "bad"
    if certificate.not_yet_valid(report.now):
        return f"not before {certificate.not_before:%Y-%m-%d}", "bad"
    if end < critical_below(report.options):
        return f"{until}, {_amount(end)}", "bad"
    look = "warn" if end < warn_below(certificate, report.options) else "good"
    return f"{until}, {_amount(end)}", look


def _amount(days: float) -> str:
    if days < 2:
        return f"{int(timedelta(days=days) / timedelta(hours=1))} h"
    return f"{int(days):,} days"
