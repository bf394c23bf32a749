"""The moment that --at names."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbdiag.errors import UsageError
from tbdiag.moment import parse_moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-06-01", datetime(2027, 6, 1, tzinfo=UTC)),
        ("2027-06-01T12:30", datetime(2027, 6, 1, 12, 30, tzinfo=UTC)),
        ("2027-06-01T12:30:00Z", datetime(2027, 6, 1, 12, 30, tzinfo=UTC)),
        ("2027-06-01T00:30:00+02:00", datetime(2027, 5, 31, 22, 30, tzinfo=UTC)),
        (" 2027-06-01 ", datetime(2027, 6, 1, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    """Dates and RFC 3339 give a moment in UTC; without an offset the text is UTC."""
    assert parse_moment(text) == moment


@pytest.mark.parametrize(
    "text",
    ["", "now", "2027-13-01", "2027-02-30", "0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00"],
)
def test_no_moments(text: str) -> None:
    """Anything else names the text and shows an example."""
    with pytest.raises(UsageError, match="2027-06-01"):
        parse_moment(text)


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    """No text makes a traceback."""
    with contextlib.suppress(UsageError):
        assert parse_moment(text).tzinfo is UTC
