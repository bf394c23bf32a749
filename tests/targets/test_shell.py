"""Taking pasted text apart as a shell would."""

from __future__ import annotations

import contextlib
import shlex
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbdiag.errors import UsageError
from tbdiag.targets.shell import MAX_TEXT, commands, program_name


def words(text: str) -> list[list[str]]:
    return [[word.text for word in command.words] for command in commands(text)[0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b  c", [["a", "b", "c"]]),
        ("$ a b", [["a", "b"]]),
        ("user@host:~/x$ a b", [["a", "b"]]),
        ("C:\\Users\\me>a b", [["a", "b"]]),
        ("PS C:\\Users\\me> a b", [["a", "b"]]),
        ("a \\\n  b", [["a", "b"]]),
        ("a \\\r\n  b", [["a", "b"]]),
        ("a ^\n  b", [["a", "b"]]),
        ("a `\n  b", [["a", "b"]]),
        ("# a comment\na b # another", [["a", "b"]]),
        ("a && b; c || d | e\nf & g", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"], ["g"]]),
        ("a > out 2>&1 b", [["a", "b"]]),
        ("sh -c 'a \"b c\"'", [["a", "b c"]]),
        ("docker run x /bin/bash -c \"a && b -m '1 2'\"", [["a"], ["b", "-m", "1 2"]]),
        ('a \'$x\' "y\\"z" w\\ v', [["a", "$x", 'y"z', "w v"]]),
        ('a {"t":25}', [["a", "{t:25}"]]),
        ('a.exe C:\\x\\y "{\\"t\\":25}"', [["a.exe", "C:\\x\\y", '{"t":25}']]),
        ("a <your host>", [["a", "<your host>"]]),
        ("a \u201cb c\u201d \u2018d\u2019", [["a", "b c", "d"]]),
        ("a \u2013\u2013long \u2013s", [["a", "--long", "-s"]]),
        ("a\u00a0b\u200bc", [["a", "bc"]]),
        ("", []),
        ("  \n ; \n", []),
    ],
)
def test_how_text_becomes_commands(text: str, expected: list[list[str]]) -> None:
    """Prompts, continuations, quotes, comments and operators mean what a shell takes them for."""
    assert words(text) == expected


def test_variables_are_told_and_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a variable that is set here stays as it is written."""
    monkeypatch.setenv("TOKEN", "SECRET")
    texts = ["$TOKEN", '"x${TOKEN}"', "$(cat token)", "`cat token`", "$env:TOKEN", "%TOKEN%"]
    for text in texts:
        word = commands(f"a.exe {text}")[0][0].words[1]
        assert word.variables, text
        assert "SECRET" not in word.text
    assert commands("a '$TOKEN'")[0][0].words[1].variables == ()


def test_what_feeds_a_command_is_kept() -> None:
    """The command before a pipe and a redirected file are known."""
    piped, fed = commands("echo '{}' | a\na < data.json")[0][1:]
    assert [w.text for w in piped.piped] == ["echo", "{}"]
    assert fed.stdin_file is not None
    assert fed.stdin_file.text == "data.json"


@pytest.mark.parametrize("text", ["\u201ca\u201d", "a \u2014\u2014b"])
def test_what_was_mended_is_remarked(text: str) -> None:
    """Typographic quotes and dashes work here and not in a shell."""
    assert commands(text)[1]


@pytest.mark.parametrize("text", ['a "SECRET', "a 'SECRET", 'sh -c "a \'SECRET"'])
def test_an_open_quote_is_a_sentence_without_the_text(text: str) -> None:
    """The message says which quote, and shows nothing that could be a token."""
    with pytest.raises(UsageError, match="not closed") as caught:
        commands(text)
    assert "SECRET" not in str(caught.value)


def test_a_text_over_64_kib_is_refused() -> None:
    """A whole log pasted by mistake is not taken apart."""
    with pytest.raises(UsageError, match="64 KiB"):
        commands("x" * (MAX_TEXT + 1))


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6))
def test_what_shlex_quotes_comes_back(parts: list[str]) -> None:
    """A command that a program quoted for a POSIX shell is read back word by word."""
    plain = [p for p in parts if p.isprintable() and p.isascii() and ":\\" not in p]
    text = shlex.join(["mosquitto_pub", *plain])
    if ".exe" not in text:
        assert words(text)[0] == ["mosquitto_pub", *plain]


@settings(max_examples=300)
@given(st.text(alphabet="a\"'\\$`^%|&;<># \n{}-\u201c\u2013", max_size=60))
def test_any_text_is_commands_or_a_sentence(text: str) -> None:
    """No text makes a traceback or an endless loop."""
    said = ""
    try:
        commands(text)
    except UsageError as error:
        said = str(error)
    assert said.isprintable()


@pytest.mark.parametrize(
    "filler", ["<a ", "\\\n", "$ ", "sh -c ", '"" ', "`", "\u2013a", "a@", "${"]
)
def test_a_long_text_takes_no_time(filler: str) -> None:
    """The worst 64 KiB are taken apart in a moment."""
    text = filler * (MAX_TEXT // len(filler) - 1)
    started = time.process_time()
    with contextlib.suppress(UsageError):
        commands(text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("text", ["/usr/bin/curl", "curl.exe", "C:\\x\\CURL.EXE", "curl"])
def test_a_program_is_known_by_its_bare_name(text: str) -> None:
    """Folder, capitals and .exe do not matter."""
    assert program_name(text) == "curl"
