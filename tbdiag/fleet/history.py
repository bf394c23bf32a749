"""What changed on each watched target, and when: certificate, issuer, root, cause.

SQLite in WAL mode: several processes may write, and a process that is killed loses nothing that
it had finished. A file that is no database any more is set aside, never overwritten.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

from tbdiag.errors import UsageError
from tbdiag.evidence.baseline import Baseline
from tbdiag.fact import Fact, replace
from tbdiag.fleet.outcome import Outcome

T = TypeVar("T")

VERSION = 1
BUSY_SECONDS = 20.0
"""How long a write waits for another process's."""
SEEN_SECONDS = 600.0
"""Age above which the time a target was last seen is written anew, though nothing changed."""
MOVE_SHOWN = timedelta(days=7)
"""How long a target that moved to another issuer or root is reported, unless it is accepted."""
FILE_NAME = "history.sqlite"
_SUFFIXES = ("", "-wal", "-shm")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (
    target TEXT PRIMARY KEY, verdict TEXT NOT NULL, cause TEXT NOT NULL,
    certificate TEXT NOT NULL, certificate_text TEXT NOT NULL, issuer TEXT NOT NULL,
    root TEXT NOT NULL, root_text TEXT NOT NULL, since TEXT NOT NULL, seen TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS baseline (
    target TEXT PRIMARY KEY, document TEXT NOT NULL, moved_at TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS change (
    id INTEGER PRIMARY KEY, target TEXT NOT NULL, at TEXT NOT NULL, what TEXT NOT NULL,
    before TEXT NOT NULL, after TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS change_by_target ON change (target, id);
"""


class Change(Fact, frozen=True):
    """One thing that changed on one target."""

    target: str
    at: datetime
    what: str
    """`first-seen`, `certificate`, `issuer`, `root` or `cause`."""
    before: str
    after: str


class State(Fact, frozen=True):
    """What was last seen of one target; "" where nothing is known."""

    target: str
    verdict: str
    cause: str
    certificate: str
    """SHA-256 of the server certificate, in hex."""
    certificate_text: str
    issuer: str
    root: str
    """SHA-256 of the trust anchor, in hex."""
    root_text: str
    since: datetime
    """When anything of it last changed."""
    seen: datetime

    def after(self, outcome: Outcome) -> State:
        """The state once `outcome` was seen; what it does not show stays as it was."""
        fresh = state_of(outcome)
        known = fresh.certificate != ""
        rooted = fresh.root != ""
        shown, anchor = (fresh if known else self), (fresh if rooted else self)
        return replace(
            fresh,
            certificate=shown.certificate,
            certificate_text=shown.certificate_text,
            issuer=shown.issuer,
            root=anchor.root,
            root_text=anchor.root_text,
            since=self.since,
        )


def state_of(outcome: Outcome) -> State:
    """What one outcome alone shows of its target."""
    leaf = outcome.ends[0] if outcome.ends else None
    root = outcome.ends[-1] if outcome.trusted and outcome.ends else None
    return State(
        target=outcome.name,
        verdict=outcome.verdict,
        cause=outcome.cause or "",
        certificate=leaf.fingerprint if leaf else "",
        certificate_text=f"{leaf.name} until {leaf.not_after.date()}" if leaf else "",
        issuer=leaf.issuer if leaf else "",
        root=root.fingerprint if root else "",
        root_text=f"{root.name} until {root.not_after.date()}" if root else "",
        since=outcome.checked_at,
        seen=outcome.checked_at,
    )


def changes_between(before: State, after: State) -> Iterator[Change]:
    """What changed from one state to the next; what was unknown before is no change."""
    at = after.seen

    def changed(what: str, old: str, new: str) -> Change:
        return Change(after.target, at, what, old, new)

    if before.certificate and before.certificate != after.certificate:
        old = f"{before.certificate_text} ({before.certificate[:16]})"
        new = f"{after.certificate_text} ({after.certificate[:16]})"
        yield changed("certificate", old, new)
    if before.issuer and before.issuer != after.issuer:
        yield changed("issuer", before.issuer, after.issuer)
    if before.root and before.root != after.root:
        old = f"{before.root_text} ({before.root[:16]})"
        yield changed("root", old, f"{after.root_text} ({after.root[:16]})")
    if before.cause != after.cause:
        yield changed("cause", before.cause or "ok", after.cause or "ok")


class History:
    """The history file of this user; `warn` is told when something is set aside.

    Raises UsageError when the file cannot be opened or written at all.
    """

    def __init__(self, path: Path, warn: Callable[[str], None] = lambda _text: None) -> None:
        self.path = path
        self._warn = warn
        self._lock = threading.Lock()
        self._states: dict[str, State] = {}
        self._connection = self._opened()
        self._states = self.states()

    def _opened(self) -> sqlite3.Connection:
        with _reasons(self.path):
            try:
                return _connect(self.path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                _set_aside(self.path, self._warn)
                return _connect(self.path)

    def _attempt(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run `action`; once more on a new file when this one turns out to be damaged."""
        with self._lock, _reasons(self.path):
            try:
                return action(self._connection)
            except sqlite3.DatabaseError as error:
                if isinstance(error, (sqlite3.OperationalError, sqlite3.ProgrammingError)):
                    raise
                self._connection.close()
                self._states.clear()
                _set_aside(self.path, self._warn)
                self._connection = _connect(self.path)
                return action(self._connection)

    def record(self, outcomes: Iterable[Outcome]) -> list[Change]:
        """Remember outcomes in one transaction; returns what changed."""
        wanted = [o for o in outcomes if self._worth_writing(o)]
        if not wanted:
            return []
        return self._attempt(lambda connection: self._record(connection, wanted))

    def _worth_writing(self, outcome: Outcome) -> bool:
        last = self._states.get(outcome.name)
        if last is None or outcome.baseline:
            return True
        after = last.after(outcome)
        old = (outcome.checked_at - last.seen).total_seconds() > SEEN_SECONDS
        return old or after.verdict != last.verdict or any(changes_between(last, after))

    def _record(self, connection: sqlite3.Connection, outcomes: list[Outcome]) -> list[Change]:
        found: list[Change] = []
        with _transaction(connection):
            known = _states(connection, [outcome.name for outcome in outcomes])
            states: dict[str, State] = {}
            for outcome in outcomes:
                before = states.get(outcome.name) or known.get(outcome.name)
                after = before.after(outcome) if before else state_of(outcome)
                changes = list(changes_between(before, after)) if before else [_first(after)]
                states[outcome.name] = replace(after, since=after.seen) if changes else after
                found += changes
            _keep_baselines(connection, outcomes)
            connection.executemany(
                "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                map(_row_of, states.values()),
            )
            connection.executemany(
                "INSERT INTO change (target, at, what, before, after) VALUES (?, ?, ?, ?, ?)",
                [(c.target, _text(c.at), c.what, c.before, c.after) for c in found],
            )
        self._states |= states
        return found

    def changes(self, target: str | None = None, limit: int = 1000) -> list[Change]:
        """The latest changes, oldest first; of one target, or of all."""
        where = "" if target is None else "WHERE target = ?"
        arguments = (limit,) if target is None else (target, limit)
        rows = self._attempt(
            lambda connection: connection.execute(
                f"SELECT target, at, what, before, after FROM change {where} "
                "ORDER BY id DESC LIMIT ?",
                arguments,
            ).fetchall()
        )
        return [Change(t, _moment(at), what, old, new) for t, at, what, old, new in reversed(rows)]

    def last_changes(self) -> dict[str, Change]:
        """The latest change of every target."""
        rows = self._attempt(
            lambda connection: connection.execute(
                "SELECT target, at, what, before, after FROM change "
                "WHERE id IN (SELECT max(id) FROM change GROUP BY target)"
            ).fetchall()
        )
        return {t: Change(t, _moment(at), what, old, new) for t, at, what, old, new in rows}

    def baselines(self, targets: Iterable[str] | None = None) -> dict[str, Baseline]:
        """What targets (None: all) presented when all was well, for the rules of rotation."""
        from tbdiag.baseline import parse_baseline

        where = "" if targets is None else "WHERE target IN (SELECT value FROM json_each(?))"
        given = () if targets is None else (json.dumps(list(targets)),)
        rows = self._attempt(
            lambda connection: connection.execute(
                f"SELECT target, document FROM baseline {where}", given
            ).fetchall()
        )
        found: dict[str, Baseline] = {}
        for target, document in rows:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found[target] = parse_baseline(document.encode())
        return found

    def accept(self, target: str) -> bool:
        """Take what `target` presents next as its new baseline; False when none was known."""
        return self._attempt(
            lambda connection: (
                connection.execute("DELETE FROM baseline WHERE target = ?", (target,)).rowcount > 0
            )
        )

    def states(self) -> dict[str, State]:
        """What was last seen of every target."""
        rows = self._attempt(lambda c: c.execute("SELECT * FROM state").fetchall())
        return {state.target: state for state in map(_state_of_row, rows)}

    def close(self) -> None:
        """Close the file; what was recorded is in it already."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def __del__(self) -> None:
        # A file that failed to open has no connection; one left open is closed without a warning.
        if hasattr(self, "_connection"):
            self.close()


def _first(state: State) -> Change:
    seen = state.certificate_text or "no certificate"
    return Change(state.target, state.seen, "first-seen", "", f"{seen}; {state.cause or 'ok'}")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise UsageError(f"the history {str(path)!r} was written by a newer tbdiag")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("SELECT name FROM sqlite_master").fetchall()
        if version < VERSION:
            connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT"
            )
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def _reasons(path: Path) -> Iterator[None]:
    """SQLite's errors as a sentence about the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise UsageError(f"cannot use the history {str(path)!r}: {error}") from None


def _set_aside(path: Path, warn: Callable[[str], None]) -> None:
    """Rename a damaged history, unless another process has done so already."""
    with open(f"{path}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            _connect(path).close()
            return
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            pass
        kept = f"{path}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        for suffix in _SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}{suffix}", f"{kept}{suffix}")
    warn(f"the history {path} is damaged: it was set aside as {kept}, and a new one begun")


def _keep_baselines(connection: sqlite3.Connection, outcomes: Iterable[Outcome]) -> None:
    """A move to another issuer or root stays a finding for a week; all else is taken over."""
    shown = [outcome for outcome in outcomes if outcome.baseline]
    connection.executemany(
        "INSERT OR REPLACE INTO baseline VALUES (?, ?, NULL)",
        [(o.name, o.baseline) for o in shown if not (o.moved and _stays(connection, o))],
    )


def _stays(connection: sqlite3.Connection, outcome: Outcome) -> bool:
    """Whether the known baseline is kept beside what `outcome` moved to; notes since when."""
    row = connection.execute(
        "SELECT moved_at FROM baseline WHERE target = ?", (outcome.name,)
    ).fetchone()
    moved_at = _moment(row[0]) if row and row[0] else outcome.checked_at
    if row is None or outcome.checked_at - moved_at >= MOVE_SHOWN:
        return False
    connection.execute(
        "UPDATE baseline SET moved_at = ? WHERE target = ?", (_text(moved_at), outcome.name)
    )
    return True


def _states(connection: sqlite3.Connection, targets: Iterable[str]) -> dict[str, State]:
    rows = connection.execute(
        "SELECT * FROM state WHERE target IN (SELECT value FROM json_each(?))",
        (json.dumps(list(targets)),),
    )
    return {state.target: state for state in map(_state_of_row, rows)}


def _state_of_row(row: tuple[str, ...]) -> State:
    target, verdict, cause, certificate, text, issuer, root, root_text, since, seen = row
    moments = (_moment(since), _moment(seen))
    return State(target, verdict, cause, certificate, text, issuer, root, root_text, *moments)


def _row_of(state: State) -> tuple[str, ...]:
    *texts, since, seen = msgspec.structs.astuple(state)
    return (*texts, _text(since), _text(seen))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
