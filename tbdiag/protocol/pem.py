"""PEM blocks in text that people wrote (RFC 7468): found, decoded and, where damaged, salvaged.

What OpenSSL makes of each deviation was measured: text around blocks, CRLF, trailing spaces and
long lines load; a damaged block makes it refuse the whole file; an indented block is not seen.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from tbdiag.evidence import CaProblem
from tbdiag.fact import Fact

LONGEST_LINE = 76
"""Base64 lines longer than this count as unwrapped (RFC 7468 writes 64, MIME 76)."""
_BEGIN, _END = b"-----BEGIN ", b"-----END "
_SPACE = b" \t\r\n\v\f"
_HEADER = re.compile(rb"^[A-Za-z][A-Za-z0-9-]*:.*(?:\r?\n[ \t].*)*\r?\n", re.MULTILINE)
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]")


class Block(Fact, frozen=True):
    """One `-----BEGIN …-----` block."""

    label: str
    """What stands after BEGIN: `CERTIFICATE`, `RSA PRIVATE KEY`, …"""
    content: bytes
    """The decoded bytes, as far as they could be decoded; empty for a private key."""
    line: int
    """The line of its BEGIN, from 1."""
    problem: CaProblem | None = None
    unwrapped: bool = False
    encrypted: bool = False
    """Whether headers say that the content is encrypted (RFC 1421 `Proc-Type: 4,ENCRYPTED`)."""


class _Lines:
    """Line numbers of growing offsets, counted once."""

    def __init__(self, data: bytes) -> None:
        self._data, self._offset, self._line = data, 0, 1

    def at(self, offset: int) -> int:
        if offset < self._offset:
            return self._data.count(b"\n", 0, offset) + 1
        self._line += self._data.count(b"\n", self._offset, offset)
        self._offset = offset
        return self._line


def blocks(data: bytes) -> Iterator[Block]:
    """Every PEM block in `data`, in order; a damaged one carries its problem."""
    lines = _Lines(data)
    start = data.find(_BEGIN)
    while start >= 0:
        follower = data.find(_BEGIN, start + len(_BEGIN))
        limit = follower if follower >= 0 else len(data)
        yield _block(data, start, limit, lines.at(start))
        start = follower


def _block(data: bytes, start: int, limit: int, line: int) -> Block:
    label_end = data.find(b"-----", start + len(_BEGIN), min(limit, start + 80))
    if label_end < 0:
        return Block("", b"", line, _corrupt("its BEGIN line is damaged", line))
    label = data[start + len(_BEGIN) : label_end].decode("ascii", "replace")
    end = data.find(_END, label_end, limit)
    body = data[label_end + 5 : end if end >= 0 else limit]
    encrypted = b"ENCRYPTED" in body[:200] or label.startswith("ENCRYPTED")
    if label.endswith("PRIVATE KEY"):
        return Block(label, b"", line, encrypted=encrypted)
    content, problem = _decoded(body, line)
    if end < 0:
        problem = _corrupt(f"the block that begins at line {line} has no END line", line)
    elif not data.startswith(label.encode("ascii", "replace"), end + len(_END)):
        problem = _corrupt(f"the END line does not belong to BEGIN {label}", _line(data, end))
    elif problem is None:
        problem = _misplaced(data, start, body, line)
    return Block(label, content, line, problem, _is_unwrapped(body), encrypted)


def _corrupt(detail: str, line: int) -> CaProblem:
    return CaProblem("corrupt-pem", detail, line, refused=True)


def _line(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _is_unwrapped(body: bytes) -> bool:
    return max(map(len, body.split(b"\n"))) > LONGEST_LINE + 1


def _decoded(body: bytes, line: int) -> tuple[bytes, CaProblem | None]:
    """The bytes of a base64 body, and what is wrong with it."""
    try:
        return binascii.a2b_base64(body.translate(None, _SPACE), strict_mode=True), None
    except binascii.Error as error:
        problem = _bad_base64(body, line, str(error))
    without_headers = _HEADER.sub(b"", body)
    kept = [
        text
        for text in (part.translate(None, _SPACE) for part in without_headers.split(b"\n"))
        if not _NOT_BASE64.search(text)
    ]
    try:
        return binascii.a2b_base64(b"".join(kept)), problem
    except binascii.Error:
        return b"", problem


def _bad_base64(body: bytes, line: int, reason: str) -> CaProblem:
    for offset, text in enumerate(body.split(b"\n")):
        found = _NOT_BASE64.search(text.strip(_SPACE))
        if found:
            sign = found.group().decode("latin-1")
            return _corrupt(f"line {line + offset} holds {sign!r}, not base64", line + offset)
    return _corrupt(f"the base64 that begins at line {line} is damaged: {reason}", line)


def _misplaced(data: bytes, start: int, body: bytes, line: int) -> CaProblem | None:
    """What keeps OpenSSL from seeing a block whose base64 is sound."""
    if start and data[start - 1] not in b"\r\n":
        return _corrupt(f"something stands before BEGIN on line {line}: OpenSSL skips it", line)
    if b"\n" not in body:
        where = "lines end in CR alone" if b"\r" in body else "the block is all on one line"
        return _corrupt(f"{where}: BEGIN and END need lines of their own", line)
    inner = body.replace(b"\r", b"").split(b"\n")[1:-1]
    if any(not text.strip(_SPACE) for text in inner):
        blank = next(i for i, text in enumerate(inner) if not text.strip(_SPACE))
        return _corrupt(f"line {line + blank + 1} is empty inside the block", line + blank + 1)
    return None
