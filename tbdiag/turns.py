"""Many checks in one thread: each runs until it has to wait, then another takes its turn.

A check is written as if it had a thread of its own. It waits through `ready` and `answer`, which
block in a thread and, in a `Loop`, hand the turn on. Hundreds of threads that wait for servers cost
a switch of threads at every call into OpenSSL, a stack each, and memory that malloc keeps for each;
here they cost a few kilobytes.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from greenlet import greenlet

P = ParamSpec("P")
S = TypeVar("S", bound="Waitable")
T = TypeVar("T")

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
_FOREVER = float("inf")
_LONGEST = 3600.0
"""Seconds of one look at the sockets, at most."""

# poll() has neither select()'s limit of 1,024 descriptors nor a descriptor of its own as epoll().
_Selector: type[selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)
_here = threading.local()
"""`loop`: the Loop whose thread this is."""


class Waitable(Protocol):
    """A socket, or what else the operating system can wait for."""

    def fileno(self) -> int:
        """Its file descriptor."""


def ready(wanted: Mapping[S, int], seconds: float) -> list[S]:
    """Wait until one of the sockets can be read (READ) or written (WRITE); those that can.

    Empty when `seconds` have passed.
    """
    loop: Loop | None = getattr(_here, "loop", None)
    if loop is not None:
        return loop.ready(wanted, seconds)
    with _Selector() as selector:
        for sock, event in wanted.items():
            selector.register(sock, event)
        return [key.fileobj for key, _ in selector.select(seconds)]  # type: ignore[misc]


def answer(call: Callable[[], T], seconds: float, name: str) -> T:
    """`call()`, which may block, in a daemon thread of its own called `name`.

    Raises what it raises, and TimeoutError when it is not done after `seconds`: it is left behind.
    """
    loop: Loop | None = getattr(_here, "loop", None)
    if loop is not None:
        return loop.answer(call, seconds, name)
    future: Future[T] = Future()
    landed: queue.SimpleQueue[None] = queue.SimpleQueue()
    _aside(call, future, lambda: landed.put(None), name)
    with contextlib.suppress(queue.Empty):
        landed.get(timeout=seconds)
    return _result(future)


def _aside(call: Callable[[], T], future: Future[T], landed: Callable[[], None], name: str) -> None:
    def run() -> None:
        carry_out(future, call)
        landed()

    threading.Thread(target=run, name=name, daemon=True).start()


def _result(future: Future[T]) -> T:
    if not future.done():
        raise TimeoutError("no complete answer in time")
    return future.result()


def carry_out(future: Future[T], task: Callable[..., T], *args: Any, **kwargs: Any) -> None:
    """Run a task whose result goes into `future`, unless that was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(task(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 - whoever waits for the future is told
        future.set_exception(error)


def _pipe() -> tuple[io.FileIO, io.FileIO]:
    """Both ends of a pipe, reading end first; neither blocks."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return io.FileIO(ends[0], "r"), io.FileIO(ends[1], "w")


class _Waiter:
    """A check that has given its turn away, and what it waits for."""

    __slots__ = ("check", "ready", "until")

    def __init__(self, check: greenlet, until: float) -> None:
        self.check = check
        self.until = until
        self.ready: list[Any] = []


class Loop(Executor):
    """An executor of one thread that has at most `at_once` tasks under way.

    A task that blocks otherwise than in `ready` or `answer` holds up all the others. The thread is
    a daemon, so Ctrl-C need not wait for a check.
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

    def answer(self, call: Callable[[], T], seconds: float, name: str) -> T:
        """See `tbdiag.turns.answer`; for the tasks of this loop."""
        future: Future[T] = Future()
        waiter = self._waiter(seconds)

        def landed() -> None:
            self._landed.append(waiter)
            self._wake()

        _aside(call, future, landed, name)
        self._hub.switch()
        return _result(future)

    def _waiter(self, seconds: float) -> _Waiter:
        from greenlet import getcurrent

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
        from greenlet import getcurrent

        _here.loop = self
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
        from greenlet import greenlet

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
