"""The consumers of each format: every function parses an output strictly, or fails."""

from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff"
    "\ud800-\udfff]"
)
"""Characters that no output may hold, written down apart from the code that removes them."""
RUNNER_COMMAND = re.compile(r"^\s*::[A-Za-z_-]+( [^\n]*)?::|##\[", re.M)
"""What a GitHub runner takes for a command when it reads it in a log."""
VOID = {"meta", "link", "br", "hr", "img", "input"}
HTML_TAGS = (
    "html|head|meta|title|style|body|header|main|section|article|footer|h1|h2|h3|p|b|i|code|pre|div"
    "|span|small|ul|li|table|thead|tbody|tr|th|td|details|summary|svg|g|rect|line|path|circle|text"
)
HTML_ATTRIBUTES = (
    "lang|charset|http-equiv|content|name|class|scope|style|viewbox|role|x|y|x1|y1|x2|y2|cx|cy|r|rx"
    "|width|height|d"
)


def read_json(text: str) -> dict:
    return json.loads(text)


def read_jsonl(text: str) -> dict:
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return json.loads(text)


@cache
def _junit_schema():
    etree = pytest.importorskip("lxml.etree", reason="lxml is not installed")
    return etree.XMLSchema(etree.parse(Path(__file__).with_name("junit.xsd")))


def read_junit(text: str):
    """By libxml2 with the schema, and by junitparser."""
    import junitparser

    etree = pytest.importorskip("lxml.etree", reason="lxml is not installed")
    parser = etree.XMLParser(resolve_entities=False, recover=False)
    _junit_schema().assertValid(etree.fromstring(text.encode(), parser))
    suites = junitparser.JUnitXml.fromstring(text.encode())
    suite = next(iter(suites))
    assert suite.tests == len(list(suite))
    return suite


_PERFORMANCE = re.compile(
    r"'[^'=]+'=-?[0-9.]+(?:s|ms|us|%|B|KB|MB|TB|c)?(?:;(?:[0-9.:@~-]*)){0,4}(?:\s|$)"
)


def read_nagios(text: str) -> tuple[str, str]:
    """The status word and the performance data, by the plugin guidelines."""
    assert len(text.encode()) <= 4096
    first, _, rest = text.partition("\n")
    assert "|" not in rest
    shown, bar, data = first.partition(" | ")
    assert bar
    match = re.fullmatch(r"TBDIAG (OK|WARNING|CRITICAL|UNKNOWN) - (.+)", shown)
    assert match, shown
    assert "|" not in data
    assert "|" not in shown
    assert _PERFORMANCE.sub("", data) == ""
    assert not re.search(r"<[A-Za-z/!?]", text)
    return match[1], data


def read_github(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Every line is one of our commands; properties and data unescaped as the runner does it."""
    found = []
    for line in text.removesuffix("\n").split("\n"):
        match = re.fullmatch(r"::(error|warning|notice)(?: ([^:]*))?::([^\r\n]*)", line)
        assert match, line
        pairs = [pair.partition("=") for pair in (match[2] or "").split(",") if pair]
        assert {name for name, _, _ in pairs} <= {"title", "file", "line"}
        found.append((match[1], {n: _unescaped(v) for n, _, v in pairs}, _unescaped(match[3])))
    return found


def _unescaped(text: str) -> str:
    for code, character in (("%2C", ","), ("%3A", ":"), ("%0A", "\n"), ("%0D", "\r")):
        text = text.replace(code, character)
    return text.replace("%25", "%")


def read_prometheus(text: str) -> dict[str, list]:
    """Samples by metric name; no family and no series comes twice, every family is described."""
    from prometheus_client.parser import text_string_to_metric_families

    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    series = [(s.name, tuple(sorted(s.labels.items()))) for f in families for s in f.samples]
    assert len(series) == len(set(series))
    assert all(family.documentation for family in families)
    return {family.name: family.samples for family in families}


def read_markdown(text: str) -> list:
    """CommonMark with GFM tables: no link, image, HTML but our own, or row of another length."""
    markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
    tokens = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    inner = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in [*tokens, *inner]}
    assert not kinds & {"html_block", "link_open", "image", "em_open", "s_open", "hr", "code_block"}
    tags = {token.content for token in inner if token.type == "html_inline"}
    assert tags <= {"<code>", "</code>", "<br>"}
    for token in tokens:
        for word in _outside_code(token.children or ()):
            assert not re.search(r"(?:^|\W)@\w|https?://|www\.|(?:^|\s)#\d", word), word
    return tokens


def _outside_code(children) -> list[str]:
    """The texts that stand in no code span, where GitHub looks for links and mentions."""
    words, inside = [], False
    for child in children:
        if child.type == "html_inline":
            inside = child.content == "<code>"
        elif child.type == "text" and not inside:
            words.append(child.content)
    return words


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        assert tag in HTML_TAGS.split("|"), tag
        for name, value in attrs:
            assert name in HTML_ATTRIBUTES.split("|"), name
            if name == "style":
                assert re.fullmatch(r"width:\d+\.\d%", value), value
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data

    def handle_comment(self, data):
        raise AssertionError(data)

    def handle_pi(self, data):
        raise AssertionError(data)


def read_html(text: str) -> str:
    """The text of the page; only our own tags and attributes are there, properly nested."""
    page = _Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page.text


def read_table(text: str) -> str:
    return text


CONSUMERS = {
    name.removeprefix("read_"): function
    for name, function in list(globals().items())
    if name.startswith("read_")
}
