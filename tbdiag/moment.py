"""Parse the moment that `--at` names."""

from __future__ import annotations

from datetime import UTC, datetime

from tbdiag.errors import UsageError


def parse_moment(text: str) -> datetime:
    """An aware UTC datetime from `2027-06-01`, `2027-06-01T12:00`, or RFC 3339 with an offset.

    Without an offset the text is UTC. Raises UsageError naming the text.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--at {text!r} is not a moment: type a date such as 2027-06-01, "
            "or 2027-06-01T12:00:00Z"
        ) from None
