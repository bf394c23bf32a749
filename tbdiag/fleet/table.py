"""The fleet for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tbdiag.fleet.outcome import Outcome
from tbdiag.fleet.summary import Expiry, causes, expiries, some
from tbdiag.model import Status
from tbdiag.report.text import COLORS, mark, paint

if TYPE_CHECKING:
    from tbdiag.fleet.formats import FleetReport

ALL_SHOWN = 50
"""Fleets up to this size are listed whole; of larger ones only what is not well, unless `-v`."""
MOST_CAUSES = 20
MOST_EXPIRIES = 10


def as_table(run: FleetReport) -> Iterator[str]:
    """The targets, the root causes with their number, what ends first, and the counts."""
    outcomes = run.outcomes()
    listed = outcomes
    if len(outcomes) > ALL_SHOWN and not run.verbose:
        listed = [o for o in outcomes if o.verdict != "ok"]
    for part in (
        _targets(run, listed),
        _causes(run, outcomes),
        _expiries(run, expiries(outcomes)),
        _footer(run, len(outcomes) - len(listed)),
    ):
        if part:
            yield (part if run.unicode else part.encode("ascii", "backslashreplace").decode())
            yield "\n"


def _targets(run: FleetReport, outcomes: list[Outcome]) -> str:
    rows = [
        [
            paint(mark(Status(o.verdict), run.unicode), COLORS[Status(o.verdict)], run.color),
            o.name if o.name == o.address else f"{o.name} ({o.address})",
            o.verdict,
            "" if o.days_left is None else f"{o.days_left:,.0f}",
            f"{o.cause}: {o.message}" if o.cause else o.message,
        ]
        for o in outcomes
    ]
    return _tabulated(run, ["", "Target", "Result", "Days", "What we saw"], rows, {3})


def _causes(run: FleetReport, outcomes: list[Outcome]) -> str:
    rows = [[f"{len(c.targets):,}", c.verdict, c.rule, some(c.targets)] for c in causes(outcomes)][
        :MOST_CAUSES
    ]
    return _tabulated(run, ["Targets", "Result", "Root cause", "Which"], rows, {0})


def _expiries(run: FleetReport, found: list[Expiry]) -> str:
    rows = [
        [
            e.day.isoformat(),
            f"{(e.not_after - run.started_at).days:,}",
            e.certificate if e.role == "end-entity" else f"{e.certificate} ({e.role})",
            e.issuer,
            f"{len(e.targets):,}: {some(e.targets)}",
        ]
        for e in found[:MOST_EXPIRIES]
    ]
    return _tabulated(run, ["Ends", "Days", "Certificate", "Issuer", "Targets"], rows, {1})


def _tabulated(run: FleetReport, heads: list[str], rows: list[list[str]], right: set[int]) -> str:
    from tabulate import tabulate

    if not rows:
        return ""
    share = max((run.width - 24) // max(len(heads) - 2, 1), 16)
    widths = [None if i in right or not head else share for i, head in enumerate(heads)]
    widths[-1] = max(run.width - _used(rows, heads, share), 20)
    text: str = tabulate(
        rows,
        headers=heads,
        disable_numparse=True,
        colalign=["right" if i in right else "left" for i in range(len(heads))],
        maxcolwidths=widths,
    )
    return text + "\n"


def _used(rows: list[list[str]], heads: list[str], share: int) -> int:
    """Columns taken by all but the last."""
    longest = (max(len(heads[i]), *(len(row[i]) for row in rows)) for i in range(len(heads) - 1))
    return sum(min(width, share) + 2 for width in longest)


def _footer(run: FleetReport, left_out: int) -> str:
    total = run.summary.total
    text = f"{total:,} target{'' if total == 1 else 's'} in {run.duration_ms / 1000:.1f} s"
    text += f": {run.summary.in_words()}."
    if left_out:
        text += f" {left_out:,} that are ok are not listed (-v lists them)."
    if total < run.expected:
        text += f" {run.expected - total:,} were not checked: run it again with --resume."
    return text
