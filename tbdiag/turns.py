"""Taking turns at the processor, where hundreds of threads each speak to one server.

Every call into OpenSSL lets go of the interpreter's lock. With hundreds of threads that want it,
each call then costs a switch of threads, which doubles the processor time of a handshake. A thread
that works inside `with turns:` gives its turn away only where it waits (`with waiting():`), so the
others do not disturb it in between. Outside of a turn, `waiting()` does nothing.
"""

from __future__ import annotations

import threading
from types import TracebackType

_held = threading.local()


class Turns:
    """A context manager for the threads that share one processor: one of them is inside.

    Whatever may block inside must be wrapped in `waiting()`, or it holds up all the others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()
        _held.lock = self._lock

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _held.lock = None
        self._lock.release()


class _Waiting:
    """Gives the calling thread's turn away, and takes the next one that is free."""

    def __enter__(self) -> None:
        lock = getattr(_held, "lock", None)
        if lock is not None:
            lock.release()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        lock = getattr(_held, "lock", None)
        if lock is not None:
            lock.acquire()


_WAITING = _Waiting()


def waiting() -> _Waiting:
    """A context manager to wait in: for the network, a name server, another thread."""
    return _WAITING
