"""The outputs of a whole fleet, made from outcomes and from the pieces that reports left.

Every format is a function that yields text: nothing has to be in memory at once but outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

import msgspec

from tbdiag import __version__
from tbdiag.fact import Fact
from tbdiag.fleet.outcome import Outcome
from tbdiag.fleet.summary import Cause, Expiry, Summary, causes, expiries, some
from tbdiag.fleet.work import Result
from tbdiag.report.document import rfc3339
from tbdiag.report.escape import json_safe

Results = Callable[[], Iterable[Result]]
"""Gives the results in the order of the fleet file; may be called more than once."""


class FleetReport(Fact, frozen=True):
    """What is known about a run when its results are put out."""

    results: Results
    summary: Summary
    started_at: datetime
    duration_ms: float
    expected: int
    """Targets in the fleet file; more than were checked when the run was interrupted."""
    strict: bool = False
    width: int = 100
    color: bool = False
    unicode: bool = True
    verbose: bool = False

    def outcomes(self) -> list[Outcome]:
        """Every outcome, in order."""
        return [result.outcome for result in self.results()]


def as_jsonl(run: FleetReport) -> Iterator[str]:
    """One JSON report per line."""
    for result in run.results():
        yield document_line(result) + "\n"


def as_json(run: FleetReport) -> Iterator[str]:
    """One JSON document: the summary, and the report of every target."""
    outcomes = run.outcomes()
    head = {
        "schema_version": 1,
        "tool": {"name": "tbdiag", "version": __version__},
        "started_at": rfc3339(run.started_at),
        "duration_ms": run.duration_ms,
        "verdict": run.summary.verdict.value,
        "complete": run.summary.total == run.expected,
        "counts": {"targets": run.expected, **run.summary.counts},
        "causes": [_cause(c) for c in causes(outcomes)],
        "expiries": [_expiry(e) for e in expiries(outcomes)],
    }
    yield json_safe(msgspec.json.encode(head).decode())[:-1] + ',"targets":[\n'
    comma = ""
    for result in run.results():
        yield comma + document_line(result)
        comma = ",\n"
    yield "\n]}\n"


def document_line(result: Result) -> str:
    """The JSON report of one target, or a short one where tbdiag could not check it."""
    if fragment := result.fragments.get("jsonl"):
        return fragment.rstrip("\n")
    outcome = result.outcome
    short = {
        "schema_version": 1,
        "tool": {"name": "tbdiag", "version": __version__},
        "target": {"label": outcome.name},
        "started_at": rfc3339(outcome.checked_at),
        "verdict": outcome.verdict,
        "primary": outcome.cause,
        "error": outcome.message,
        "stages": [],
        "findings": [],
        "clients": [],
    }
    return json_safe(msgspec.json.encode(short).decode())


def _cause(cause: Cause) -> dict[str, object]:
    return {
        "rule": cause.rule,
        "verdict": cause.verdict,
        "message": cause.message,
        "targets": cause.targets,
    }


def _expiry(expiry: Expiry) -> dict[str, object]:
    return {
        "not_after": rfc3339(expiry.not_after),
        "certificate": expiry.certificate,
        "role": expiry.role,
        "issuer": expiry.issuer,
        "targets": expiry.targets,
    }


def as_prometheus(run: FleetReport) -> Iterator[str]:
    """Metrics of every target, for node_exporter's textfile collector."""
    from tbdiag.fleet.metrics import merged, unchecked

    def pages() -> Iterator[str]:
        for result in run.results():
            yield result.fragments.get("prometheus") or unchecked(result.outcome)

    yield from merged(pages)


def as_nagios(run: FleetReport) -> Iterator[str]:
    """One plugin result for the whole fleet: the counts, the worst causes, what ends first."""
    from tbdiag.report.as_nagios import WORDS, nagios_unknown

    if not run.summary.total:
        yield nagios_unknown("no target was checked")
        return
    outcomes, counts = run.outcomes(), run.summary.counts
    word = WORDS[nagios_code(run.summary, strict=run.strict)]
    first = next(iter(expiries(outcomes)), None)
    data = [f"'{v}'={counts[v]};;;0;{run.expected}" for v in ("ok", "warning", "failed", "error")]
    if first:
        left = (first.not_after - run.started_at).total_seconds() / 86400
        data.append(f"'days_left'={left:.2f};30:;0:;;")
    yield f"TBDIAG {word} - {run.summary.in_words()} | {' '.join(data)}\n"
    for cause in causes(outcomes)[:10]:
        yield (
            _plain(f"{cause.verdict}: {cause.rule}: {some(cause.targets)}: {cause.message}")[:350]
            + "\n"
        )


def _plain(text: str) -> str:
    """Text without the sign that begins performance data, or markup of a web interface."""
    return text.replace("|", "\u00a6").replace("<", "\u2039")


def nagios_code(summary: Summary, *, strict: bool) -> int:
    """The plugin's exit code: CRITICAL for a failed target, else UNKNOWN, WARNING or OK."""
    counts = summary.counts
    if counts["failed"] or (strict and counts["warning"]):
        return 2
    if counts["error"] or not summary.total:
        return 3
    return 1 if counts["warning"] else 0


def as_junit(run: FleetReport) -> Iterator[str]:
    """JUnit XML: a test suite per target, a test case per stage."""
    from tbdiag.fleet.junit import merged

    yield from merged(run)


def as_markdown(run: FleetReport) -> Iterator[str]:
    """Markdown for a merge request or a ticket: the counts, the causes, what ends first."""
    outcomes = run.outcomes()
    yield f"## tbdiag: {run.summary.in_words()}\n\n"
    bad = [o for o in outcomes if o.verdict != "ok"]
    if bad:
        yield "| Result | Target | Cause | What we saw |\n| --- | --- | --- | --- |\n"
        yield from (_row(o.verdict, o.name, o.cause or "", o.message) for o in bad)
        yield "\n"
    yield "| Ends | Days | Certificate | Issuer | Targets |\n| --- | ---: | --- | --- | --- |\n"
    for e in expiries(outcomes)[:20]:
        days = (e.not_after - run.started_at).days
        yield _row(e.day.isoformat(), f"{days:,}", e.certificate, e.issuer, some(e.targets, 5))


def _row(*cells: str) -> str:
    return "| " + " | ".join(_markdown(cell) for cell in cells) + " |\n"


def _markdown(text: str) -> str:
    """Text that Markdown and HTML take for nothing but text."""
    escaped = "".join(f"\\{c}" if c in "\\`*_{}[]()#+!|~" else c for c in text)
    return (
        escaped.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("@", "&#64;")
    )


def as_table(run: FleetReport) -> Iterator[str]:
    """Tables for people: the targets, the root causes, what ends first."""
    from tbdiag.fleet.table import as_table as tables

    yield from tables(run)


FORMATS: dict[str, Callable[[FleetReport], Iterator[str]]] = {
    "table": as_table,
    "json": as_json,
    "jsonl": as_jsonl,
    "prometheus": as_prometheus,
    "junit": as_junit,
    "nagios": as_nagios,
    "markdown": as_markdown,
}
"""Every format of a fleet."""
