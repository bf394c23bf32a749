"""An executor whose threads do not hold up the end of the program."""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

STACK_BYTES = 512 << 10
"""Enough for a handshake with everything it calls; the usual 8 MiB times 500 is not needed."""


def carry_out(future: Future[T], task: Callable[..., T], *args: Any, **kwargs: Any) -> None:
    """Run a task whose result goes into `future`, unless that was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(task(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 - whoever waits for the future is told
        future.set_exception(error)


class DaemonThreads(Executor):
    """Like ThreadPoolExecutor, but its threads are daemons: Ctrl-C need not wait for a check.

    At most `workers` threads, started when there is work for them.
    """

    def __init__(self, workers: int, name: str = "tbdiag fleet") -> None:
        self._workers = workers
        self._name = name
        self._tasks: queue.SimpleQueue[functools.partial[None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `task(*args, **kwargs)` in a thread; RuntimeError after shutdown."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("this executor has been shut down")
            self._tasks.put(functools.partial(carry_out, future, task, *args, **kwargs))
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._workers:
                self._start()
        return future

    def _start(self) -> None:
        before = threading.stack_size(STACK_BYTES)
        try:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            thread.start()
            self._threads.append(thread)
        finally:
            threading.stack_size(before)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            del task
            self._idle.release()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; with `wait`, return when those begun or queued have ended."""
        with self._lock:
            self._closed = True
        if cancel_futures:
            self._cancel()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _cancel(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                if task := self._tasks.get_nowait():
                    task.args[0].cancel()
