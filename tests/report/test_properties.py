"""Whatever a server, a file or a resolver says: every output is safe, well-formed, and the same."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tbdiag.report import FORMATS, render
from tests.report.consumers import CONSUMERS, RUNNER_COMMAND, UNSAFE
from tests.report.samples import NASTIEST, NASTY, STORIES, tainted

SOURCES = ("wrong-ca", "warning", "tool-error", "other-key")
texts = st.lists(
    st.one_of(
        st.sampled_from(NASTY),
        st.sampled_from(NASTIEST),
        st.text(st.characters(), max_size=8),
        st.text("\\`|<>&[]()*_~#@!:;%=\"'$-+.,/ \n", max_size=12),
    ),
    max_size=6,
).map("".join)
STYLES = {"table": ({"width": 40}, {"width": 66, "verbose": True}, {"unicode": False})}


def check(format_id: str, text: str) -> object:
    assert not UNSAFE.search(text), UNSAFE.search(text)
    if format_id != "github":
        assert not RUNNER_COMMAND.search(text), RUNNER_COMMAND.search(text)
    return CONSUMERS[format_id](text)


@pytest.mark.parametrize("format_id", FORMATS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts, story=st.sampled_from(SOURCES))
def test_no_text_gets_out_of_its_place(format_id: str, text: str, story: str) -> None:
    """Any text in any field gives an output its own strict parser takes, free of unsafe signs."""
    report = tainted(STORIES[story](), text)
    for style in ({}, {"strict": True}, *STYLES.get(format_id, ())):
        shown = render(report, format_id, **style)
        check(format_id, shown)
        assert shown == render(report, format_id, **style)


@pytest.mark.parametrize("format_id", FORMATS)
@pytest.mark.parametrize("story", STORIES)
def test_every_story_is_well_formed(format_id: str, story: str) -> None:
    """Every kind of report gives an output that the format's own parser takes."""
    check(format_id, render(STORIES[story](), format_id))


@pytest.mark.parametrize("format_id", FORMATS)
@pytest.mark.parametrize(
    "fragment", ["A" * 65_536, "證" * 65_536, "\u202e" * 65_536, "a b" * 30_000]
)
def test_64_kb_names_are_cut(format_id: str, fragment: str) -> None:
    """A name of 64 KB neither breaks an output nor makes one large."""
    shown = render(tainted(STORIES["wrong-ca"](), fragment), format_id)
    check(format_id, shown)
    assert len(shown) < 3_000_000
    assert "cut" in shown or "…" in shown


def test_hostile_text_is_still_readable() -> None:
    """Escaping changes no ordinary character: a person can read what the server wrote."""
    page = CONSUMERS["html"](render(STORIES["hostile"](), "html"))
    for words in ("<script>alert(1)</script>", "שלום עולם", "証明書の有効期限", "{{7*7}}"):
        assert words in page
        assert words in render(STORIES["hostile"](), "table")


def test_json_keeps_what_text_formats_replace() -> None:
    """JSON gives back every character of a message as it came; half surrogates become text."""
    report = tainted(STORIES["wrong-ca"](), "a\u202e\n\x00::error::x##[y]")
    message = report.findings[0].message
    for format_id in ("json", "jsonl"):
        assert CONSUMERS[format_id](render(report, format_id))["findings"][0]["message"] == message
    broken = CONSUMERS["json"](render(tainted(report, "\ud800"), "json"))
    assert broken["findings"][0]["message"].endswith("\\ud800")
