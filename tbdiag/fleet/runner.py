"""The one loop over targets: as many at once as allowed, results as they finish, none lost."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Executor, Future
from datetime import UTC, datetime

from tbdiag.errors import InternalError, UsageError
from tbdiag.fact import Record, field
from tbdiag.fleet.outcome import failed_outcome
from tbdiag.fleet.spec import Spec
from tbdiag.fleet.work import Result, Settings, check_spec, device_of

GATHER_SECONDS = 0.02
"""How long results are gathered before they are passed on together."""
ATTEMPTS = 3
"""How often a target is handed out when workers die under it."""

Work = Callable[[Spec, Settings], Result]


class _Flights(Record):
    """The checks that are under way on an executor."""

    executor: Executor
    settings: Settings
    work: Work
    landed: queue.SimpleQueue[tuple[Spec, int, Future[Result]]] = field(
        default_factory=queue.SimpleQueue
    )
    aloft: int = 0
    busy: set[Hashable] = field(default_factory=set)
    """Devices that are being checked."""
    parked: dict[Hashable, deque[Spec]] = field(default_factory=dict)
    """Targets that wait because their device is busy."""

    def start(self, spec: Spec, attempt: int = 1) -> None:
        """Hand a target out, or park it while its device is being checked under another name."""
        device = device_of(spec, self.settings)
        if device is not None and device in self.busy:
            self.parked.setdefault(device, deque()).append(spec)
            return
        self.busy.add(device)
        try:
            future = self.executor.submit(self.work, spec, self.settings)
        except RuntimeError as error:
            raise InternalError(f"the executor takes no more checks: {error}") from error
        self.aloft += 1
        future.add_done_callback(lambda done: self.landed.put((spec, attempt, done)))

    def landings(self) -> Iterator[Result]:
        """Wait for a result, and give it together with all that land shortly after it.

        A loop that woke up for every single one would take the processor from the checks.
        """
        first = self.landed.get()
        if self.aloft > 1:
            time.sleep(GATHER_SECONDS)
        yield from self._result(*first)
        while not self.landed.empty():
            yield from self._result(*self.landed.get())

    def _result(self, spec: Spec, attempt: int, future: Future[Result]) -> Iterator[Result]:
        """The result of a check that landed; none when it was lost and is on its way again."""
        self.aloft -= 1
        device = device_of(spec, self.settings)
        self.busy.discard(device)
        yield from self._judged(spec, attempt, future)
        if device not in self.busy and self.parked.get(device):
            self.start(self.parked[device].popleft())

    def _judged(self, spec: Spec, attempt: int, future: Future[Result]) -> Iterator[Result]:
        error = None if future.cancelled() else future.exception()
        if error is None and not future.cancelled():
            yield future.result()
            return
        if attempt < ATTEMPTS and not isinstance(error, UsageError):
            self.start(spec, attempt + 1)
            return
        name = type(error).__name__ if error else "it was cancelled"
        text = f"tbdiag could not check it: {name}" + (f": {error}" if str(error or "") else "")
        outcome = failed_outcome(spec.name, spec.target.address, text, datetime.now(UTC))
        yield Result(spec.key, outcome)


def finished(
    specs: Iterable[Spec],
    settings: Settings,
    executor: Executor,
    at_once: int,
    work: Work = check_spec,
) -> Iterator[Result | None]:
    """Check every target on `executor`, at most `at_once` at a time; yields results as they finish.

    Yields None where waiting begins: time to write down what has finished.
    Any `concurrent.futures.Executor` will do: threads, processes, a cluster. A target whose worker
    dies is handed out again, and after three attempts its outcome is an error: none is lost.
    ThingsBoard keeps one session per device, so targets with the same token take turns.
    Raises InternalError when the executor takes no work at all.
    """
    waiting = iter(specs)
    flights = _Flights(executor, settings, work)
    while True:
        while flights.aloft < at_once and (spec := next(waiting, None)) is not None:
            flights.start(spec)
        if not flights.aloft:
            return
        yield from flights.landings()
        yield None
