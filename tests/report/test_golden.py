"""Golden files: what each format makes of a few reports, to be read by people in reviews.

A change of an output that is meant is taken over by

    TBDIAG_UPDATE_GOLDEN=1 make test TESTS=golden

and the difference is read before it is committed. The version of tbdiag and the style sheet are
left out of the files, so that a release or a colour changes none of them. JSON may grow: what its
golden file holds must be there, more may be.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tbdiag import __version__
from tbdiag.report import FORMATS, render
from tests.report.samples import STORIES

GOLDEN = Path(__file__).parent / "golden"
STORY_NAMES = ("healthy", "missing-intermediate", "wrong-ca", "tool-error", "hostile")
FILES = {
    "table": "table.txt",
    "json": "json",
    "jsonl": "jsonl",
    "junit": "junit.xml",
    "nagios": "nagios.txt",
    "github": "github.txt",
    "prometheus": "prom",
    "markdown": "md",
    "html": "html",
}
"""How the golden file of each format ends."""
EVIDENCE = ("json", "jsonl")
"""Formats that write all evidence out: two stories of them say enough."""
CASES = [
    (format_id, story)
    for format_id in FORMATS
    for story in STORY_NAMES
    if format_id not in EVIDENCE or story in ("missing-intermediate", "hostile")
]
WIDTHS = (40, 66, 140)


def settled(text: str) -> str:
    text = re.sub(r"<style>.*?</style>", "<style></style>", text, flags=re.S)
    return text.replace(__version__, "VERSION")


def accept(path: Path, shown: str) -> str:
    """The golden text; with TBDIAG_UPDATE_GOLDEN set it is what was shown just now."""
    if os.environ.get("TBDIAG_UPDATE_GOLDEN"):
        path.write_text(shown, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def missing(golden: object, shown: object, where: str = "$") -> list[str]:
    """The places where `shown` lacks or changes what `golden` holds."""
    if isinstance(golden, dict) and isinstance(shown, dict):
        absent = [f"{where}.{key}" for key in golden if key not in shown]
        both = [key for key in golden if key in shown]
        return absent + [m for k in both for m in missing(golden[k], shown[k], f"{where}.{k}")]
    if isinstance(golden, list) and isinstance(shown, list) and len(golden) == len(shown):
        pairs = enumerate(zip(golden, shown, strict=True))
        return [m for i, (g, s) in pairs for m in missing(g, s, f"{where}[{i}]")]
    return [] if golden == shown else [where]


@pytest.mark.parametrize(("format_id", "story"), CASES)
def test_the_output_is_the_golden_file(format_id: str, story: str) -> None:
    """A renderer gives exactly the text that was last read and accepted."""
    shown = settled(render(STORIES[story](), format_id))
    golden = accept(GOLDEN / f"{story}.{FILES[format_id]}", shown)
    if format_id in EVIDENCE:
        assert missing(json.loads(golden), json.loads(shown)) == []
    else:
        assert golden == shown


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_at_other_widths_is_the_golden_file(width: int) -> None:
    """The table on narrow and wide terminals is what was last read and accepted."""
    shown = settled(render(STORIES["missing-intermediate"](), "table", width=width))
    assert accept(GOLDEN / f"missing-intermediate.table-{width}.txt", shown) == shown


def test_every_golden_file_is_used() -> None:
    """No golden file is left behind by a story or a format that went."""
    used = {f"{story}.{FILES[format_id]}" for format_id, story in CASES}
    used |= {f"missing-intermediate.table-{width}.txt" for width in WIDTHS}
    assert {path.name for path in GOLDEN.iterdir()} == used
