"""The history: what changed and when, whoever writes, and whatever happens to the file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tbdiag.errors import UsageError
from tbdiag.fleet.history import History
from tests.fleet.conftest import NOW, end, outcome

LATER = NOW + timedelta(hours=1)
BASELINE = (
    '{"baseline_version": 1, "address": "a:1", "server_name": "a", "rooted": true,'
    ' "saved_at": "2026-06-01T12:00:00Z", "path": [{"subject": "CN=leaf", "issuer": "CN=Root",'
    ' "fingerprint_sha256": "00", "key_sha256": "11", "not_after": "2026-09-01T00:00:00Z"}]}'
)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "h.sqlite")


def whats(history: History, target: str | None = None) -> list[tuple[str, str, str]]:
    return [(c.what, c.before, c.after) for c in history.changes(target)]


def test_what_is_seen_first_is_noted_once(history: History) -> None:
    """The first outcome of a target is one change; the same again is none."""
    assert [c.what for c in history.record([outcome()])] == ["first-seen"]
    assert history.record([outcome(checked_at=LATER)]) == []
    assert len(history.changes()) == 1


def test_every_change_is_one_line_of_the_timeline(history: History) -> None:
    """A new certificate, issuer, root and cause are each noted with before and after."""
    history.record([outcome()])
    ends = (end("leaf", "end-entity", 90, "CN=New CA", "2"), end("New", "root", 9000))
    history.record([outcome(ends=ends, checked_at=LATER, cause="x509.weak-key", verdict="warning")])
    found = history.changes("plant-1")[1:]
    assert [c.what for c in found] == ["certificate", "issuer", "root", "cause"]
    assert (found[1].before, found[1].after) == ("CN=Root", "CN=New CA")
    assert (found[3].before, found[3].after) == ("ok", "x509.weak-key")
    assert {c.at for c in found} == {LATER}


def test_what_is_not_seen_is_no_change(history: History) -> None:
    """A target that does not answer changes its cause, not its certificate."""
    history.record([outcome()])
    history.record([outcome(ends=(), trusted=False, verdict="failed", cause="tcp.refused")])
    history.record([outcome()])
    assert [(w, a) for w, _, a in whats(history)][1:] == [("cause", "tcp.refused"), ("cause", "ok")]


def test_two_processes_write_without_losing_anything(tmp_path: Path) -> None:
    """Three processes that write at once: every change of each is there."""
    program = (
        "import sys; from pathlib import Path; from tests.fleet.conftest import outcome\n"
        "from tbdiag.fleet.history import History\n"
        "history = History(Path(sys.argv[1]))\n"
        "for n in range(40):\n"
        "    history.record([outcome(f'{sys.argv[2]}-{n}')])\n"
    )
    path = tmp_path / "h.sqlite"
    running = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in "abc"]
    assert [process.wait(30) for process in running] == [0, 0, 0]
    assert len(History(path).states()) == 120


@pytest.mark.parametrize("damage", ["not a database " * 400, "header"])
def test_a_damaged_file_is_set_aside_with_a_message(tmp_path: Path, damage: str) -> None:
    """What is no database is renamed, not overwritten, and a new history begins."""
    path = tmp_path / "h.sqlite"
    if damage == "header":
        History(path).close()
        data = bytearray(path.read_bytes())
        data[100:3000] = b"\xff" * 2900
        path.write_bytes(data)
    else:
        path.write_text(damage)
    said: list[str] = []
    history = History(path, said.append)
    assert [c.what for c in history.record([outcome()])] == ["first-seen"]
    assert "set aside as" in said[0]
    assert len(list(tmp_path.glob("h.sqlite.damaged-*"))) >= 1


def test_a_file_that_is_damaged_while_open_is_set_aside_too(tmp_path: Path) -> None:
    """Damage that shows only when writing does not end the run either."""
    path, said = tmp_path / "h.sqlite", []
    history = History(path, said.append)
    history.record([outcome("a")])
    history._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 30000)
    history._connection.execute("PRAGMA shrink_memory")
    history.close()
    again = History(path, said.append)
    again.record([outcome("b")])
    assert "b" in again.states()


def test_a_history_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    """A path in a folder that does not exist, or of a newer version, is named."""
    with pytest.raises(UsageError, match="cannot use the history"):
        History(tmp_path / "none" / "h.sqlite")
    connection = sqlite3.connect(tmp_path / "new.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UsageError, match="newer tbdiag"):
        History(tmp_path / "new.sqlite")


def test_a_process_that_is_killed_loses_nothing_it_has_recorded(tmp_path: Path) -> None:
    """kill -9 right after record(): the next process reads it."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.fleet.conftest import outcome; from tbdiag.fleet.history import History\n"
        "History(Path(sys.argv[1])).record([outcome('kept')])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "h.sqlite"
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    assert "kept" in History(path).states()


def test_a_renewal_becomes_the_baseline_and_a_move_is_shown_for_a_week(history: History) -> None:
    """A new certificate of the same CA is taken over; another root only after a week."""
    other = BASELINE.replace('"00"', '"22"')
    history.record([outcome(baseline=BASELINE)])
    assert history.baselines()["plant-1"].leaf.fingerprint_sha256 == "00"
    history.record([outcome(baseline=other)])
    assert history.baselines()["plant-1"].leaf.fingerprint_sha256 == "22"
    moved = BASELINE.replace('"00"', '"33"')
    for days in (0, 3, 6.9):
        when = NOW + timedelta(days=days)
        history.record([outcome(baseline=moved, moved=True, checked_at=when)])
        assert history.baselines(["plant-1"])["plant-1"].leaf.fingerprint_sha256 == "22"
    when = NOW + timedelta(days=7)
    history.record([outcome(baseline=moved, moved=True, checked_at=when)])
    assert history.baselines()["plant-1"].leaf.fingerprint_sha256 == "33"


def test_an_accepted_move_is_forgotten_at_once(history: History) -> None:
    """`history --accept` makes room for what the target presents next."""
    history.record([outcome(baseline=BASELINE)])
    assert history.accept("plant-1")
    assert history.baselines() == {}
    assert not history.accept("plant-1")
