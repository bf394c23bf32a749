"""Waiting: in a thread of one's own, or in turns with hundreds of other checks.

A check is written as if it had a thread of its own. It waits through `ready` and `answer`, which
block in a thread and, where the thread belongs to a loop (`tbdiag.fleet.loop`), hand the turn on.
"""

from __future__ import annotations

import queue
import selectors
import threading
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

S = TypeVar("S", bound="Waitable")
T = TypeVar("T")

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

# poll() has neither select()'s limit of 1,024 descriptors nor a descriptor of its own as epoll().
_Selector: type[selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)
_here = threading.local()
"""`turns`: who switches between the checks of this thread; see `take_turns`."""


class Waitable(Protocol):
    """A socket, or what else the operating system can wait for."""

    def fileno(self) -> int:
        """Its file descriptor."""


class Turns(Protocol):
    """Whoever switches between the checks of one thread."""

    def ready(self, wanted: Mapping[S, int], seconds: float) -> list[S]:
        """See `ready`."""

    def landed(self, call: Call[T], seconds: float) -> bool:
        """Start `call` and wait for it; whether it has ended in time."""


def take_turns(turns: Turns) -> None:
    """From now on, whatever waits in this thread does so by `turns`."""
    _here.turns = turns


def ready(wanted: Mapping[S, int], seconds: float) -> list[S]:
    """Wait until one of the sockets can be read (READ) or written (WRITE); those that can.

    Empty when `seconds` have passed.
    """
    turns: Turns | None = getattr(_here, "turns", None)
    if turns is not None:
        return turns.ready(wanted, seconds)
    with _Selector() as selector:
        for sock, event in wanted.items():
            selector.register(sock, event)
        return [key.fileobj for key, _ in selector.select(seconds)]  # type: ignore[misc]


def answer(call: Callable[[], T], seconds: float, name: str) -> T:
    """`call()`, which may block, in a daemon thread of its own called `name`.

    Raises what it raises, and TimeoutError when it is not done after `seconds`: it is left behind.
    """
    turns: Turns | None = getattr(_here, "turns", None)
    aside = Call(call, name)
    if not (turns.landed(aside, seconds) if turns is not None else _landed(aside, seconds)):
        raise TimeoutError("no complete answer in time")
    return aside.result()


def _landed(call: Call[Any], seconds: float) -> bool:
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()
    call.start(lambda: ended.put(None))
    try:
        ended.get(timeout=seconds)
    except queue.Empty:
        return False
    return True


class Call(Generic[T]):
    """A function that runs aside, in a daemon thread of its own."""

    def __init__(self, function: Callable[[], T], name: str) -> None:
        self._function = function
        self._name = name
        self._value: T | None = None
        self._error: BaseException | None = None

    def start(self, landed: Callable[[], None]) -> None:
        """Run it; `landed` is called in its thread when it has ended."""

        def run() -> None:
            try:
                self._value = self._function()
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                self._error = error
            landed()

        threading.Thread(target=run, name=self._name, daemon=True).start()

    def result(self) -> T:
        """What it returned; raises what it raised. To be asked once it has landed."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]
