"""The journal: what is in it is done, whatever happened to the process that wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tbdiag.errors import UsageError
from tbdiag.fleet.journal import Journal, default_path
from tbdiag.fleet.spec import Spec, keyed
from tbdiag.fleet.work import Result, Settings
from tbdiag.model import Options, Target
from tests.fleet.conftest import outcome

SPECS = [keyed(Spec(f"t{n}", Target("127.0.0.1", n + 1), Options())) for n in range(4)]


def result(number: int) -> Result:
    return Result(SPECS[number].key, outcome(f"t{number}"), {"jsonl": f"piece {number}\n"})


def read(journal: Journal) -> list[str]:
    return [r.outcome.name + ": " + r.fragments["jsonl"].strip() for r in journal.results(SPECS)]


def test_results_come_back_in_the_order_of_the_fleet(tmp_path: Path) -> None:
    """Whatever order they finished in, they are read in that of the fleet file."""
    journal = Journal(tmp_path / "j", "s")
    for number in (2, 0, 3):
        journal.add(result(number))
    assert read(journal) == ["t0: piece 0", "t2: piece 2", "t3: piece 3"]
    assert SPECS[1].key not in journal
    journal.close(done=True)
    assert not (tmp_path / "j").exists()


def test_half_a_line_of_a_killed_run_is_cut_off(tmp_path: Path) -> None:
    """A resumed run keeps every whole line, drops the torn one, and writes on after it."""
    path = tmp_path / "j"
    journal = Journal(path, "s")
    journal.add(result(0))
    journal.add(result(1))
    journal.close(done=False)
    whole = path.read_bytes()
    for cut in (1, 20, 100):
        path.write_bytes(whole[:-cut])
        resumed = Journal(path, "s", resume=True)
        assert read(resumed) == ["t0: piece 0"]
        resumed.add(result(3))
        assert read(resumed) == ["t0: piece 0", "t3: piece 3"]
        resumed.close(done=False)


def test_a_journal_of_other_settings_is_not_taken_over(tmp_path: Path) -> None:
    """Another format or --at means other results: the run starts anew."""
    path = tmp_path / "j"
    journal = Journal(path, "one")
    journal.add(result(0))
    journal.close(done=False)
    other = Journal(path, "two", resume=True)
    assert read(other) == []
    other.close(done=False)
    path.write_bytes(b"\xff not a journal\n")
    other = Journal(path, "two", resume=True)
    assert read(other) == []
    other.close(done=True)


def test_a_spec_that_changed_is_checked_again() -> None:
    """The key of a target changes with its port and its options."""
    one = keyed(Spec("t", Target("a.test", 1), Options()))
    keys = {
        one.key,
        keyed(Spec("t", Target("a.test", 2), Options())).key,
        keyed(Spec("t", Target("a.test", 1), Options(timeout=3))).key,
    }
    assert len(keys) == 3


def test_two_runs_do_not_share_a_journal(tmp_path: Path) -> None:
    """A journal that another run is using is refused."""
    first = Journal(tmp_path / "j", "s")
    with pytest.raises(UsageError, match="another run is using"):
        Journal(tmp_path / "j", "s")
    first.close(done=False)
    Journal(tmp_path / "j", "s").close(done=True)


def test_without_a_state_directory_there_is_no_default_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No HOME, or one that cannot be written to: no path, and an unnamed file instead."""
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME")
    assert default_path(tmp_path / "f.toml", Settings()) is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert default_path(tmp_path / "f.toml", Settings()) is None
    journal = Journal(None, "s")
    journal.add(result(0))
    assert read(journal) == ["t0: piece 0"]
    journal.close(done=True)
