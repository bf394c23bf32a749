"""A call that blocks, bounded by a deadline, and kept out of the application's log."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

from tbdiag.deadline import Deadline
from tbdiag.turns import waiting

T = TypeVar("T")
_LOGGERS = ("httpx", "httpcore.http11", "httpcore.connection", "httpcore.proxy", "httpcore.socks")


class Closable(Protocol):
    """What can be closed to end a call from outside."""

    def close(self) -> None:
        """End it."""


def within(deadline: Deadline, name: str, call: Callable[[Callable[[Closable], None]], T]) -> T:
    """`call(opened)` in a thread of its own; TimeoutError when it is not done at the deadline.

    httpx limits each read, and a peer that drips never ends one. What the call passes to `opened`
    is closed when the time is up, so that the thread which is left behind ends too. Raises what
    the call raises.
    """
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
    opened: list[Closable] = []

    def run() -> None:
        try:
            answers.put((call(opened.append), None))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller, if it waits
            answers.put((None, error))

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        with waiting():
            answer, error = answers.get(timeout=deadline.remaining())
    except queue.Empty:
        raise TimeoutError("no complete answer in time") from None
    finally:
        for thing in opened:
            with suppress(Exception):
                thing.close()
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]


@contextmanager
def unlogged(secret: str) -> Iterator[None]:
    """Keep httpx, which logs every URL and header, from writing `secret` into the log.

    To be entered in the thread that makes the request: it may outlive its caller.
    """

    def harmless(record: logging.LogRecord) -> bool:
        return secret not in record.getMessage()

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(harmless)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(harmless)
