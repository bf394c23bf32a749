"""What remains of one report: enough for tables, summaries and the history, and small."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import datetime

import msgspec

from tbdiag.errors import UsageError
from tbdiag.evidence import Certificate, HandshakeEvidence, VerifyEvidence
from tbdiag.evidence.baseline import Baseline
from tbdiag.model import Finding, Report, Severity, Verdict
from tbdiag.report.escape import visible

MAX_ENDS = 8
"""Certificates of one chain that are remembered."""
LONGEST = 400
"""Characters of a sentence that are remembered."""
MOVES = ("baseline.issuer-changed", "baseline.root-changed")
"""Findings that say that devices may be locked out by what changed."""


class End(msgspec.Struct, frozen=True, gc=False):
    """One certificate that a target depends on, and when it ends."""

    fingerprint: str
    name: str
    role: str
    """`end-entity`, `intermediate`, `root`, `v1-root`."""
    issuer: str
    """RFC 4514."""
    not_after: datetime


class Outcome(msgspec.Struct, frozen=True):
    """How one check of one target ended. Texts are safe to show on one line."""

    name: str
    address: str
    verdict: str
    """`ok`, `warning`, `failed` or `error`."""
    cause: str | None
    """The rule id of the root cause, else of the first warning; None when all is well."""
    message: str
    """One sentence: the root cause, the first warning, or what stands."""
    checked_at: datetime
    now: datetime
    """The moment that validity was judged at."""
    duration_ms: float
    ends: tuple[End, ...] = ()
    """The certification path where the chain is trusted, else what was presented; leaf first."""
    trusted: bool = False
    baseline: str = ""
    """What the server presented, as JSON of `tbdiag.baseline`; empty when the history knows it."""
    moved: bool = False
    """Whether issuer or root are not those of the history's baseline."""

    @property
    def first_end(self) -> End | None:
        """The certificate that ends first."""
        return min(self.ends, key=lambda end: end.not_after, default=None)

    @property
    def days_left(self) -> float | None:
        """Days until the first of them ends; negative once it has ended."""
        first = self.first_end
        return None if first is None else (first.not_after - self.now).total_seconds() / 86400


def outcome_of(name: str, report: Report, known: Baseline | None = None) -> Outcome:
    """The outcome of a report; `known` is what the history has seen of the server before."""
    ends, trusted = _ends(report)
    moved = any(f.rule in MOVES for f in report.findings)
    grave = _gravest(report)
    return Outcome(
        name=visible(name),
        address=visible(report.target.address),
        verdict=report.verdict.value,
        cause=grave.rule if grave else None,
        message=visible(_sentence(report, grave), LONGEST),
        checked_at=report.started_at,
        now=report.now,
        duration_ms=report.duration_ms,
        ends=ends,
        trusted=trusted,
        baseline=_news(report, ends, trusted, moved, known),
        moved=moved,
    )


def _news(
    report: Report, ends: tuple[End, ...], trusted: bool, moved: bool, known: Baseline | None
) -> str:
    """The baseline of this report where it is not the one that is known."""
    if not ends:
        return ""
    same = known and not moved and known.leaf.fingerprint_sha256 == ends[0].fingerprint
    if same and known and known.rooted >= trusted:
        return ""
    from tbdiag.baseline import baseline_of, encode_baseline

    try:
        return encode_baseline(baseline_of(report), indent=None).decode("ascii")
    except UsageError:
        return ""


def failed_outcome(name: str, address: str, text: str, now: datetime) -> Outcome:
    """The outcome of a check that tbdiag could not carry out; `text` says why."""
    return Outcome(
        name=visible(name),
        address=visible(address),
        verdict=Verdict.ERROR.value,
        cause="tbdiag.error",
        message=visible(text, LONGEST),
        checked_at=now,
        now=now,
        duration_ms=0.0,
    )


def _gravest(report: Report) -> Finding | None:
    warnings = (f for f in report.findings if f.severity is Severity.WARNING)
    return report.root_cause or next(warnings, None)


def _sentence(report: Report, grave: Finding | None) -> str:
    if grave:
        return grave.message
    bad = next((s for s in report.stages if s.status in ("error", "failed", "blocked")), None)
    if bad:
        return f"{bad.title}: {bad.reason or bad.summary}"
    ran = [s for s in report.stages if s.status == "ok"]
    return ran[-1].summary if ran else ""


def _ends(report: Report) -> tuple[tuple[End, ...], bool]:
    seen = {type(stage.evidence): stage.evidence for stage in report.stages}
    verified, shown = seen.get(VerifyEvidence), seen.get(HandshakeEvidence)
    if verified is not None and verified.trusted:
        return _listed(verified.deciding.path), True
    return _listed(shown.certificate_list if shown else ()), False


def _listed(certificates: Iterable[Certificate]) -> tuple[End, ...]:
    return tuple(_end_of(c) for c in list(certificates)[:MAX_ENDS])


@functools.lru_cache(maxsize=256)
def _end_of(certificate: Certificate) -> End:
    return End(
        fingerprint=certificate.fingerprint_sha256,
        name=visible(certificate.name, 100),
        role=certificate.role,
        issuer=visible(certificate.issuer, 200),
        not_after=certificate.not_after,
    )
