"""report.as_table: readable at any width, aligned, and its commands can be copied."""

from __future__ import annotations

import re

import pytest

from tbdiag.report import render
from tbdiag.report.text import columns, wrap
from tests.report.samples import STORIES, WARNING, finding, report, tainted

COLOR = re.compile(r"\x1b\[[0-9;]*m")
COMMAND = "cat server.pem intermediate.pem > mqttserver.pem"


@pytest.mark.parametrize("width", [40, 59, 60, 71, 72, 100, 140])
def test_no_line_is_wider_than_the_terminal(width):
    """Every line fits, except commands and single words, which are kept whole to be copied."""
    wide = {"healthy", "wrong-name", "plain", "tool-error"}
    for story in wide:
        for line in render(STORIES[story](), "table", width=width).splitlines()[1:]:
            whole = line.startswith("      ") or " " not in line.strip()
            assert columns(line) <= width or whole, line


@pytest.mark.parametrize("width", [40, 100])
def test_a_command_is_one_line(width):
    """A command of the fix stands alone and unbroken on its line, at any width."""
    lines = render(STORIES["missing-intermediate"](), "table", width=width).splitlines()
    assert COMMAND in [line.strip() for line in lines]


@pytest.mark.parametrize("width", [66, 100])
def test_wide_characters_keep_the_columns(width):
    """CJK text takes two columns each: what follows it still starts where the heading says."""
    made = tainted(STORIES["healthy"](), "証明書の有効期限が切れています" * 6)
    lines = render(made, "table", width=width).splitlines()
    head = next(line for line in lines if "What we saw" in line)
    start = columns(head.partition("What we saw")[0])
    table = lines[lines.index(head) + 2 :]
    for line in table[: table.index("")]:
        assert columns(line) <= width
        used = 0
        for character in line:
            assert not used < start < used + columns(character), line
            used += columns(character)


def test_colour_changes_no_text():
    """Without its colour codes the coloured table is the plain one."""
    for make in STORIES.values():
        plain, painted = render(make(), "table"), render(make(), "table", color=True)
        assert COLOR.sub("", painted) == plain
        assert painted != plain


def test_ascii_terminals_get_ascii():
    """Where the terminal has no UTF-8 nothing but ASCII is written."""
    assert render(STORIES["hostile"](), "table", unicode=False).isascii()


def test_the_table_keeps_its_promise():
    """Root cause, fix, other findings, disagreeing stacks and what was not tested are all there."""
    shown = render(report(failed="", findings=(finding(), WARNING)), "table")
    for words in (
        "Root cause  x509.missing-intermediate",
        "Also found",
        "x509.certificate-expiring",
        "Device TLS stacks",
        "Not tested: Token (HTTP)",
    ):
        assert words in shown


def test_a_long_summary_is_cut_unless_verbose():
    """What a stage saw is cut in the table, with its length; --verbose shows all of it."""
    made = tainted(STORIES["healthy"](), "word " * 200)
    assert "characters, cut)" in render(made, "table")
    assert "characters, cut)" not in render(made, "table", verbose=True)


@pytest.mark.parametrize(
    ("word", "pieces"),
    [
        ("/etc/thingsboard/conf/ca.pem", ["/etc/thingsboard/", "conf/ca.pem"]),
        ("a" * 45, ["a" * 20, "a" * 20, "a" * 5]),
        ("証" * 15, ["証" * 10, "証" * 5]),
    ],
)
def test_long_words_break_behind_separators(word, pieces):
    """A word longer than its cell is split behind a slash where there is one."""
    assert wrap(word, 20, "", break_words=True).split("\n") == pieces


def test_combining_marks_take_no_column():
    """Marks on a letter do not widen it."""
    assert columns("e\u0301\u0302") == 1
