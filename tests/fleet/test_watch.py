"""The exporter's clock: each target on its own, and none that hangs delays another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tbdiag.fleet.history import History
from tbdiag.fleet.spec import Spec
from tbdiag.fleet.watch import Checked, Watcher, rows
from tbdiag.fleet.work import Settings, report_on
from tbdiag.model import Report
from tests.fleet.conftest import Write, end, outcome

TLS = Settings(only_tls=True)


class Bell:
    """Counts finished checks per target, and can be waited for."""

    def __init__(self) -> None:
        self.rung: dict[str, int] = {}
        self._changed = threading.Condition()

    def __call__(self, checked: Checked) -> None:
        with self._changed:
            name = checked.outcome.name
            self.rung[name] = self.rung.get(name, 0) + 1
            self._changed.notify_all()

    def wait(self, enough: Callable[[dict[str, int]], bool], seconds: float = 15) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: enough(self.rung), seconds), self.rung


def test_a_target_that_hangs_delays_no_other(write_fleet: Write) -> None:
    """While one check never ends, all others come round again and again."""
    release, bell = threading.Event(), Bell()

    def examine(spec: Spec, settings: Settings) -> Report:
        if spec.name == "plant-0":
            release.wait(30)
        return report_on(spec, settings)

    with Watcher(write_fleet(good=4), TLS, 0.2, None, bell, examine):
        bell.wait(lambda rung: all(rung.get(f"plant-{n}", 0) >= 3 for n in (1, 2, 3)))
        assert "plant-0" not in bell.rung
        release.set()
        bell.wait(lambda rung: "plant-0" in rung)


def test_one_target_is_never_checked_twice_at_once(write_fleet: Write) -> None:
    """Whoever asks for a target that is being checked gets that check's result."""
    entered, release, runs = threading.Event(), threading.Event(), []

    def examine(spec: Spec, settings: Settings) -> Report:
        runs.append(spec.name)
        entered.set()
        release.wait(15)
        return report_on(spec, settings)

    with Watcher(write_fleet(good=1), TLS, 60, None, examine=examine) as watcher:
        assert entered.wait(10)
        asked = [watcher.check_now("plant-0") for _ in range(5)]
        release.set()
        assert len({id(flight.result(10)) for flight in asked}) == 1
        assert runs == ["plant-0"]


def test_a_check_that_raises_is_an_outcome_and_the_clock_goes_on(write_fleet: Write) -> None:
    """An exception of ours is shown as such, and the target is checked again."""
    bell = Bell()

    def examine(spec: Spec, settings: Settings) -> Report:
        raise RuntimeError("a slip of ours")

    with Watcher(write_fleet(good=1), TLS, 0.05, None, bell, examine) as watcher:
        bell.wait(lambda rung: rung.get("plant-0", 0) >= 2)
        (row,) = rows(watcher)
    assert row.outcome is not None
    assert (row.outcome.verdict, row.outcome.cause) == ("error", "tbdiag.error")
    assert "a slip of ours" in row.outcome.message


def test_what_was_seen_is_in_the_history_and_back_after_a_restart(
    write_fleet: Write, tmp_path: Path
) -> None:
    """The last change of a target survives the watcher, and its baseline goes to the next one."""
    bell, fleet = Bell(), write_fleet(good=1)
    history = History(tmp_path / "h.sqlite")
    with Watcher(fleet, TLS, 60, history, bell):
        bell.wait(lambda rung: "plant-0" in rung)
    assert [c.what for c in history.changes()] == ["first-seen"]
    with Watcher(fleet, TLS, 60, history) as again:
        watched = again.targets["plant-0"]
        assert watched.last_change is not None
        assert watched.spec.baseline is not None
        assert watched.spec.baseline.rooted


def test_what_breaks_first_is_at_the_top(write_fleet: Write) -> None:
    """Failing targets come first, then those whose certificates end soonest."""
    watcher = Watcher(write_fleet(good=4), TLS, 60)
    made: list[Any] = [
        outcome("plant-0", ends=(end("a", "end-entity", 90),)),
        outcome("plant-1", ends=(end("b", "end-entity", 9),), verdict="warning"),
        outcome("plant-2", ends=(), verdict="failed"),
        None,
    ]
    for watched, known in zip(watcher.targets.values(), made, strict=True):
        watched.outcome = known
    assert [row.name for row in rows(watcher)] == ["plant-2", "plant-1", "plant-0", "plant-3"]
