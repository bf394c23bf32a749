"""What a fleet says as a whole: how many, why, and which certificate ends when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

from tbdiag.fact import Record, field
from tbdiag.fleet.outcome import End, Outcome
from tbdiag.model import Verdict

ORDER = (Verdict.FAILED.value, Verdict.ERROR.value, Verdict.WARNING.value, Verdict.OK.value)
"""Worst first."""


class Cause(Record):
    """One root cause, and the targets that have it."""

    rule: str
    verdict: str
    """The worst verdict among them."""
    message: str
    """The sentence of the first of them."""
    targets: list[str] = field(default_factory=list)


class Expiry(Record):
    """One date on which a CA or the certificates of one issuer end, and who depends on it."""

    day: date
    not_after: datetime
    """The earliest of that day."""
    certificate: str
    """The name of the certificate; for several of one issuer, how many there are."""
    role: str
    issuer: str
    certificates: set[str] = field(default_factory=set)
    """Fingerprints."""
    targets: list[str] = field(default_factory=list)


class Summary(Record):
    """Counts, causes and expiries of the outcomes added so far."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))

    @property
    def total(self) -> int:
        """How many targets were checked."""
        return sum(self.counts.values())

    @property
    def verdict(self) -> Verdict:
        """The verdict on the fleet: `error` when tbdiag could not check one, else the worst."""
        worst = (Verdict.ERROR, Verdict.FAILED, Verdict.WARNING)
        return next((v for v in worst if self.counts[v.value]), Verdict.OK)

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.counts[outcome.verdict] += 1

    def in_words(self) -> str:
        """`998 ok, 1 with warnings, 1 failed`, without what is zero."""
        words = {"ok": "ok", "warning": "with warnings", "failed": "failed"}
        words["error"] = "not checked because tbdiag failed"
        parts = [f"{self.counts[v]:,} {words[v]}" for v in reversed(ORDER) if self.counts[v]]
        return ", ".join(parts) or "nothing checked"


def causes(outcomes: Iterable[Outcome]) -> list[Cause]:
    """The root causes, the worst and most frequent first; warnings after errors."""
    found: dict[str, Cause] = {}
    for outcome in outcomes:
        if outcome.cause is None:
            continue
        cause = found.setdefault(
            outcome.cause, Cause(outcome.cause, outcome.verdict, outcome.message)
        )
        cause.targets.append(outcome.name)
        cause.verdict = min(cause.verdict, outcome.verdict, key=ORDER.index)
    return sorted(found.values(), key=lambda c: (ORDER.index(c.verdict), -len(c.targets), c.rule))


def expiries(outcomes: Iterable[Outcome]) -> list[Expiry]:
    """What ends when, the soonest first.

    A CA certificate stands alone; the servers' own certificates are taken together by issuer and
    day, as a rotation renews them together.
    """
    found: dict[tuple[str, date], Expiry] = {}
    for outcome in outcomes:
        for end in outcome.ends:
            leaf = end.role == "end-entity"
            expiry = found.setdefault(
                (end.issuer if leaf else end.fingerprint, end.not_after.date()), _expiry(end)
            )
            expiry.not_after = min(expiry.not_after, end.not_after)
            expiry.certificates.add(end.fingerprint)
            expiry.targets.append(outcome.name)
    for expiry in found.values():
        if len(expiry.certificates) > 1:
            expiry.certificate = f"{len(expiry.certificates):,} server certificates"
    return sorted(found.values(), key=lambda e: (e.not_after, e.certificate, e.issuer))


def _expiry(end: End) -> Expiry:
    return Expiry(end.not_after.date(), end.not_after, end.name, end.role, end.issuer)


def some(names: list[str], most: int = 3) -> str:
    """`a, b, c and 7 more`."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
