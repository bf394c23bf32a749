"""docs/security.md promises nothing that is not tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), TESTS)
def test_a_named_test_exists(path: str, name: str) -> None:
    """Every test that the page names is there."""
    assert f"def {name}(" in (ROOT / path).read_text()


def test_every_row_names_a_test() -> None:
    """A threat without a test is not on the page."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(("| threat", "| ---"))]
    assert len(rows) > 25
    assert not [row for row in rows if not re.search(r"`[\w/.-]+(::\w+)?` \|$", row)]
