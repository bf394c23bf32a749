"""Many checks in one thread: each runs until it has to wait, then another takes its turn.

Hundreds of threads that wait for servers cost a switch of threads at every call into OpenSSL, a
stack each, and memory that malloc keeps for each; in turns they cost a few kilobytes.
"""

from __future__ import annotations

import contextlib
import io
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any, ParamSpec, TypeVar

from greenlet import getcurrent, greenlet

from tbdiag.fleet.threads import carry_out
from tbdiag.turns import READ, Call, Waitable, take_turns

P = ParamSpec("P")
S = TypeVar("S", bound=Waitable)
T = TypeVar("T")

_FOREVER = float("inf")
_LONGEST = 3600.0
"""Seconds of one look at the sockets, at most."""


def _pipe() -> tuple[io.FileIO, io.FileIO]:
    """Both ends of a pipe, reading end first; neither blocks."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return io.FileIO(ends[0], "r"), io.FileIO(ends[1], "w")


class _Waiter:
    """A check that has given its turn away, and what it waits for."""

    __slots__ = ("check", "landed", "ready", "until")

    def __init__(self, check: greenlet, until: float) -> None:
        self.check = check
        self.until = until
        self.ready: list[Any] = []
        self.landed = False


class Loop(Executor):
    """An executor of one thread that has at most `at_once` tasks under way.

    A task that blocks otherwise than in `turns.ready` or `turns.answer` holds up all the others.
    The thread is a daemon, so Ctrl-C need not wait for a check.
    """

    def __init__(self, at_once: int, name: str = "tbdiag fleet") -> None:
        self._at_once = at_once
        self._tasks: deque[tuple[Future[Any], Callable[..., Any], Any, Any]] = deque()
        self._aloft: set[Future[Any]] = set()
        self._parked: dict[_Waiter, None] = {}
        self._landed: deque[_Waiter] = deque()
        self._soonest = _FOREVER
        """No check waits for a moment before this one."""
        self._closed = False
        self._asleep = False
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._bell, self._button = _pipe()
        self._selector.register(self._bell, READ)
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `task(*args, **kwargs)` in turns with the others; RuntimeError after shutdown."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("this executor has been shut down")
            self._tasks.append((future, task, args, kwargs))
        self._wake()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; with `wait`, return when those begun or queued have ended."""
        with self._lock:
            self._closed = True
            while cancel_futures and self._tasks:
                self._tasks.popleft()[0].cancel()
        self._wake()
        if wait:
            self._thread.join()

    def ready(self, wanted: Mapping[S, int], seconds: float) -> list[S]:
        """See `tbdiag.turns.ready`; for the tasks of this loop."""
        waiter = self._waiter(seconds)
        for sock, event in wanted.items():
            self._selector.register(sock, event, waiter)
        try:
            self._hub.switch()
        finally:
            for sock in wanted:
                self._selector.unregister(sock)
        return waiter.ready

    def landed(self, call: Call[Any], seconds: float) -> bool:
        """See `tbdiag.turns.Turns.landed`; for the tasks of this loop."""
        waiter = self._waiter(seconds)

        def land() -> None:
            waiter.landed = True
            self._landed.append(waiter)
            self._wake()

        call.start(land)
        self._hub.switch()
        return waiter.landed

    def _waiter(self, seconds: float) -> _Waiter:
        waiter = _Waiter(getcurrent(), time.monotonic() + seconds)
        self._parked[waiter] = None
        self._soonest = min(self._soonest, waiter.until)
        return waiter

    def _wake(self) -> None:
        """Whoever adds work does so before this, and the thread sleeps before it looks for work."""
        if self._asleep:
            with contextlib.suppress(OSError, ValueError):
                self._button.write(b"\0")

    def _serve(self) -> None:
        take_turns(self)
        self._hub = getcurrent()
        try:
            while not (self._closed and not self._tasks and not self._aloft):
                self._begin()
                self._turn()
        finally:
            self._selector.close()
            self._bell.close()
            self._button.close()
            self._abandon()

    def _begin(self) -> None:
        while self._tasks and len(self._aloft) < self._at_once:
            greenlet(self._work).switch()

    def _work(self) -> None:
        while self._tasks:
            try:
                future, task, args, kwargs = self._tasks.popleft()
            except IndexError:  # shutdown took it
                return
            self._aloft.add(future)
            carry_out(future, task, *args, **kwargs)
            self._aloft.discard(future)
            del future, task, args, kwargs

    def _turn(self) -> None:
        """Look at the sockets once, and let every check go on that can.

        What is ready comes before what is overdue: a busy processor is nobody's timeout.
        """
        self._asleep = True
        room = len(self._aloft) < self._at_once
        busy = self._landed or (self._tasks and room) or (self._closed and not self._aloft)
        pause = 0.0 if busy else min(self._soonest - time.monotonic(), _LONGEST)
        events = self._selector.select(max(pause, 0.0))
        self._asleep = False
        going: dict[_Waiter, None] = {}
        for key, _ in events:
            if key.data is None:
                self._bell.read(4096)
                continue
            key.data.ready.append(key.fileobj)
            going[key.data] = None
        while self._landed:
            going[self._landed.popleft()] = None
        going |= self._overdue()
        for waiter in going:
            self._resume(waiter)

    def _resume(self, waiter: _Waiter) -> None:
        if waiter in self._parked:
            del self._parked[waiter]
            waiter.check.switch()

    def _overdue(self) -> dict[_Waiter, None]:
        """Who has waited long enough; asked before anybody goes on, when answers have been seen."""
        now = time.monotonic()
        if now < self._soonest:
            return {}
        later = [waiter.until for waiter in self._parked if waiter.until > now]
        self._soonest = min(later, default=_FOREVER)
        return {waiter: None for waiter in self._parked if waiter.until <= now}

    def _abandon(self) -> None:
        """Tell whoever still waits; there is nobody unless this thread itself failed."""
        with self._lock:
            self._closed = True
            left = [*self._aloft, *(future for future, *_ in self._tasks)]
        for future in left:
            if not future.done():
                future.set_exception(BrokenExecutor("the loop of the checks ended"))
