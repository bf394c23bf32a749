"""A real Dask scheduler with two worker processes on this machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tbdiag.errors import UsageError
from tbdiag.fleet.cluster import connected
from tbdiag.fleet.runner import finished
from tbdiag.fleet.spec import Spec
from tbdiag.fleet.work import Result, Settings, check_spec
from tbdiag.sandbox.profile import DEFAULT_TOKEN
from tests.fleet.conftest import Write

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[2]
TLS = Settings(only_tls=True, inline=True)


def spawn(stack: contextlib.ExitStack, module: str, *flags: str, **environment: str) -> Any:
    """A process of distributed's; killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{module}", *flags],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **environment},
    )
    stack.callback(_end, process)
    return process


def _end(process: Any) -> None:
    process.kill()
    process.stderr.close()
    process.wait(10)


def hear(process: Any, text: str) -> str:
    for line in process.stderr:
        if text in line:
            threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()
            return str(line)
    raise AssertionError(f"{text!r} was not heard")


def _drain(stream: Any) -> None:
    with contextlib.suppress(ValueError):
        for _ in stream:
            pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, list[Any]]]:
    """(address of the scheduler, worker processes that hold the token in their environment)."""
    with contextlib.ExitStack() as stack:
        scheduler = spawn(
            stack, "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
        )
        address = "tcp://" + hear(scheduler, "Scheduler at:").split("tcp://")[1].strip()
        flags = (address, "--nthreads", "2", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        workers = [spawn(stack, "dask_worker", *flags, FLEET_TOKEN=DEFAULT_TOKEN) for _ in range(2)]
        for worker in workers:
            hear(worker, "Registered to:")
        yield address, workers


def test_tokens_are_read_on_the_worker_and_never_shipped(
    cluster: tuple[str, list[Any]], write_fleet: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process has no token; the workers have, and their checks reach MQTT with it."""
    monkeypatch.delenv("FLEET_TOKEN", raising=False)
    fleet = write_fleet(good=2)
    with connected(cluster[0]) as executor:
        found = [r for r in finished(fleet.specs, Settings(formats=("jsonl",)), executor, 4) if r]
    assert [(r.outcome.cause, r.outcome.message) for r in found if r.outcome.verdict != "ok"] == []
    assert all(
        '"id":"mqtt.publish","title":"Test publish","status":"ok"' in r.fragments["jsonl"]
        for r in found
    )
    assert not any(DEFAULT_TOKEN in r.fragments["jsonl"] for r in found)


def test_the_command_runs_a_fleet_on_the_cluster(
    cluster: tuple[str, list[Any]], fleet_file: Callable[..., Path], start: Callable[..., Any]
) -> None:
    """`tbdiag fleet FILE --dask ADDRESS` gives the same output as without."""
    program = start("fleet", str(fleet_file(3)), "--only-tls", "--dask", cluster[0], "-f", "nagios")
    code, text = program.end(40)
    assert (code, text.partition(" | ")[0]) == (0, "TBDIAG OK - 3 ok")


def slow(spec: Spec, settings: Settings) -> Result:
    """A check that takes long enough for a worker to be killed under it."""
    threading.Event().wait(0.2)
    return check_spec(spec, settings)


def test_a_worker_that_is_killed_loses_no_target(
    cluster: tuple[str, list[Any]], write_fleet: Write
) -> None:
    """SIGKILL to one of two workers in mid-run: every target has its result all the same."""
    fleet = write_fleet(good=24)
    found = []
    with connected(cluster[0]) as executor:
        for result in finished(fleet.specs, TLS, executor, 8, slow):
            if result is not None:
                found.append(result)
            if len(found) == 4 and cluster[1][0].poll() is None:
                cluster[1][0].kill()
    assert sorted(r.outcome.name for r in found) == sorted(s.name for s in fleet.specs)
    assert {r.outcome.verdict for r in found} == {"ok"}


def test_no_scheduler_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody answers is told in a sentence."""
    monkeypatch.setattr("tbdiag.fleet.cluster.CONNECT_SECONDS", 1)
    with (
        pytest.raises(UsageError, match="no scheduler answers there"),
        connected("tcp://127.0.0.1:1"),
    ):
        pass
