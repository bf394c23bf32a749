"""The journal of one fleet run: every finished check is in it, so that none is done twice.

One JSON line per finished target, written and flushed before it counts as done. A process that is
killed leaves at most half a line, which the next run cuts off. Final outputs are put together from
here, in the order of the fleet file, without keeping the pieces in memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from tbdiag.errors import UsageError
from tbdiag.fleet.spec import Spec
from tbdiag.fleet.state import state_folder
from tbdiag.fleet.work import Result, Settings

VERSION = 1


class Head(msgspec.Struct, frozen=True):
    """The first line: what the run was."""

    journal: int
    settings: str


class Journal:
    """The finished checks of a run, on disk; `path` None means a file without a name.

    Raises UsageError when the file cannot be opened, or another run is using it.
    """

    def __init__(self, path: Path | None, settings: str, *, resume: bool = False) -> None:
        self.path = path
        self._offsets: dict[str, int] = {}
        self._file = _opened(path)
        try:
            if not (resume and self._continue(settings)):
                self._begin(settings)
        except BaseException:
            self._file.close()
            raise

    def _begin(self, settings: str) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._write(msgspec.json.encode(Head(VERSION, settings)))

    def _continue(self, settings: str) -> bool:
        """Take over what an interrupted run left; False when it was another kind of run."""
        self._file.seek(0)
        try:
            head = msgspec.json.decode(self._file.readline(), type=Head)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False
        if head != Head(VERSION, settings):
            return False
        end = self._file.tell()
        for offset, line in self._lines(end):
            if not line.endswith(b"\n"):
                break
            try:
                key = msgspec.json.decode(line, type=Result).key
            except (msgspec.MsgspecError, UnicodeDecodeError):
                break
            self._offsets[key] = offset
            end = offset + len(line)
        self._file.seek(end)
        self._file.truncate()
        return True

    def _lines(self, offset: int) -> Iterator[tuple[int, bytes]]:
        for line in iter(self._file.readline, b""):
            yield offset, line
            offset += len(line)

    def add(self, result: Result) -> None:
        """Write one finished check; it survives the end of this process from now on."""
        self._offsets[result.key] = self._write(msgspec.json.encode(result))

    def _write(self, line: bytes) -> int:
        offset = self._file.seek(0, os.SEEK_END)
        self._file.write(line + b"\n")
        self._file.flush()
        return offset

    def __contains__(self, key: str) -> bool:
        return key in self._offsets

    def results(self, specs: Iterable[Spec]) -> Iterator[Result]:
        """The finished checks in the order of `specs`, read back one by one."""
        for spec in specs:
            offset = self._offsets.get(spec.key)
            if offset is not None:
                self._file.seek(offset)
                yield msgspec.json.decode(self._file.readline(), type=Result)

    def close(self, *, done: bool) -> None:
        """Close the file; a run that is `done` leaves none behind."""
        if done and self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._file.close()


def default_path(fleet: Path, settings: Settings) -> Path | None:
    """Where the journal of this fleet file with these settings is; None: there is no place."""
    folder = state_folder()
    if folder is None:
        return None
    digest = hashlib.sha256(f"{fleet.resolve()} {settings}".encode("utf-8", "surrogateescape"))
    return folder / f"fleet-{digest.hexdigest()[:16]}.jsonl"


def _opened(path: Path | None) -> IO[bytes]:
    if path is None:
        return tempfile.TemporaryFile("w+b")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"cannot write the journal {str(path)!r}: {error.strerror or error}"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise UsageError(f"another run is using the journal {str(path)!r}") from None
    return os.fdopen(handle, "r+b")
