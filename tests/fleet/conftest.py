"""A healthy local broker, and fleets of targets that are all that broker under many names."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tbdiag.fleet.config import Fleet, load_fleet
from tbdiag.fleet.outcome import End, Outcome
from tbdiag.sandbox import open_scenario
from tbdiag.sandbox.profile import DEFAULT_TOKEN

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Write = Callable[..., Fleet]


@pytest.fixture(scope="session")
def broker() -> Iterator[Any]:
    """The stand of the healthy scenario, for the whole session."""
    with open_scenario("healthy") as stand:
        yield stand


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    folder = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return folder / "tbdiag"


@pytest.fixture
def fleet_file(tmp_path: Path, broker: Any) -> Callable[..., Path]:
    """Write a TOML fleet of `good` targets on the broker and `bad` ones on a closed port."""

    def write(good: int = 2, bad: int = 0, **defaults: str) -> Path:
        lines = ["[defaults]", f'cafile = "{broker.target.cafile[0]}"', 'token = "${FLEET_TOKEN}"']
        lines += [f"{key} = {value}" for key, value in defaults.items()]
        ports = [broker.target.effective_port] * good + [1] * bad
        for number, port in enumerate(ports):
            lines += ["[[targets]]", f'name = "plant-{number}"', 'host = "localhost"']
            lines += [f"port = {port}"]
        path = tmp_path / "fleet.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def write_fleet(fleet_file: Callable[..., Path]) -> Write:
    """The same, loaded."""
    return lambda *given, **more: load_fleet(fleet_file(*given, **more))


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    """The broker's token, in the environment that the fleet names."""
    monkeypatch.setenv("FLEET_TOKEN", DEFAULT_TOKEN)
    return DEFAULT_TOKEN


def outcome(name: str = "plant-1", **changes: Any) -> Outcome:
    """An outcome that is well, unless `changes` say otherwise."""
    fields: dict[str, Any] = {
        "name": name,
        "address": "mqtt.test:8883",
        "verdict": "ok",
        "cause": None,
        "message": "trusted",
        "checked_at": NOW,
        "now": NOW,
        "duration_ms": 12.0,
        "ends": (end("leaf", "end-entity", 60), end("Root", "root", 3000)),
        "trusted": True,
    }
    return Outcome(**(fields | changes))


def end(name: str, role: str, days: float, issuer: str = "CN=Root", mark: str = "") -> End:
    """A certificate that ends in `days`; `mark` tells two of one name apart."""
    return End(f"{name}{mark}".encode().hex(), name, role, issuer, NOW + timedelta(days=days))


class Program:
    """A tbdiag process; its stderr is read as it comes."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tbdiag", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.said: list[str] = []
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._heard:
                self.said.append(line)
                self._heard.notify_all()

    def hear(self, text: str, seconds: float = 20) -> str:
        """The first line on stderr with `text` in it."""
        with self._heard:
            found = self._heard.wait_for(
                lambda: next((line for line in self.said if text in line), None), seconds
            )
        assert found, self.said
        return found

    def end(self, seconds: float = 20) -> tuple[int, str]:
        """Wait for the end; the exit code and what was on stdout."""
        assert self.process.stdout is not None
        output = self.process.stdout.read()
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        self.process.stdout.close()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code, output


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Start tbdiag as a process; what still runs in the end is killed."""
    with ExitStack() as stack:

        def run(*arguments: str, **environment: str) -> Program:
            program = Program(arguments, environment)
            stack.callback(_kill, program)
            return program

        yield run


def _kill(program: Program) -> None:
    if program.process.poll() is None:
        program.process.kill()
        program.end()
