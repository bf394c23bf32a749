"""One escaper per sink: text of servers and files never reaches an output as it came.

`visible` is applied to every text of a report before any text renderer sees it (see
`tbdiag.report.render`), so a renderer cannot forget it. Markup is the renderer's own sink.
"""

from __future__ import annotations

import re

LONGEST = 2000
"""Characters of one field that are shown; what was cut says so."""

# C0, DEL, C1, soft hyphen, Arabic letter mark, zero-width and bidi controls, line and paragraph
# separators, invisible operators, interlinear marks, BOM, tags, variation selectors, surrogates,
# and noncharacters: everything that moves the cursor, hides or reorders text.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff"
    + "".join(
        chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0x10000, 0x110000, 0x10000)
    )
    + "]"
)

# What GitHub's runner obeys when it reads it in a log: `::word` at the start of a line, and the old
# `##[word]` anywhere. An IPv6 address (`fe80::abcd%eth0`) is none: only hex digits follow its `::`.
_WORKFLOW_COMMAND = re.compile(r"##(?=\[)|::(?=[a-fA-F-]*[g-zG-Z])")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 0x0A:
        return "\\n"
    if code == 0x0D:
        return "\\r"
    if code == 0x09:
        return "\\t"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def visible(text: str, longest: int = LONGEST) -> str:
    """`text` on one line with every control, bidi and invisible character as a backslash escape.

    What a CI runner takes for a command when it reads it in a log is broken the same way. Longer
    text than `longest` characters is cut, and the cut says how much there was.
    """
    if len(text) > longest:
        text = f"{text[:longest]}… ({len(text):,} characters, cut)"
    plain = text.isascii() and text.isprintable()
    return _WORKFLOW_COMMAND.sub(_disarm, text if plain else _UNSAFE.sub(_escape, text))


def _disarm(match: re.Match[str]) -> str:
    first = match.group()[0]
    return f"\\x{ord(first):02x}{first}"


_PEM = re.compile(
    r"(?:(?:# [ -~]*\n)?"
    r"-----BEGIN [A-Z0-9 ]+-----\n(?:[A-Za-z0-9+/=]{1,76}\n)+-----END [A-Z0-9 ]+-----\n)+"
)


def printable_pem(text: str | None) -> str | None:
    """`text` where it is nothing but PEM blocks and `# ` comments of printable ASCII, else None.

    The only text that may keep its line ends.
    """
    return text if text and _PEM.fullmatch(text) else None


def json_safe(text: str) -> str:
    """JSON text whose unsafe characters are `\\uXXXX` escapes: the same document to any parser."""
    return _UNSAFE.sub(_json_escape, text).replace("##[", "\\u0023#[")


def _json_escape(match: re.Match[str]) -> str:
    character = match.group()
    if character == "\n":
        return character
    code = ord(character)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
