"""Take pasted text apart into commands, as a shell would, without running anything.

Nothing is expanded: a variable stays as it is written, and its word says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from tbdiag.errors import UsageError

MAX_TEXT = 64 * 1024
_DOUBLE = "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033"
_SINGLE = "\u2018\u2019\u201a\u201b\u2032\u00b4"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_CLEAN = str.maketrans(
    {
        **dict.fromkeys(_DOUBLE, '"'),
        **dict.fromkeys(_SINGLE, "'"),
        **dict.fromkeys(_INVISIBLE, None),
        **dict.fromkeys("\u00a0\u2007\u202f\t", " "),
    }
)
_DASH = re.compile("(?<![^ \n])[\u2010-\u2015\u2212]{1,2}(?=[A-Za-z])([\\w-]{1,64})")
_CONTINUED = re.compile(r"[\\^`][ ]{0,200}\r?\n")
_PROMPT = re.compile(
    r"(?m)^[ ]{0,80}(?:\$ |> |PS [^\n>]{0,200}> ?|[A-Za-z]:\\[^\n>]{0,200}>|"
    r"[\w.-]{1,64}@[\w.-]{1,64}[^\n$#]{0,200}[$#] |# (?=mosquitto_|curl |coap|docker ))"
)
_VARIABLE = re.compile(
    r"`[^`\n]{1,200}`|\$env:\w{1,100}|\$\{[^}\n]{1,200}\}|\$\([^)\n]{1,200}\)|\$[A-Za-z_]\w{0,100}"
)
_PERCENT = re.compile(r"%[A-Za-z_]\w{0,100}%")
_WINDOWS = re.compile(r"\^[ ]{0,200}\r?\n|(?:^|[\s\"])[A-Za-z]:\\|\.exe\b")
_PLACEHOLDER = re.compile(r"<[A-Za-z_][\w-]{0,60}(?: [A-Za-z_][\w-]{0,60}){0,4}>")
_OPERATORS = re.compile(r"\|\||&&|\d?>&\d|\d?>>|[|;&<>\n]|\d>")


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command, its quotes taken off; `variables` are those it leaves unresolved."""

    text: str
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its words, and what feeds its standard input."""

    words: tuple[Word, ...]
    piped: tuple[Word, ...] = ()
    """The words of the command before it in a pipeline."""
    stdin_file: Word | None = None

    def program(self, names: frozenset[str]) -> tuple[str, tuple[Word, ...]] | None:
        """The first word that is one of `names` (a path or .exe counts), and the words after it."""
        for index, word in enumerate(self.words):
            name = program_name(word.text)
            if name in names:
                return name, self.words[index + 1 :]
        return None


def program_name(text: str) -> str:
    """The bare name of a program: without folder and `.exe`."""
    name = PureWindowsPath(text).name if "\\" in text else PurePosixPath(text).name
    return name.lower().removesuffix(".exe")


def commands(text: str, *, depth: int = 3) -> tuple[list[Command], list[str]]:
    """The commands in pasted text, and remarks about what had to be mended.

    Prompts, line continuations (`\\`, `^`, backtick), comments, typographic quotes and dashes,
    pipelines and `sh -c "…"` are understood. Raises UsageError for an open quote or a text over
    64 KiB, never naming the text, since it can hold a token.
    """
    if len(text) > MAX_TEXT:
        raise UsageError("the pasted command is over 64 KiB: paste only the command")
    text, notes = _mended(text)
    found: list[Command] = []
    for command in _split(text, windows=bool(_WINDOWS.search(text))):
        inner = _shell_text(command)
        if inner is None or depth == 0:
            found.append(command)
        else:
            nested, more = commands(inner, depth=depth - 1)
            found += nested
            notes += more
    return found, notes


def _mended(text: str) -> tuple[str, list[str]]:
    notes = []
    if any(c in text for c in _DOUBLE + _SINGLE):
        notes.append(
            "The command holds typographic quotes, as web pages make them; they were read as plain "
            "ones. Type plain quotes: a shell passes typographic ones on as part of the value"
        )
    text = text.replace("\r\n", "\n").translate(_CLEAN)
    mended = _DASH.sub(lambda m: ("--" if len(m[1]) > 1 else "-") + m[1], text)
    if mended != text:
        notes.append(
            "The command holds long dashes where options begin; they were read as - and --. "
            "Type plain hyphens: a program takes a long dash for a word of its own"
        )
    return _PROMPT.sub("", _CONTINUED.sub(" ", mended)), notes


def _shell_text(command: Command) -> str | None:
    """What `sh -c` is to run, if that is what the command does."""
    texts = [word.text for word in command.words]
    for index, text in enumerate(texts[:-2]):
        if program_name(text) in ("sh", "bash", "ash", "zsh") and texts[index + 1] in ("-c", "-lc"):
            return texts[index + 2]
    return None


def _split(text: str, *, windows: bool) -> Iterator[Command]:
    words: list[Word] = []
    piped: tuple[Word, ...] = ()
    stdin_file: Word | None = None
    redirect = ""
    for token in [*_tokens(text, windows=windows), "\n"]:
        if isinstance(token, Word):
            stdin_file = token if redirect == "<" else stdin_file
            words += [] if redirect else [token]
            redirect = ""
        elif "<" in token or ">" in token:
            redirect = "" if "&" in token else token
        else:
            command = Command(tuple(words), piped, stdin_file)
            if words:
                yield command
            piped = command.words if token == "|" else ()
            words, stdin_file, redirect = [], None, ""


def _tokens(text: str, *, windows: bool) -> Iterator[Word | str]:
    at = 0
    while at < len(text):
        if text[at] == " ":
            at += 1
        elif (
            text[at] == "#"
            and text[at - 1 : at] in ("", " ", "\n")
            and text[at + 1 : at + 2] == " "
        ):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif (operator := _OPERATORS.match(text, at)) and not _PLACEHOLDER.match(text, at):
            yield operator.group()
            at = operator.end()
        else:
            word, at = _word(text, at, windows=windows)
            yield word


def _word(text: str, at: int, *, windows: bool) -> tuple[Word, int]:
    """The word that begins at `at`, and where it ends."""
    parts: list[Word] = []
    while at < len(text) and text[at] != " ":
        character = text[at]
        if character in "\"'":
            part, at = _quoted(text, at, windows=windows)
        elif (placeholder := _PLACEHOLDER.match(text, at)) is not None:
            part, at = Word(placeholder.group()), placeholder.end()
        elif character in "|;&<>\n":
            break
        elif character == "\\" and (not windows or text[at + 1 : at + 2] == '"'):
            part, at = Word(text[at + 1 : at + 2]), at + 2
        else:
            part, at = _plain(text, at, windows=windows)
        parts.append(part)
    return _joined(parts), at


def _joined(parts: list[Word]) -> Word:
    return Word("".join(p.text for p in parts), tuple(v for p in parts for v in p.variables))


def _plain(text: str, at: int, *, windows: bool) -> tuple[Word, int]:
    variable = _VARIABLE.match(text, at) or (_PERCENT.match(text, at) if windows else None)
    if variable:
        return Word(variable.group(), (variable.group(),)), variable.end()
    return Word(text[at]), at + 1


def _quoted(text: str, at: int, *, windows: bool) -> tuple[Word, int]:
    quote = text[at]
    at += 1
    parts: list[Word] = []
    while at < len(text) and text[at] != quote:
        escapes = '"' if windows else '"\\$`\n'
        if quote == '"' and text[at] == "\\" and text[at + 1 : at + 2] in tuple(escapes):
            parts.append(Word(text[at + 1]))
            at += 2
        elif quote == '"':
            part, at = _plain(text, at, windows=windows)
            parts.append(part)
        else:
            parts.append(Word(text[at]))
            at += 1
    if at >= len(text):
        raise UsageError(f"a quote ({quote}) in the pasted command is not closed: paste all of it")
    return _joined(parts), at + 1
