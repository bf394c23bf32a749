"""What an error text means: the data of explanations.toml, and the search for it in pasted text.

The search is linear in the text: literals, bounded regular expressions and code numbers. Nothing of
the text is kept or shown but what a pattern matched, since a log can hold tokens.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from tbdiag.protocol.first_bytes import FirstBytes, first_bytes

MAX_TEXT = 64 * 1024
"""Characters that are searched; of a longer text, the last ones."""
BEST = 3
"""Explanations that are shown in full."""

Code = tuple[str, int | str]
Span = tuple[int, int]

_ANSI = re.compile(r"\x1b\[[0-9;]{0,16}[A-Za-z]")
_PLAIN = str.maketrans(
    "\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019\u201a\u2013\u2014\u00a0",
    '"""""\'\'\'-- ',
    "\u200b\u200c\u200d\u2060\ufeff",
)
"""Typographic quotes, dashes and spaces of web pages, as a log writes them; invisible ones go."""
_CODE_PATTERNS: dict[str, tuple[tuple[re.Pattern[str], int], ...]] = {
    kind: tuple((re.compile(pattern), base) for pattern, base in patterns)
    for kind, patterns in {
        "verify": (
            (r"verify error ?:? ?(?:num ?= ?)?(\d{1,3})\b", 10),
            (r"verify (?:return )?(?:code|result) ?[:=(]? ?(\d{1,3})\b", 10),
            (r"\berror (\d{1,3}) at \d{1,2} depth", 10),
        ),
        "alert": ((r"\balert(?: number| code)? ?[:=(]? ?(\d{1,3})\b", 10),),
        "return": (
            (r"\b(?:rc|return[ _]?code|connack(?: code)?|state) ?[ =:(] ?([1-5])\b(?!\.\d)", 10),
        ),
        "reason": (
            (r"(?<![-\w])0x([89a][0-9a-f])\b", 16),
            (r"\b(?:rc|reason ?code|return[ _]?code) ?[ =:(] ?(1[2-6]\d)\b", 10),
        ),
        "mbedtls": (
            (r"-0x([0-9a-f]{2,4})\b", 16),
            (r"\(-(\d{2,5})\)", 10),
            (r"\b(?:returned|ret|error|code|err) ?[ =:] ?-(\d{2,5})\b", 10),
            (r"(?<![\w.:/-])-(\d{4,5})\b", 10),
        ),
        "esp-tls": ((r"(?<![-\w])0x(80[0-2][0-9a-f])\b", 16),),
        "errno": ((r"\berrno ?[ =:] ?(\d{1,3})\b", 10),),
        "curl": (
            (r"\bcurl: ?\((\d{1,2})\)", 10),
            (r"\bcurl (?:exit|error)(?: code)? (\d{1,2})", 10),
        ),
        "pubsub": ((r"\b(?:rc|state) ?[ =:(] ?(-[1-4])\b", 10),),
        "sim": ((r"\bcmqttconnect: ?\d ?, ?(\d{1,2})\b", 10),),
        "quectel-open": ((r"\bqmtopen: ?\d ?, ?(-?\d)\b", 10),),
        "quectel-conn": ((r"\bqmtconn: ?\d ?, ?\d ?, ?(\d)\b", 10),),
    }.items()
}
"""How each kind of number is written; group 1 is the number, in the given base."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One meaning, with the texts it is found by."""

    title: str
    seen: str
    """Where the text appears."""
    means: str
    rules: tuple[str, ...]
    """Rule ids that can be the cause, the likeliest first."""
    run: tuple[str, ...]
    """Commands to run next."""
    reports: tuple[str, ...] = ()
    """Public threads about it."""
    rows: tuple[int, ...] = ()
    general: bool = False
    """Stands back when anything more specific is found."""
    literals: tuple[str, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    codes: frozenset[Code] = frozenset()


@dataclass(frozen=True, slots=True)
class Match:
    """An explanation that fits a text: what it matched there, and what the bytes in it are."""

    explanation: Explanation
    score: int
    matched: str
    spans: tuple[Span, ...] = field(repr=False)
    bytes_are: str | None = None


@functools.cache
def explanations() -> tuple[Explanation, ...]:
    """Every entry of explanations.toml."""
    text = resources.files("tbdiag").joinpath("explanations.toml").read_text("utf-8")
    return tuple(_entry(raw) for raw in tomllib.loads(text)["explanation"])


def _entry(raw: dict[str, Any]) -> Explanation:
    return Explanation(
        title=raw["title"],
        seen=raw["seen"],
        means=raw["means"],
        rules=tuple(raw["rules"]),
        run=tuple(raw["run"]),
        reports=tuple(raw.get("reports", ())),
        rows=tuple(raw.get("rows", ())),
        general=raw.get("general", False),
        literals=tuple(" ".join(t.lower().split()) for t in raw.get("text", ())),
        words=tuple(tuple(w.lower() for w in group) for group in raw.get("words", ())),
        patterns=tuple(re.compile(p) for p in raw.get("regex", ())),
        codes=frozenset(_code(c) for c in raw.get("codes", ())),
    )


def _code(text: str) -> Code:
    kind, _, value = text.partition(":")
    return (kind, value) if kind == "first-bytes" else (kind, int(value, 0))


def matches(text: str) -> list[Match]:
    """The explanations that fit `text`, the most specific first; empty for an unknown text."""
    text = _ANSI.sub("", text[-MAX_TEXT:]).translate(_PLAIN)
    lines = [" ".join(line.lower().split()) for line in text.splitlines()]
    whole = " ".join(line for line in lines if line)
    peer = first_bytes(whole)
    codes = list(_codes(whole))
    if peer:
        codes.append((("first-bytes", peer.kind), peer.span))
    found = [m for e in explanations() if (m := _match(e, whole, lines, codes, peer))]
    return sorted(_standing(found), key=lambda m: -m.score)


def _codes(whole: str) -> Iterator[tuple[Code, Span]]:
    for kind, patterns in _CODE_PATTERNS.items():
        for pattern, base in patterns:
            for hit in pattern.finditer(whole):
                number = int(hit.group(1), base)
                yield (kind, number), hit.span()
                if kind == "mbedtls" and number > 0x7F:
                    yield (kind, number & 0xFF80), hit.span()  # without its low-level part


def _match(
    entry: Explanation,
    whole: str,
    lines: list[str],
    codes: list[tuple[Code, Span]],
    peer: FirstBytes | None,
) -> Match | None:
    spans = [*_literal_spans(entry, whole), *(s for c, s in codes if c in entry.codes)]
    spans += [hit.span() for p in entry.patterns for hit in p.finditer(whole)]
    score = max((end - start for start, end in spans), default=0)
    best = max(spans, key=lambda s: s[1] - s[0], default=(0, 0))
    matched = whole[best[0] : best[1]]
    group = _group_of(entry, whole, lines)
    if group and sum(map(len, group)) > score:
        score, matched = sum(map(len, group)), " … ".join(group)
    if not score:
        return None
    bytes_are = peer.sentence if peer and ("first-bytes", peer.kind) in entry.codes else None
    return Match(entry, score + (1000 if bytes_are else 0), matched, tuple(spans), bytes_are)


def _literal_spans(entry: Explanation, whole: str) -> Iterator[Span]:
    for literal in entry.literals:
        start = whole.find(literal)
        if start >= 0:
            yield start, start + len(literal)


def _group_of(entry: Explanation, whole: str, lines: list[str]) -> tuple[str, ...] | None:
    """The words of a group that stand on one line (or anywhere in a short text)."""
    places = [whole] if len(whole) <= 600 else lines
    for group in entry.words:
        if all(word in whole for word in group) and any(
            all(word in place for word in group) for place in places
        ):
            return group
    return None


def _standing(found: list[Match]) -> Iterable[Match]:
    """Without the general where something specific fits, and what is only part of a longer hit."""
    specific = [m for m in found if not m.explanation.general]
    if not specific:
        return sorted(found, key=lambda m: -m.score)[:1]
    found = specific
    return [m for m in found if not _covered(m, found)]


def _covered(match: Match, found: list[Match]) -> bool:
    longest = max((end - start for start, end in match.spans), default=0)
    if match.score > longest or not longest:  # found by words, or by decoded bytes
        return False
    others = [span for m in found if m is not match for span in m.spans]
    return all(
        any(s <= start and end <= e and e - s > end - start for s, e in others)
        for start, end in match.spans
    )
