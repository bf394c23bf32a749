"""`tbdiag fleet` and `tbdiag history` as commands: exit codes, interruption, resuming, secrets."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tbdiag.cli import run
from tbdiag.fleet.state import state_folder

Start = Callable[..., Any]


def fleet(path: Path, *more: str) -> int:
    return run(["fleet", str(path), "--only-tls", *more])


@pytest.mark.parametrize(("bad", "flags", "code"), [(0, (), 0), (1, (), 1), (1, ("-fnagios",), 2)])
def test_the_exit_code_says_how_it_went(
    fleet_file: Callable[..., Path], bad: int, flags: tuple[str, ...], code: int
) -> None:
    """0 when all is well, 1 when a target failed, the plugin's code with -f nagios."""
    assert fleet(fleet_file(1, bad), *flags) == code


def test_a_fleet_file_that_is_wrong_is_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake in the file is told on stderr with its line, and nothing is on stdout."""
    path = tmp_path / "f.toml"
    path.write_text('[[targets]]\nhots = "a"\n')
    assert fleet(path) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "f.toml:2: unknown key 'hots'; did you mean 'host'?" in said.err


def test_a_variable_that_is_not_set_is_told_before_the_first_check(
    fleet_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without --only-tls a missing token is exit 2, and names the variable."""
    monkeypatch.delenv("FLEET_TOKEN", raising=False)
    assert run(["fleet", str(fleet_file(1))]) == 2
    assert "FLEET_TOKEN (line 4)" in capsys.readouterr().err


def test_the_output_is_in_the_order_of_the_file_and_can_be_a_file(
    fleet_file: Callable[..., Path], tmp_path: Path
) -> None:
    """-o writes the format into a file, targets in the order of the fleet."""
    out = tmp_path / "out.jsonl"
    fleet(fleet_file(5, 3), "-f", "jsonl", "-o", str(out), "-j", "8")
    labels = [json.loads(line)["target"]["label"] for line in out.read_text().splitlines()]
    assert labels == [f"plant-{n}" for n in range(8)]


def test_one_run_of_a_fleet_gives_several_formats(
    fleet_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--also: a table on stdout, and JSON, JUnit and metrics of every target in files."""
    files = {name: tmp_path / name for name in ("json", "junit", "prometheus")}
    also = [f"--also={name}={path}" for name, path in files.items()]
    assert fleet(fleet_file(2, 1), *also) == 1
    assert "2 ok, 1 failed" in capsys.readouterr().out
    targets = json.loads(files["json"].read_text())["targets"]
    assert [t["verdict"] for t in targets] == ["ok", "ok", "failed"]
    assert files["junit"].read_text().count("<testsuite ") == 3
    assert files["prometheus"].read_text().count("\nprobe_success{") == 3


def test_a_run_that_ended_leaves_no_journal(
    fleet_file: Callable[..., Path], state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the history stays in the state directory; --resume then starts anew."""
    path = fleet_file(2)
    assert fleet(path) == 0
    assert [p.name for p in state.iterdir()] == ["history.sqlite"]
    assert fleet(path, "--resume") == 0
    assert "2 targets" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["file", "none"])
def test_no_place_to_remember_anything_does_not_stop_a_run(
    fleet_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    """No HOME, or one that is no folder: a word on stderr, and the run goes on."""
    monkeypatch.delenv("XDG_STATE_HOME")
    (tmp_path / "file").write_text("")
    if how == "file":
        monkeypatch.setenv("HOME", str(tmp_path / "file"))
    else:
        monkeypatch.delenv("HOME")
    assert state_folder() is None
    assert fleet(fleet_file(1)) == 0
    assert "nothing is remembered" in capsys.readouterr().err


def test_a_damaged_history_is_set_aside_and_the_run_goes_on(
    fleet_file: Callable[..., Path], state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run ends as it would have, with a message on stderr."""
    state.mkdir(parents=True)
    (state / "history.sqlite").write_text("no database " * 500)
    assert fleet(fleet_file(1)) == 0
    assert "was set aside as" in capsys.readouterr().err


def test_history_tells_what_was_seen(
    fleet_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """After a run, `tbdiag history TARGET` has its first line; an unknown target is exit 2."""
    fleet(fleet_file(2))
    capsys.readouterr()
    assert run(["history", "plant-1", "-f", "json"]) == 0
    (change,) = json.loads(capsys.readouterr().out)
    assert (change["target"], change["what"]) == ("plant-1", "first-seen")
    assert run(["history"]) == 0
    assert "plant-0" in capsys.readouterr().out
    assert run(["history", "plant1"]) == 2
    assert "did you mean 'plant-1'?" in capsys.readouterr().err


def test_no_output_or_file_holds_the_token(
    fleet_file: Callable[..., Path],
    tmp_path: Path,
    token: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A full run: the token is in no format, no journal and no history."""
    for format_id in ("json", "junit", "prometheus", "table"):
        run(["fleet", str(fleet_file(1)), "-f", format_id, "--journal", str(tmp_path / "j")])
    said = capfd.readouterr()
    assert '"verdict"' in said.out
    assert token not in said.out + said.err
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes(), path


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def half_mute(fleet_file: Callable[..., Path], mute: int) -> Path:
    """A fleet of three good targets and two that never answer."""
    path = fleet_file(3, timeout="60")
    with path.open("a") as file:
        for number in range(2):
            file.write(f'[[targets]]\nname = "mute-{number}"\nhost = "127.0.0.1"\nport = {mute}\n')
    return path


def lines_of(program: Any, count: int) -> list[str]:
    return [json.loads(program.process.stdout.readline())["target"]["label"] for _ in range(count)]


def test_ctrl_c_prints_what_is_done_and_exits_130(half_mute: Path, start: Start) -> None:
    """SIGINT while two targets hang: the table has the three that are done; 130 at once."""
    flags = ("fleet", str(half_mute), "--only-tls")
    first = start(*flags, "-f", "jsonl")
    assert sorted(lines_of(first, 3)) == ["plant-0", "plant-1", "plant-2"]
    first.process.send_signal(signal.SIGINT)
    code, rest = first.end(10)
    assert (code, rest) == (130, "")
    assert "3 of 5 done, 3 ok; --resume goes on" in "".join(first.said)


def test_a_killed_run_is_resumed_with_what_it_had(
    half_mute: Path, start: Start, state: Path
) -> None:
    """kill -9, then --resume: the three finished checks are there, and are not done again."""
    flags = ("fleet", str(half_mute), "--only-tls", "-f", "jsonl")
    killed = start(*flags)
    lines_of(killed, 3)
    killed.process.kill()
    killed.end(10)
    (journal,) = state.glob("fleet-*.jsonl")
    before = journal.read_bytes()
    resumed = start(*flags, "--resume")
    assert lines_of(resumed, 3) == ["plant-0", "plant-1", "plant-2"]
    resumed.process.send_signal(signal.SIGINT)
    assert resumed.end(10)[0] == 130
    assert journal.read_bytes() == before
