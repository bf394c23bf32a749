"""Judging what was observed: findings, the primary cause, the verdict, the exit code. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tbdiag import registry
from tbdiag.context import Case
from tbdiag.evidence import ClientDecision
from tbdiag.fact import replace
from tbdiag.model import ClientVerdict, Finding, Severity, StageResult, Status, Verdict

INTERRUPTED = "interrupted"
"""The reason of stages that Ctrl-C left out."""


def judge(
    case: Case, stages: list[StageResult]
) -> tuple[tuple[StageResult, ...], tuple[Finding, ...]]:
    """Apply every rule to the evidence; returns the stages with their final status, and findings.

    Pure. Findings come in pipeline order, errors before warnings within a stage. A failed stage
    without an error finding gets `tbdiag.unexplained` with its raw facts.
    """
    registry.load("rules", case.target.transport.value)
    order = {stage.id: index for index, stage in enumerate(stages)}
    found = list(all_findings(case))
    explained = {f.stage for f in found if f.severity is Severity.ERROR}
    found += [
        unexplained(stage)
        for stage in stages
        if stage.status is Status.FAILED and stage.id not in explained
    ]
    found += out_of_time(stages)
    found = [f for f in found if f.rule not in case.options.ignore]
    rank = {severity: index for index, severity in enumerate(Severity)}
    found.sort(key=lambda f: (order.get(f.stage, len(order)), rank[f.severity]))
    return tuple(_with_findings(stage, found) for stage in stages), tuple(found)


def all_findings(case: Case) -> Iterable[Finding]:
    """What every rule finds on `case`, in the order of the rules."""
    for rule in registry.RULES.values():
        yield from rule.findings(case)


def unexplained(stage: StageResult) -> Finding:
    """The finding for a failed stage that no rule explains: the raw facts, nothing invented."""
    return Finding(
        rule="tbdiag.unexplained",
        stage=stage.id,
        severity=Severity.ERROR,
        message=f"{stage.title} failed: {stage.summary}",
        cause="No rule of tbdiag explains these facts yet.",
        fix="Send the JSON report (tbdiag check … -f json; it holds no secrets) to the project.",
        subject=stage.id,
    )


def out_of_time(stages: list[StageResult]) -> Iterable[Finding]:
    """The finding for stages that were left out though nothing failed: time ran out before them."""
    ends = (Status.FAILED, Status.ERROR)
    left_out = [s for s in stages if s.status is Status.BLOCKED]
    if not left_out or any(s.status in ends for s in stages):
        return
    if any(s.reason == INTERRUPTED for s in left_out):
        return
    first = left_out[0]
    yield Finding(
        rule="tbdiag.out-of-time",
        stage=first.id,
        severity=Severity.ERROR,
        message=f"{first.title} and what follows it did not run: {first.reason}.",
        cause=f"The stages before it were too slow, {first.blocked_by} most of all.",
        fix="Run it again with a larger --timeout, for example --timeout 60.",
        subject=first.id,
    )


def _with_findings(stage: StageResult, found: list[Finding]) -> StageResult:
    severities = {f.severity for f in found if f.stage == stage.id}
    if stage.status is Status.OK and Severity.ERROR in severities:
        return replace(stage, status=Status.FAILED)
    if stage.status is Status.OK and Severity.WARNING in severities:
        return replace(stage, status=Status.WARNING)
    return stage


def primary_of(findings: Iterable[Finding]) -> str | None:
    """The rule id of the root cause: the first error that is not a consequence of another."""
    errors = [f for f in findings if f.severity is Severity.ERROR]
    present = {f.rule for f in errors}
    for finding in errors:
        rule = registry.RULES.get(finding.rule)
        if not (rule and present.intersection(rule.consequence_of)):
            return finding.rule
    return errors[0].rule if errors else None


def verdict_of(stages: Iterable[StageResult], findings: Iterable[Finding]) -> Verdict:
    """The verdict of a report: a failed stage is never OK, whatever findings were ignored."""
    statuses = {stage.status for stage in stages}
    severities = {f.severity for f in findings}
    if Status.ERROR in statuses:
        return Verdict.ERROR
    if {Status.FAILED, Status.BLOCKED} & statuses or Severity.ERROR in severities:
        return Verdict.FAILED
    if Severity.WARNING in severities:
        return Verdict.WARNING
    return Verdict.OK


def exit_code(verdict: Verdict, *, strict: bool = False) -> int:
    """The process exit code: 0 no error finding, 1 an error (or a warning if strict), 3 ours."""
    if verdict is Verdict.ERROR:
        return 3
    if verdict is Verdict.FAILED or (strict and verdict is Verdict.WARNING):
        return 1
    return 0


def client_verdicts(decisions: Iterable[ClientDecision]) -> tuple[ClientVerdict, ...]:
    """The decisions of the client stacks as a report carries them."""
    return tuple(
        ClientVerdict(d.client, d.verdict, d.reason, d.stands_for, d.expires) for d in decisions
    )
