"""A call that blocks, bounded by a deadline, and kept out of the application's log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from tbdiag.deadline import Deadline
from tbdiag.turns import answer

T = TypeVar("T")
_ours = threading.local()


def _of_the_application(_record: logging.LogRecord) -> bool:
    """Keep what httpx logs in our threads, every URL and header, out of the application's log.

    The token is part of a URL, and a server may send it back.
    """
    return not getattr(_ours, "quiet", False)


for _name in ("httpx", *(f"httpcore.{n}" for n in ("connection", "http11", "proxy", "socks"))):
    logging.getLogger(_name).addFilter(_of_the_application)


class Closable(Protocol):
    """What can be closed to end a call from outside."""

    def close(self) -> None:
        """End it."""


def within(deadline: Deadline, name: str, call: Callable[[Callable[[Closable], None]], T]) -> T:
    """`call(opened)` in a thread of its own; TimeoutError when it is not done at the deadline.

    httpx limits each read, and a peer that drips never ends one. What the call passes to `opened`
    is closed when the time is up, so that the thread which is left behind ends too. Nothing of it
    is logged. Raises what the call raises.
    """
    opened: list[Closable] = []

    def run() -> T:
        _ours.quiet = True
        return call(opened.append)

    try:
        return answer(run, deadline.remaining(), name)
    finally:
        for thing in opened:
            with suppress(Exception):
                thing.close()
