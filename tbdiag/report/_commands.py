"""Find the commands in the text of a fix, to show each on a line of its own, ready to copy."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tbdiag.model import Report
from tbdiag.redact import map_text

PROGRAMS = (
    "awk|base64|cat|chmod|coap-client|coap-client-openssl|cp|curl|export|fold|getent|grep|head|ip|"
    "journalctl|keytool|ls|mosquitto_pub|mosquitto_sub|mv|nc|openssl|ping|pip|python3|read|sed|ss|"
    "sudo|tail|tbdiag|timedatectl|tr|unset"
)
"""The words that our fixes begin a command with."""
_START = re.compile(rf"(?:^|(?<=: )|(?<=\()|(?<=; )(?=tbdiag ))(?:{PROGRAMS})(?= [^ ])")
_STOP = re.compile(
    r"\.(?=\s|$)|[,;] (?:and|from|it|or|then|this) |[,;]$| (?:tries|for (?:a|the|what)) "
)
_LEADING = re.compile(r"^[.,;)\s]+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a fix: words for a person, or one command for the shell."""

    text: str
    command: bool


def pieces(fix: str, planted: tuple[str, ...] = ()) -> list[Piece]:
    """The parts of `fix` in order; `planted` (of the report) are texts no command may come from."""
    found: list[Piece] = []
    at = 0
    for match in _START.finditer(fix):
        if match.start() < at or _from(planted, fix[match.start() :]):
            continue
        end = _end(fix, match.start())
        found += _words(fix[at : match.start()])
        found.append(Piece(fix[match.start() : end].strip(), command=True))
        at = end
    return found + _words(fix[at:])


def planted(report: Report) -> tuple[str, ...]:
    """Texts of servers and files that read like a command: they are never offered for copying."""
    texts: set[str] = set()

    def collect(text: str) -> str:
        if re.search(rf"(?:^|\W)(?:{PROGRAMS}) ", text):
            texts.add(text)
        return text

    for stage in report.stages:
        map_text(stage.evidence, collect)
    return tuple(sorted(texts))


def _from(planted: tuple[str, ...], rest: str) -> bool:
    beginning = " ".join(rest.split(" ", 2)[:2])
    return any(beginning in text for text in planted)


def _words(text: str) -> list[Piece]:
    text = _LEADING.sub("", text).strip()
    text = text.removesuffix("(").strip()
    return [Piece(text, command=False)] if text.strip(").") else []


def _end(text: str, start: int) -> int:
    """Where the command that begins at `start` ends: quotes and brackets belong to it."""
    depth, quote = 0, ""
    for index in range(start, len(text)):
        character = text[index]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "(":
            if text[index - 1] == " ":
                return index
            depth += 1
        elif character == ")":
            depth -= 1
        if depth < 0 or (not quote and not depth and _STOP.match(text, index)):
            return index
    return len(text)
