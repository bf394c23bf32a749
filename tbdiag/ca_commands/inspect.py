"""`tbdiag ca inspect`: what is in a CA file, how its certificates hang together, what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime

from tbdiag import pipeline
from tbdiag.ca_commands._paths import MAX_PATHS, paths_of
from tbdiag.checks.ca import READING_SECONDS, load_source, summary
from tbdiag.context import Case, Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import CaEvidence, CaSource
from tbdiag.model import CaReport, Options, StageResult, Status, Target
from tbdiag.protocol.ca_file import MAX_INSPECTED


def inspect(source: str, at: datetime | None = None, options: Options | None = None) -> CaReport:
    """What the CA file `source` (a path, a URL, `-` or `public`) holds, judged at `at` or now.

    Never raises for what the file holds; UsageError for a URL that cannot be fetched.
    """
    options = options or Options()
    now = at or options.at or datetime.now(UTC)
    target = Target("", cafile=(source,))
    run = Run(target, options, now, Deadline.after(READING_SECONDS))
    return report_on("inspect", load_source(source, run, MAX_INSPECTED), now, options)


def report_on(
    command: str,
    source: CaSource,
    now: datetime,
    options: Options,
    target: Target | None = None,
) -> CaReport:
    """The report of one CA source that has been read: its certificates, paths and findings."""
    evidence = CaEvidence((source,))
    status = Status.OK if source.certificates else Status.FAILED
    stage = StageResult("ca.load", "CA chain", status, summary(evidence), evidence=evidence)
    target = target or Target("", cafile=(source.given,))
    case = Case(target, options, now, {CaEvidence: evidence})
    stages, findings = pipeline.judge(case, [stage])
    paths = tuple(paths_of(source.certificates))
    return CaReport(
        command=command,
        source=source.location,
        now=now,
        verdict=pipeline.verdict_of(stages, findings),
        primary=pipeline.primary_of(findings),
        findings=findings,
        certificates=source.certificates,
        paths=paths,
        format=source.format,
        notes=_notes(source, len(paths)),
    )


def _notes(source: CaSource, paths: int) -> tuple[str, ...]:
    notes = []
    if source.truncated:
        notes.append(f"{source.truncated:,} certificates beyond the limit were not read")
    if paths >= MAX_PATHS:
        notes.append(f"only the first {MAX_PATHS} paths are listed")
    return tuple(notes)
