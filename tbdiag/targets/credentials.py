"""Where a token comes from: a file, the environment, the arguments."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from tbdiag.errors import UsageError
from tbdiag.model import Secret

MAX_TOKEN_FILE = 64 * 1024


def read_token_file(path: str, warn: Callable[[str], None]) -> Secret:
    """The token in a file (`-` for standard input), without the line end.

    `warn` is told when others can read the file. Raises UsageError naming the file when it cannot
    be read, is empty or is too large to hold a token.
    """
    try:
        data = _read(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "that is no file name"
        raise UsageError(f"cannot read the token file {path!r}: {reason}") from None
    if len(data) > MAX_TOKEN_FILE:
        raise UsageError(f"the token file {path!r} is larger than 64 KiB: is it the right file?")
    text = data.decode("utf-8-sig", "replace").strip("\r\n")
    if not text.strip():
        raise UsageError(f"the token file {path!r} is empty: put the device's access token in it")
    if path != "-" and _readable_by_others(path):
        warn(f"others can read the token file {path}: run chmod 600 on it")
    return Secret(text)


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read(MAX_TOKEN_FILE + 1)
    with Path(path).open("rb") as file:
        return file.read(MAX_TOKEN_FILE + 1)


def _readable_by_others(path: str) -> bool:
    mode = os.stat(path).st_mode
    return os.name == "posix" and stat.S_ISREG(mode) and bool(mode & (stat.S_IRGRP | stat.S_IROTH))
