"""The runner's guarantees, with checks and rules made for the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tbdiag import Options, Report, Severity, Status, Target, Verdict, check, pipeline, registry
from tbdiag.context import Run
from tbdiag.errors import UsageError
from tbdiag.model import Credentials, Secret
from tbdiag.registry import Fault, NotApplicable, Observation

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass(frozen=True)
class First:
    text: str = "first"


@dataclass(frozen=True)
class Second:
    text: str = "second"


@pytest.fixture
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with nothing in it, and nothing loaded into it."""
    monkeypatch.setattr(registry, "CHECKS", {})
    monkeypatch.setattr(registry, "RULES", {})
    monkeypatch.setattr(registry, "load", lambda *_: None)


pytestmark = pytest.mark.usefixtures("empty_registry")


def stage(stage_id: str, order: int, observe: Callable[[Run], Any], **more: Any) -> None:
    registry.check(stage_id, title=stage_id, order=order, **more)(observe)


def passed(evidence: Any) -> Callable[[Run], Observation[Any]]:
    return lambda _run: Observation(evidence, True, "seen")


def failed(evidence: Any) -> Callable[[Run], Observation[Any]]:
    return lambda _run: Observation(evidence, False, "it broke")


def run(**options: Any) -> Report:
    return check(Target("device.test"), Options(at=NOW, **options))


def test_every_stage_is_reported_and_names_what_blocked_it() -> None:
    """A stage behind a failed one is blocked by the first failure, through any number of stages."""
    stage("a", 1, failed(First()))
    stage("b", 2, passed(Second()), requires=("a",))
    stage("c", 3, passed(Second()), requires=("b",))
    report = run()
    assert [(s.id, s.status, s.blocked_by) for s in report.stages] == [
        ("a", Status.FAILED, None),
        ("b", Status.BLOCKED, "a"),
        ("c", Status.BLOCKED, "a"),
    ]


def test_a_stage_that_does_not_apply_says_why_and_blocks_nothing() -> None:
    """not-applicable carries its reason and satisfies those that require it."""
    stage("a", 1, passed(First()), applies=lambda _target, _options: "nothing to see")
    stage("b", 2, lambda _run: NotApplicable("later found"), requires=("a",))
    stage("c", 3, passed(Second()), requires=("b",))
    report = run()
    assert [(s.status, s.reason) for s in report.stages] == [
        (Status.NOT_APPLICABLE, "nothing to see"),
        (Status.NOT_APPLICABLE, "later found"),
        (Status.OK, None),
    ]


def test_not_applicable_is_asked_before_blocked() -> None:
    """A stage that does not apply is not called blocked because an earlier one failed."""
    stage("a", 1, failed(First()))
    stage("b", 2, passed(Second()), requires=("a",), applies=lambda *_: "not here")
    assert run().stage("b").status is Status.NOT_APPLICABLE


def test_no_failure_is_mute() -> None:
    """A failed check that no rule explains becomes tbdiag.unexplained with its raw facts."""
    stage("a", 1, failed(First()))
    report = run()
    assert (report.primary, report.verdict) == ("tbdiag.unexplained", Verdict.FAILED)
    assert "it broke" in report.findings[0].message


def test_an_exception_of_ours_is_an_error_and_never_the_servers_fault() -> None:
    """A check that raises gives status error, verdict error, exit code 3 and no finding."""

    def broken(_run: Run) -> Observation[First]:
        raise RuntimeError("a slip of ours")

    stage("a", 1, broken)
    report = run()
    assert (report.stage("a").status, report.findings) == (Status.ERROR, ())
    assert pipeline.exit_code(report.verdict) == 3


def test_a_usage_error_in_a_check_reaches_the_caller() -> None:
    """Bad input found late is still the caller's UsageError."""

    def refuses(_run: Run) -> Observation[First]:
        raise UsageError("no such client")

    stage("a", 1, refuses)
    with pytest.raises(UsageError, match="no such client"):
        run()


def test_a_stage_that_never_ends_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that ignores its deadline cannot hold the run up."""
    monkeypatch.setattr(pipeline, "GRACE", 0.05)
    release = threading.Event()

    def hangs(_run: Run) -> Observation[First]:
        release.wait(30)
        return Observation(First(), True, "too late")

    stage("a", 1, hangs, timeout=0.05)
    report = run()
    release.set()
    assert report.stage("a").status is Status.ERROR
    assert report.duration_ms < 5000


def test_when_the_runs_time_is_used_up_the_rest_is_blocked() -> None:
    """No stage starts after the deadline of the run; it is blocked by the one that took longest."""

    def slow(run: Run) -> Observation[First]:
        threading.Event().wait(run.deadline.remaining())
        return Observation(First(), True, "slow")

    stage("a", 1, slow)
    stage("b", 2, passed(Second()), requires=("a",))
    blocked = run(timeout=0.05).stage("b")
    assert (blocked.status, blocked.blocked_by) == (Status.BLOCKED, "a")
    assert "0.05 s" in (blocked.reason or "")


def test_running_out_of_time_is_never_ok() -> None:
    """A report whose stages passed but were not all run is failed, with tbdiag.out-of-time."""

    def slow(run: Run) -> Observation[First]:
        threading.Event().wait(run.deadline.remaining())
        return Observation(First(), True, "slow")

    stage("a", 1, slow)
    stage("b", 2, passed(Second()), requires=("a",))
    report = run(timeout=0.05)
    assert (report.verdict, report.primary) == (Verdict.FAILED, "tbdiag.out-of-time")


def test_independent_stages_run_at_the_same_time() -> None:
    """Two stages without a requirement between them meet at a barrier."""
    barrier = threading.Barrier(2, timeout=10)

    def meets(evidence: Any) -> Callable[[Run], Observation[Any]]:
        def observe(_run: Run) -> Observation[Any]:
            barrier.wait()
            return Observation(evidence, True, "met")

        return observe

    stage("a", 1, meets(First()))
    stage("b", 2, meets(Second()))
    assert [s.status for s in run().stages] == [Status.OK, Status.OK]


def rule(rule_id: str, stage_id: str, severity: Severity = Severity.ERROR, **more: Any) -> None:
    def judge(_case: object, _evidence: object) -> Iterator[Fault]:
        yield Fault("saw", "cause", "fix")

    registry.rule(rule_id, stage=stage_id, needs=First, severity=severity, **more)(judge)


def test_primary_is_the_first_error_that_is_no_consequence() -> None:
    """A consequence that comes earlier in the pipeline is not the root cause."""
    stage("a", 1, failed(First()))
    rule("a.symptom", "a", consequence_of=("a.cause",))
    rule("a.warning", "a", Severity.WARNING)
    rule("a.cause", "a")
    assert run().primary == "a.cause"


def test_a_warning_colours_its_stage_and_an_error_fails_it() -> None:
    """The status of a stage that passed follows its worst finding."""
    stage("a", 1, passed(First()))
    stage("b", 2, passed(Second()))
    rule("a.warning", "a", Severity.WARNING)
    rule("b.error", "b")
    report = run()
    assert [s.status for s in report.stages] == [Status.WARNING, Status.FAILED]


def test_ignoring_a_rule_never_turns_a_failure_into_ok() -> None:
    """--ignore hides a finding; the failed stage still fails the report."""
    stage("a", 1, failed(First()))
    rule("a.cause", "a")
    report = run(ignore=frozenset({"a.cause"}))
    assert (report.findings, report.verdict) == ((), Verdict.FAILED)


@pytest.mark.parametrize(
    ("verdict", "strict", "code"),
    [
        (Verdict.OK, True, 0),
        (Verdict.WARNING, False, 0),
        (Verdict.WARNING, True, 1),
        (Verdict.FAILED, False, 1),
        (Verdict.ERROR, False, 3),
    ],
)
def test_exit_codes(verdict: Verdict, strict: bool, code: int) -> None:
    """0 means no error finding, 1 an error or a warning under --strict, 3 tbdiag itself."""
    assert pipeline.exit_code(verdict, strict=strict) == code


def test_a_token_that_a_server_echoes_is_masked_everywhere() -> None:
    """No text or bytes of a report hold the token, raw or percent-encoded."""

    @dataclass(frozen=True)
    class Echo:
        text: str
        raw: bytes

    seen = Echo("hello s3cret token", b"\xffs3cret token\x00 s3cret%20token")
    stage("a", 1, failed(seen))
    target = Target("device.test", credentials=Credentials(token=Secret("s3cret token")))
    report = check(target, Options(at=NOW))
    assert "s3cret" not in repr(report)
    assert report.stage("a").evidence == Echo("hello ***", b"\xff***\x00 ***")


def test_what_was_kept_is_closed_newest_first() -> None:
    """Connections kept for later stages are closed when the run ends."""
    closed: list[str] = []

    def keeps(run: Run) -> Observation[First]:
        run.keep(First(), lambda: closed.append("first"))
        run.keep(Second(), lambda: closed.append("second"))
        return Observation(First(), True, "kept")

    stage("a", 1, keeps)
    run()
    assert closed == ["second", "first"]


def test_a_naive_moment_is_refused() -> None:
    """A moment without a time zone is a UsageError, not a guess."""
    with pytest.raises(UsageError, match="time zone"):
        check(Target("device.test"), Options(at=datetime(2026, 1, 1)))  # noqa: DTZ001
