"""The loop over targets, on executors that behave and on some that do not."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tbdiag.errors import InternalError
from tbdiag.fleet.loop import Loop
from tbdiag.fleet.runner import finished
from tbdiag.fleet.spec import Spec, keyed
from tbdiag.fleet.threads import DaemonThreads
from tbdiag.fleet.work import Result, Settings, check_spec
from tbdiag.model import Options, Target
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tests.fleet.conftest import Write, outcome

TLS = Settings(only_tls=True, inline=True, at=datetime(2026, 6, 1, tzinfo=UTC))
TLS_NOW = Settings(only_tls=True, inline=True)


def specs(count: int) -> list[Spec]:
    return [keyed(Spec(f"t{n}", Target("127.0.0.1", 1), Options())) for n in range(count)]


def names(results: Any) -> list[str]:
    return sorted(result.outcome.name for result in results if result is not None)


def echo(spec: Spec, _settings: Settings) -> Result:
    return Result(spec.key, outcome(spec.name))


class Counted:
    """A check that takes a moment, and counts how many of it were under way together."""

    def __init__(self, seconds: float) -> None:
        self.most = 0
        self._seconds = seconds
        self._now = 0
        self._lock = threading.Lock()

    def __call__(self, spec: Spec, settings: Settings) -> Result:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        threading.Event().wait(self._seconds)
        with self._lock:
            self._now -= 1
        return echo(spec, settings)


def test_no_more_than_allowed_are_checked_at_once() -> None:
    """At most `at_once` checks are under way, however many targets there are."""
    work = Counted(0.002)
    with ThreadPoolExecutor(50) as pool:
        found = names(finished(specs(40), TLS, pool, 5, work))
    assert found == sorted(f"t{n}" for n in range(40))
    assert work.most <= 5


def test_targets_are_read_only_when_they_are_needed() -> None:
    """The targets may be a generator: it is not drained ahead of the checks."""
    taken = 0

    def many() -> Any:
        nonlocal taken
        for spec in specs(100):
            taken += 1
            yield spec

    with DaemonThreads(2) as pool:
        results = finished(many(), TLS, pool, 4, echo)
        assert next(results) is not None
        assert taken < 20


def test_targets_with_one_token_are_not_checked_at_once(write_fleet: Write) -> None:
    """ThingsBoard keeps one session per device, so checks of one device take turns."""
    work = Counted(0.005)
    fleet = write_fleet(good=6)
    with ThreadPoolExecutor(6) as pool:
        assert len(names(finished(fleet.specs, Settings(), pool, 6, work))) == 6
        assert work.most == 1
        assert len(names(finished(fleet.specs, TLS, pool, 6, work))) == 6
    assert work.most > 1


class Flaky(Executor):
    """An executor whose workers die under the first `deaths` checks of every target."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        self.seen: dict[str, int] = {}

    def submit(self, work: Any, /, *given: Any, **_more: Any) -> Future[Any]:
        future: Future[Any] = Future()
        name = given[0].name
        self.seen[name] = self.seen.get(name, 0) + 1
        if self.seen[name] <= self.deaths:
            future.set_exception(BrokenProcessPool("a worker died"))
        else:
            future.set_result(work(*given))
        return future


def test_a_target_whose_worker_dies_is_checked_again() -> None:
    """Workers that die lose no target."""
    flaky = Flaky(2)
    found = [r for r in finished(specs(5), TLS, flaky, 3, echo) if r]
    assert names(found) == ["t0", "t1", "t2", "t3", "t4"]
    assert {r.outcome.verdict for r in found} == {"ok"}


def test_a_target_that_kills_every_worker_becomes_an_error() -> None:
    """After three attempts the outcome says that tbdiag could not check it, and why."""
    (found,) = [r for r in finished(specs(1), TLS, Flaky(9), 1, echo) if r]
    assert (found.outcome.verdict, found.outcome.cause) == ("error", "tbdiag.error")
    assert "BrokenProcessPool: a worker died" in found.outcome.message


def test_an_executor_that_is_shut_down_is_our_own_error() -> None:
    """An executor that takes nothing raises InternalError instead of waiting for ever."""
    pool = DaemonThreads(1)
    pool.shutdown()
    with pytest.raises(InternalError, match="takes no more checks"):
        list(finished(specs(1), TLS, pool, 1, echo))


def test_our_threads_end_when_told_and_pass_errors_on() -> None:
    """DaemonThreads gives results and exceptions, and its threads end with it."""
    with DaemonThreads(3) as pool:
        assert [f.result(5) for f in [pool.submit(pow, 2, n) for n in range(9)]] == [
            2**n for n in range(9)
        ]
        assert isinstance(pool.submit(pow, "a", 2).exception(5), TypeError)
        threads = list(pool._threads)
    assert len(threads) <= 3
    assert not any(thread.is_alive() for thread in threads)


def test_what_our_threads_have_not_begun_can_be_cancelled() -> None:
    """With cancel_futures a queued task is cancelled, and the one under way ends."""
    begun, go_on = threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return go_on.wait(20)

    pool = DaemonThreads(1)
    running, queued = pool.submit(work), pool.submit(pow, 2, 3)
    begun.wait(20)
    pool.shutdown(wait=False, cancel_futures=True)
    go_on.set()
    assert running.result(20)
    assert queued.cancelled()


def test_real_targets_in_a_loop_and_in_processes(write_fleet: Write) -> None:
    """The same specs give the same verdicts in this process and in others: all of it is pickled."""
    fleet = write_fleet(good=2, bad=1)
    settings = Settings(only_tls=True, inline=True)
    with Loop(3) as loop:
        here = [r for r in finished(fleet.specs, settings, loop, 3) if r]
    with ProcessPoolExecutor(1, mp_context=_spawn()) as processes:
        there = [r for r in finished(fleet.specs, settings, processes, 3) if r]
    verdicts = {r.outcome.name: (r.outcome.verdict, r.outcome.cause) for r in here}
    assert verdicts == {
        "plant-0": ("ok", None),
        "plant-1": ("ok", None),
        "plant-2": ("failed", "tcp.refused"),
    }
    assert verdicts == {r.outcome.name: (r.outcome.verdict, r.outcome.cause) for r in there}


def test_a_late_refusal_is_seen_in_a_crowd(tmp_path: Path) -> None:
    """TLS 1.3 refuses a missing client certificate after the handshake: none of many is ok."""
    root, ca = Authority.root(), tmp_path / "ca.pem"
    ca.write_bytes(root.pem())
    with Broker(tls=Tls(root.issue_server("localhost"), client_certificate="require")) as broker:
        target = Target("127.0.0.1", broker.port, server_name="localhost", cafile=(str(ca),))
        crowd = [keyed(Spec(f"t{n}", target, Options())) for n in range(100)]
        with Loop(100) as loop:
            found = [r.outcome.cause for r in finished(crowd, TLS_NOW, loop, 100) if r]
    assert found == ["tls.client-certificate-required"] * 100


def _spawn() -> Any:
    import multiprocessing

    return multiprocessing.get_context("spawn")


def test_only_tls_asks_the_deciding_stack_alone_and_needs_no_token(write_fleet: Write) -> None:
    """--only-tls checks without the token of the fleet file, up to the certificate."""
    (spec,) = write_fleet(good=1).specs
    found = check_spec(spec, Settings(only_tls=True, inline=True, formats=("jsonl",)))
    assert found.outcome.verdict == "ok"
    assert [end.role for end in found.outcome.ends] == ["end-entity", "intermediate", "root"]
    assert '"client":"openssl"' in found.fragments["jsonl"]
    assert '"client":"webpki"' not in found.fragments["jsonl"]


def test_a_missing_secret_is_the_outcome_of_its_target(
    write_fleet: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a worker lacks the environment variable, the target's outcome names it."""
    monkeypatch.delenv("FLEET_TOKEN", raising=False)
    found = check_spec(write_fleet(good=1).specs[0], Settings())
    assert found.outcome.verdict == "error"
    assert "FLEET_TOKEN is not set" in found.outcome.message


def test_the_full_check_uses_the_token_and_no_output_holds_it(
    write_fleet: Write, token: str
) -> None:
    """A fleet check goes all the way to MQTT, and its result does not hold the token."""
    found = check_spec(write_fleet(good=1).specs[0], Settings(formats=("jsonl",)))
    assert found.outcome.verdict in ("ok", "warning")
    assert '"id":"mqtt.publish","title":"Test publish","status":"ok"' in found.fragments["jsonl"]
    assert token not in found.fragments["jsonl"] + repr(found)
