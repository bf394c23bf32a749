"""The only loop over checks and rules.

Checks run in threads as soon as what they need is there; rules judge all evidence afterwards. The
guarantees of the runner: every stage of the transport is in the report, no failure is mute, our own
exceptions are status `error`, and nothing outlives its deadline.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from tbdiag import registry
from tbdiag.context import Case, Notify, Run
from tbdiag.deadline import Deadline
from tbdiag.errors import UsageError
from tbdiag.evidence import VerifyEvidence
from tbdiag.fact import Record, field, replace
from tbdiag.importing import ImportAhead
from tbdiag.judgement import (
    INTERRUPTED,
    client_verdicts,
    exit_code,
    judge,
    primary_of,
    verdict_of,
)
from tbdiag.model import (
    Options,
    Report,
    StageResult,
    Status,
    Target,
)
from tbdiag.redact import redact, secrets_of
from tbdiag.registry import Blocked, Check, NotApplicable

__all__ = ["Interrupted", "check", "exit_code", "judge", "primary_of", "report_on", "verdict_of"]

GRACE = 0.5
"""Seconds that a stage may overrun its deadline before it is abandoned as stuck."""
SATISFIED = (Status.OK, Status.WARNING, Status.NOT_APPLICABLE)

Observer = Callable[[str, StageResult | None], None]
"""Called with a stage id and None when it starts, and with its result when it ends."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a diagnosis; `report` has what was done until then."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report


class _Stages(Record):
    """The stages of one run: which are done, running or waiting."""

    run: Run
    checks: list[Check]
    observer: Observer
    limit: Deadline
    imports: ImportAhead | None = None
    """None: the stages run one after the other in the calling thread."""
    waits_for: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Stage id -> the stages of this run that must be done before it."""
    results: dict[str, StageResult] = field(default_factory=dict)
    running: dict[str, tuple[float, Deadline]] = field(default_factory=dict)
    finished: queue.SimpleQueue[tuple[str, StageResult | UsageError, Any]] = field(
        default_factory=queue.SimpleQueue
    )

    def complete(self) -> dict[str, StageResult]:
        """Run or settle every stage."""
        if self.imports is None:
            self._one_by_one()
            return self.results
        present = {check.id for check in self.checks}
        for check in self.checks:
            known = (s for s in (*check.requires, *check.after) if s in present)
            self.waits_for[check.id] = tuple(known)
        while len(self.results) < len(self.checks):
            while self._start_ready():
                pass
            if len(self.results) < len(self.checks):
                self._await_one()
        return self.results

    def _one_by_one(self) -> None:
        """Each stage in this thread, in the pipeline's order, in which none needs a later one."""
        for check in self.checks:
            result, evidence = self._settled_without_running(check), None
            if result is None:
                result, evidence = _timed(check, self._begun(check))
                del self.running[check.id]
            self._record(result, evidence)

    def leave_off(self) -> None:
        """Block what is running and what has not begun: the run was interrupted."""
        by = next(iter(self.running), None)
        for check in self.checks:
            if check.id not in self.results:
                blocked = self._blocked(check, by or check.id, INTERRUPTED)
                self.results[check.id] = blocked

    def _start_ready(self) -> bool:
        """Start or settle every stage whose predecessors are done; True if one was settled."""
        settled = False
        for check in self.checks:
            if check.id in self.results or check.id in self.running:
                continue
            if not all(stage in self.results for stage in self.waits_for[check.id]):
                continue
            result = self._settled_without_running(check)
            if result:
                self._record(result, None)
                settled = True
            else:
                self._start(check)
        return settled

    def _settled_without_running(self, check: Check) -> StageResult | None:
        reason = check.applies and check.applies(self.run.target, self.run.options)
        if reason:
            return StageResult(check.id, check.title, Status.NOT_APPLICABLE, reason, reason=reason)
        for stage_id in check.requires:
            waived = self.run.options.insecure and stage_id in check.waivable
            before = self.results.get(stage_id)
            if before is None or before.status in SATISFIED or waived:
                continue
            by = before.blocked_by or stage_id
            in_time = self.results[by].status not in SATISFIED
            return self._blocked(check, by, None if in_time else before.reason)
        if self.limit.passed:
            slowest = max(self.results.values(), key=lambda r: r.duration_ms, default=None)
            return self._blocked(
                check,
                slowest.id if slowest else check.id,
                f"the run's {self.run.options.timeout:g} s were used up",
            )
        return None

    def _blocked(self, check: Check, by: str, reason: str | None = None) -> StageResult:
        reason = reason or f"{by} did not pass"
        return StageResult(
            check.id, check.title, Status.BLOCKED, reason, blocked_by=by, reason=reason
        )

    def _start(self, check: Check) -> None:
        run = self._begun(check)
        threading.Thread(
            target=self._observe, args=(check, run), name=f"tbdiag {check.id}", daemon=True
        ).start()

    def _begun(self, check: Check) -> Run:
        """Note that a stage runs from now on, and until when it may; the run as it sees it."""
        deadline = self.limit.sooner(check.timeout)
        self.running[check.id] = (time.monotonic(), deadline)
        self.observer(check.id, None)
        return self.run.with_deadline(deadline)

    def _observe(self, check: Check, run: Run) -> None:
        assert self.imports is not None
        self.imports.wait(check.imports)
        try:
            result, evidence = _timed(check, run)
        except UsageError as error:
            self.finished.put((check.id, error, None))
            return
        self.finished.put((check.id, result, evidence))

    def _await_one(self) -> None:
        soonest = min(deadline.at for _, deadline in self.running.values()) + GRACE
        try:
            stage_id, result, evidence = self.finished.get(
                timeout=max(0.0, soonest - time.monotonic())
            )
        except queue.Empty:
            self._abandon_overdue()
            return
        if isinstance(result, UsageError):
            raise result
        if self.running.pop(stage_id, None):
            self._record(result, evidence)

    def _abandon_overdue(self) -> None:
        for check in self.checks:
            started, deadline = self.running.get(check.id, (0.0, None))
            if deadline is None or time.monotonic() < deadline.at + GRACE:
                continue
            del self.running[check.id]
            reason = "tbdiag's own stage did not stop at its deadline"
            elapsed = round((time.monotonic() - started) * 1000, 3)
            self._record(
                StageResult(
                    check.id, check.title, Status.ERROR, reason, duration_ms=elapsed, reason=reason
                ),
                None,
            )

    def _record(self, result: StageResult, evidence: Any) -> None:
        self.results[result.id] = result
        if evidence is not None:
            self.run._evidence[type(evidence)] = evidence
        self.observer(result.id, result)
        if self.imports:
            self._prepare_others(result.id)

    def _prepare_others(self, stage_id: str) -> None:
        """Let later stages begin what only needed this one; whether it helps is not our concern."""
        for check in self.checks:
            if check.prepare is None or stage_id not in check.prepare_after:
                continue
            before = [self.results.get(stage) for stage in check.prepare_after]
            if all(stage and stage.status in SATISFIED for stage in before):
                with contextlib.suppress(Exception):
                    check.prepare(self.run)


def _timed(check: Check, run: Run) -> tuple[StageResult, Any]:
    """Run one check and say how long it took; raises UsageError only."""
    started = time.monotonic()
    result, evidence = _observed(check, run)
    elapsed = (time.monotonic() - started) * 1000
    return replace(result, duration_ms=round(elapsed, 3)), evidence


def _observed(check: Check, run: Run) -> tuple[StageResult, Any]:
    """Run one check; whatever it raises is our own error, never the server's."""
    try:
        seen = check.observe(run)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - guarantee 3: our exception is status `error`
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__} in {where.name} (line {where.lineno})"
        return StageResult(check.id, check.title, Status.ERROR, reason, reason=reason), None
    if isinstance(seen, NotApplicable):
        status = Status.NOT_APPLICABLE
        return StageResult(check.id, check.title, status, seen.reason, reason=seen.reason), None
    if isinstance(seen, Blocked):
        result = StageResult(
            check.id,
            check.title,
            Status.BLOCKED,
            seen.reason,
            blocked_by=seen.by,
            reason=seen.reason,
        )
        return result, None
    status = Status.OK if seen.passed else Status.FAILED
    result = StageResult(check.id, check.title, status, seen.summary, evidence=seen.evidence)
    return result, seen.evidence


def check(
    target: Target,
    options: Options | None = None,
    *,
    observer: Observer | None = None,
    notify: Notify | None = None,
    inline: bool = False,
) -> Report:
    """Diagnose one endpoint: run every stage of its transport and judge what they saw.

    Never raises for what the network, the server or a CA file does: that is what the report says.
    Raises UsageError when `target` or `options` cannot be used (an unknown client stack, …).
    Raises Interrupted, with the report of what was done, on Ctrl-C. `observer` hears of stages as
    they start and end, from the calling thread. With `inline` the
    stages run one after the other in that thread: cheaper where many targets are checked at once,
    but a stage that ignores its deadline is waited for.
    """
    options = options or Options()
    started_at = datetime.now(UTC)
    now = options.at or started_at
    if now.tzinfo is None:
        raise UsageError("options.at must carry a time zone: datetime(…, tzinfo=UTC)")
    started = time.monotonic()
    registry.load("checks", target.transport.value)
    limit = Deadline.after(options.timeout)
    run = Run(target, options, now, limit, notify=notify or (lambda _text: None))
    run._evidence[Target] = target
    checks = registry.ordered_checks(target.transport.value)
    imports = None if inline else _import_ahead(checks, target, options)
    stages = _Stages(run, checks, observer or (lambda *_: None), limit, imports)
    interrupted = False
    try:
        stages.complete()
    except KeyboardInterrupt:
        interrupted = True
        stages.leave_off()
    finally:
        run.close()
    case = Case(target, options, now, dict(run._evidence))
    duration = round((time.monotonic() - started) * 1000, 3)
    report = report_on(case, [stages.results[c.id] for c in checks], started_at, duration)
    if interrupted:
        raise Interrupted(report)
    return report


def report_on(
    case: Case, stages: list[StageResult], started_at: datetime, duration_ms: float
) -> Report:
    """Judge what was observed and put it into a report that holds no secret of the target."""
    judged, findings = judge(case, stages)
    verified = case.get(VerifyEvidence)
    report = Report(
        target=case.target,
        options=case.options,
        started_at=started_at,
        now=case.now,
        duration_ms=duration_ms,
        verdict=verdict_of(judged, findings),
        primary=primary_of(findings),
        stages=judged,
        findings=findings,
        clients=client_verdicts(verified.decisions if verified else ()),
    )
    return redact(report, secrets_of(case.target, case.options))


def _import_ahead(checks: Iterable[Check], target: Target, options: Options) -> ImportAhead:
    applying = [c for c in checks if not (c.applies and c.applies(target, options))]
    names = [name for c in applying for name in c.imports]
    return ImportAhead(names, lambda: registry.load("rules", target.transport.value))
