"""Write a file so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tbdiag.errors import UsageError


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Put `data` into `path`: a temporary file in the same directory, flushed, then renamed.

    Data that comes in pieces is never in memory as a whole.

    Keeps the permissions of an existing file, and the old content on any failure. A path that is
    not a regular file (/dev/stdout, a pipe) is written to directly. Raises OSError.
    """
    pieces = (data,) if isinstance(data, bytes) else data
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            file.writelines(pieces)
        return
    path = path.resolve()
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_output(path: Path, data: bytes | Iterable[bytes]) -> None:
    """`write_atomically` for a file that the user named: UsageError says what is wrong with it."""
    try:
        write_atomically(path, data)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot write {str(path)!r}: {reason}; name another file") from None


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
