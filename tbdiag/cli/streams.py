"""The standard streams of the process: closed, full, without UTF-8, or with a reader that left."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_CLOSED = ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))
"""Descriptor and the mode it is opened with, where it came closed: writing to 1 then fails."""


def prepare() -> None:
    """Make the streams usable, whoever started us: none is None, LC_ALL=C means ASCII.

    A closed descriptor would be given to the next socket or file; it is taken up here first.
    """
    for descriptor, mode in _CLOSED:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # the lowest free descriptor is this one
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    if _wants_ascii():
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(encoding="ascii", errors="backslashreplace")


def _wants_ascii() -> bool:
    """Whether the user chose the C locale, which Python itself reads as UTF-8 (PEP 540)."""
    chosen = os.environ.get("LC_ALL") in ("C", "POSIX")
    return chosen and not {"PYTHONUTF8", "PYTHONIOENCODING"} & os.environ.keys()


def put(text: str, format_id: str = "table") -> None:
    """Write a result on stdout; see `put_all`."""
    put_all((text,), format_id)


def put_all(texts: Iterable[str], format_id: str) -> None:
    """Write a result on stdout, piece by piece.

    A reader that went away has read enough: that is no failure. Raises OSError when the result
    cannot be written.
    """
    try:
        for text in texts:
            sys.stdout.write(fitting(text, format_id))
        sys.stdout.flush()
    except BrokenPipeError:
        forget_stdout()


def fitting(text: str, format_id: str) -> str:
    """`text` with what stdout cannot encode written in the format's own escapes, if it has any."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    escape = _ESCAPES.get(format_id)
    if escape is None or encoding.lower().startswith("utf"):
        return text
    return escape(text)


def _json(text: str) -> str:
    """JSON in ASCII: the same document."""
    return _NOT_ASCII.sub(_json_escape, text)


def _json_escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass")
    pairs = (units[i : i + 2].hex() for i in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs)


def _markup(text: str) -> str:
    """HTML or XML in ASCII: the same document."""
    return text.encode("ascii", "xmlcharrefreplace").decode()


_ESCAPES = {"json": _json, "jsonl": _json, "html": _markup, "junit": _markup}
"""Formats that can say every character in ASCII; in the others it becomes a backslash escape."""


def forget_stdout() -> None:
    """After a failure on stdout: the flush at the end of the process must not fail again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
