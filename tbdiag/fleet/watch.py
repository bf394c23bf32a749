"""Watch a fleet: every target again and again, each on its own clock.

One thread keeps the clock. Every check runs in a thread of its own, one at a time per target, so a
target that hangs delays nobody but itself.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

from tbdiag.errors import UsageError
from tbdiag.fact import Fact, Record, field, replace
from tbdiag.fleet.config import Fleet
from tbdiag.fleet.history import Change, History
from tbdiag.fleet.outcome import Outcome, failed_outcome, outcome_of
from tbdiag.fleet.spec import Spec
from tbdiag.fleet.threads import DaemonThreads
from tbdiag.fleet.work import Settings, device_of, report_on
from tbdiag.model import Report

JITTER = 0.1
"""Share of the interval by which a check comes earlier or later, so that none march in step."""
STARTS_PER_SECOND = 20.0
"""How fast the first round of checks is begun."""
MOST_THREADS = 256

Examine = Callable[[Spec, Settings], Report]


class Checked(Fact, frozen=True):
    """One finished check; `report` None means that tbdiag could not carry it out."""

    outcome: Outcome
    report: Report | None = None


class Watched(Record):
    """One target and what is known about it."""

    spec: Spec
    outcome: Outcome | None = None
    last_change: Change | None = None
    flight: Future[Checked] | None = None
    """The check that is under way."""


class Watcher:
    """Checks every target of a fleet each `interval` seconds until it is left.

    Use it as a context manager. `seen` is called with every finished check, from its thread.
    """

    def __init__(
        self,
        fleet: Fleet,
        settings: Settings,
        interval: float,
        history: History | None = None,
        seen: Callable[[Checked], None] = lambda _checked: None,
        examine: Examine = report_on,
    ) -> None:
        self.interval = interval
        self.targets = {spec.name: Watched(spec) for spec in fleet.specs}
        self._settings = settings
        self._history = history
        self._seen = seen
        self._examine = examine
        self._executor = DaemonThreads(min(len(fleet.specs), MOST_THREADS), "tbdiag watch")
        self._changed = threading.Condition()
        self._devices: dict[Hashable, threading.Lock] = {}
        self._due: list[tuple[float, str]] = []
        self._stopped = False
        self._clock = threading.Thread(target=self._keep_time, name="tbdiag clock", daemon=True)

    def __enter__(self) -> Watcher:
        self._remember()
        now = time.monotonic()
        pause = min(1 / STARTS_PER_SECOND, self.interval / max(len(self.targets), 1))
        self._due = [(now + pause * number, name) for number, name in enumerate(self.targets)]
        self._clock.start()
        return self

    def _remember(self) -> None:
        """Take the last change and the baseline of every target from the history."""
        if self._history is None:
            return
        changes, baselines = self._history.last_changes(), self._history.baselines()
        for name, watched in self.targets.items():
            watched.last_change = changes.get(name)
            watched.spec = replace(watched.spec, baseline=baselines.get(name))

    def __exit__(self, *_error: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._clock.join()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _keep_time(self) -> None:
        with self._changed:
            while not self._stopped:
                if not self._due:
                    self._changed.wait()
                elif (left := self._due[0][0] - time.monotonic()) > 0:
                    self._changed.wait(left)
                else:
                    self._start(self.targets[heapq.heappop(self._due)[1]], scheduled=True)

    def check_now(self, name: str) -> Future[Checked]:
        """The check of one target that is under way, or a new one; KeyError for no such target."""
        watched = self.targets[name]
        with self._changed:
            return self._start(watched, scheduled=False)

    def _start(self, watched: Watched, *, scheduled: bool) -> Future[Checked]:
        flight = watched.flight
        if flight is None:
            flight = watched.flight = self._executor.submit(self._check, watched)
        if scheduled:
            flight.add_done_callback(lambda _done: self._again(watched.spec.name))
        return flight

    def _again(self, name: str) -> None:
        pause = self.interval * random.uniform(1 - JITTER, 1 + JITTER)
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + pause, name))
            self._changed.notify_all()

    def _check(self, watched: Watched) -> Checked:
        try:
            checked = self._carried_out(watched)
            watched.outcome = checked.outcome
            self._record(watched, checked.outcome)
            self._seen(checked)
            return checked
        finally:
            with self._changed:
                watched.flight = None

    def _carried_out(self, watched: Watched) -> Checked:
        spec = watched.spec
        try:
            with self._device(spec):
                report = self._examine(spec, self._settings)
        except UsageError as error:
            text = f"cannot be checked: {error}"
        except Exception as error:  # noqa: BLE001 - the exporter goes on; the outcome says why
            text = f"tbdiag could not check it: {type(error).__name__}: {error}"
        else:
            return Checked(outcome_of(spec.name, report, spec.baseline), report)
        return Checked(failed_outcome(spec.name, spec.target.address, text, datetime.now(UTC)))

    def _device(self, spec: Spec) -> AbstractContextManager[Any]:
        """ThingsBoard keeps one session per device: targets with the same token take turns."""
        device = device_of(spec, self._settings)
        if device is None:
            return nullcontext()
        with self._changed:
            return self._devices.setdefault(device, threading.Lock())

    def _record(self, watched: Watched, outcome: Outcome) -> None:
        if self._history is None:
            return
        try:
            for change in self._history.record([outcome]):
                watched.last_change = change
            if outcome.baseline:
                known = self._history.baselines([outcome.name]).get(outcome.name)
                watched.spec = replace(watched.spec, baseline=known)
        except UsageError:
            return  # the disk is full or gone: what is seen now is shown all the same


class Row(Fact, frozen=True):
    """One target as the status page and the metrics show it."""

    name: str
    address: str
    outcome: Outcome | None
    last_change: Change | None
    order: tuple[int, float, str] = field(default=(0, 0.0, ""))


def rows(watcher: Watcher) -> list[Row]:
    """Every target, what breaks first at the top: failing ones, then by days left."""
    found = []
    for name, watched in watcher.targets.items():
        outcome = watched.outcome
        left = outcome.days_left if outcome else None
        healthy = outcome is None or outcome.verdict in ("ok", "warning")
        order = (int(healthy), float("inf") if left is None else left, name)
        address = watched.spec.target.address
        found.append(Row(name, address, outcome, watched.last_change, order))
    return sorted(found, key=lambda row: row.order)
