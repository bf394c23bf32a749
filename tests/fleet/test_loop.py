"""Waiting in a thread and taking turns in a loop, over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from types import SimpleNamespace
from typing import Any

import pytest

from tbdiag.fleet import loop as loops
from tbdiag.fleet.loop import Loop
from tbdiag.turns import READ, WRITE, answer, ready

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two sockets connected with each other."""
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def in_a_thread(task: Callable[[], Any]) -> Any:
    """The task, carried out here."""
    return task()


def in_a_loop(task: Callable[[], Any]) -> Any:
    """The task, carried out as the only one of a loop."""
    with Loop(1) as loop:
        return loop.submit(task).result(20)


PLACES = [in_a_thread, in_a_loop]


@pytest.mark.parametrize("place", PLACES)
def test_what_is_ready_is_named(place: Callable[..., Any], pair: Pair) -> None:
    """Of several sockets those come back that can be read or written as asked."""
    one, other = pair
    other.send(b"x")
    assert place(lambda: ready({one: READ, other: READ}, 20)) == [one]
    assert place(lambda: ready({other: WRITE}, 20)) == [other]


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_ready_when_the_time_is_up(place: Callable[..., Any], pair: Pair) -> None:
    """A mute peer ends the wait at its limit; a limit that has passed is none to wait for."""
    assert place(lambda: ready({pair[0]: READ}, 0.01)) == []
    assert place(lambda: ready({pair[0]: READ}, -1)) == []


@pytest.mark.parametrize("place", PLACES)
def test_a_blocking_call_gives_its_result_or_its_error(place: Callable[..., Any]) -> None:
    """The call has a thread of its own, and what it raises is raised again."""
    name = place(lambda: answer(lambda: threading.current_thread().name, 20, "aside"))
    assert name == "aside"
    with pytest.raises(ZeroDivisionError):
        place(lambda: answer(lambda: 1 // 0, 20, "aside"))


@pytest.mark.parametrize("place", PLACES)
def test_a_call_that_hangs_is_left_behind(place: Callable[..., Any]) -> None:
    """TimeoutError at the limit, whatever becomes of the thread."""
    hung = threading.Event()
    with pytest.raises(TimeoutError):
        place(lambda: answer(hung.wait, 0.01, "aside"))
    hung.set()


def test_tasks_that_wait_for_each_other_share_one_thread(pair: Pair) -> None:
    """Each of two tasks reads what the other writes: in turns neither holds the other up."""
    seen: set[int] = set()

    def talk(mine: socket.socket, first: bool) -> bytes:
        seen.add(threading.get_ident())
        if first:
            mine.send(b"ping")
        assert ready({mine: READ}, 20)
        received = mine.recv(9)
        if not first:
            mine.send(b"pong")
        return received

    with Loop(2) as loop:
        answers = [loop.submit(talk, pair[0], True), loop.submit(talk, pair[1], False)]
        assert [future.result(20) for future in answers] == [b"pong", b"ping"]
    assert len(seen) == 1


def test_no_more_than_allowed_are_under_way(pair: Pair) -> None:
    """The third task begins when one of the first two has ended."""
    begun: list[int] = []
    waiting = threading.Semaphore(0)

    def wait_in_line(number: int) -> list[int]:
        begun.append(number)
        waiting.release()
        assert ready({pair[0]: READ} if number == 0 else {pair[1]: READ}, 20)
        return list(begun)

    with Loop(2) as loop:
        futures = [loop.submit(wait_in_line, number) for number in range(2)]
        queued = loop.submit(lambda: list(begun))
        waiting.acquire()
        waiting.acquire()
        assert not queued.done()
        pair[1].send(b"x")
        assert futures[0].result(20) == [0, 1]
        assert queued.result(20) == [0, 1]
        pair[0].send(b"x")
        assert futures[1].result(20) == [0, 1]


def test_what_is_ready_comes_before_what_is_overdue(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that was answered in time is not told otherwise because the processor was busy."""
    clock = [1000.0]
    monkeypatch.setattr(loops, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    waiting = threading.Event()

    def wait_for_it() -> list[socket.socket]:
        waiting.set()
        return ready({pair[0]: READ}, 5)

    def keep_everybody_waiting() -> None:
        pair[1].send(b"x")
        clock[0] += 10

    with Loop(2) as loop:
        future = loop.submit(wait_for_it)
        waiting.wait(20)
        loop.submit(keep_everybody_waiting).result(20)
        assert future.result(20) == [pair[0]]


def test_nobody_is_overdue_before_the_sockets_are_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer that came while another task computed is seen, though the limit has passed too."""
    clock = [1000.0]
    monkeypatch.setattr(loops, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    waiting = threading.Semaphore(0)
    (mine, to_me), (yours, to_you) = socket.socketpair(), socket.socketpair()

    def wait_for_it() -> list[socket.socket]:
        waiting.release()
        return ready({mine: READ}, 5)

    def compute_for_long() -> None:
        waiting.release()
        assert ready({yours: READ}, 5000)
        to_me.send(b"x")
        clock[0] += 10

    with mine, to_me, yours, to_you, Loop(2) as loop:
        futures = [loop.submit(wait_for_it), loop.submit(compute_for_long)]
        waiting.acquire()
        waiting.acquire()
        to_you.send(b"x")
        assert futures[0].result(20) == [mine]
        futures[1].result(20)


def test_hundreds_wait_at_once_without_a_thread_each() -> None:
    """Five hundred tasks wait for five hundred sockets; the number of threads grows by one."""
    pairs = [socket.socketpair() for _ in range(500)]
    before = threading.active_count()
    waiting = threading.Semaphore(0)

    def wait_for(mine: socket.socket) -> bytes:
        waiting.release()
        assert ready({mine: READ}, 20)
        return mine.recv(9)

    with Loop(500) as loop:
        futures = [loop.submit(wait_for, mine) for mine, _ in pairs]
        for _ in pairs:
            waiting.acquire()
        assert threading.active_count() == before + 1
        for number, (_, other) in enumerate(pairs):
            other.send(str(number).encode())
        assert [int(future.result(20)) for future in futures] == list(range(500))
    for mine, other in pairs:
        mine.close()
        other.close()


def test_errors_of_a_task_are_its_own() -> None:
    """A task that raises does not disturb the next one."""
    with Loop(1) as loop:
        assert isinstance(loop.submit(pow, "a", 2).exception(20), TypeError)
        assert loop.submit(pow, 2, 3).result(20) == 8


def test_a_loop_that_was_shut_down_takes_nothing() -> None:
    """What was queued is done first; what comes later is refused; its thread has ended."""
    loop = Loop(1)
    futures = [loop.submit(pow, 2, number) for number in range(50)]
    loop.shutdown()
    assert [future.result(0) for future in futures] == [2**number for number in range(50)]
    assert not loop._thread.is_alive()
    loop.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        loop.submit(pow, 2, 3)


def test_what_has_not_begun_can_be_cancelled(pair: Pair) -> None:
    """With cancel_futures the queue is emptied, and the task under way goes on."""
    begun = threading.Event()

    def wait_for_it() -> bool:
        begun.set()
        return bool(ready({pair[0]: READ}, 20))

    loop = Loop(1)
    running, queued = loop.submit(wait_for_it), loop.submit(pow, 2, 3)
    begun.wait(20)
    loop.shutdown(wait=False, cancel_futures=True)
    pair[1].send(b"x")
    assert running.result(20)
    with pytest.raises(CancelledError):
        queued.result(20)


def test_a_loop_that_fails_tells_whoever_waits(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tasks end with an error instead of never."""
    failing = threading.Event()
    loop = Loop(1)
    turn = loop._turn

    def fail() -> None:
        if failing.is_set():
            raise OSError("the sockets cannot be looked at")
        turn()

    monkeypatch.setattr(loop, "_turn", fail)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    running = loop.submit(lambda: ready({pair[0]: READ}, 20))
    queued = loop.submit(pow, 2, 3)
    failing.set()
    loop._wake()
    assert isinstance(running.exception(20), BrokenExecutor)
    assert isinstance(queued.exception(20), BrokenExecutor)
    with pytest.raises(RuntimeError, match="shut down"):
        loop.submit(pow, 2, 3)
