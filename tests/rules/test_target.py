"""The remarks of whoever built the target."""

from __future__ import annotations

from datetime import UTC, datetime

from tbdiag.context import Case
from tbdiag.model import Options, Severity, Target
from tbdiag.registry import RULES, load


def findings(*notes: str):
    load("rules")
    target = Target("example.test", notes=notes)
    case = Case(target, Options(), datetime(2026, 1, 1, tzinfo=UTC), {Target: target})
    return list(RULES["target.remark"].findings(case))


def test_each_remark_is_one_finding_worth_knowing() -> None:
    """The first sentence is what was seen, the rest is what to do."""
    first, second = findings("An option is odd. Leave it out", "All is well")
    assert (first.message, first.fix) == ("An option is odd.", "Leave it out")
    assert (first.severity, second.severity) == (Severity.INFO, Severity.INFO)
    assert second.fix == "Nothing to do for this diagnosis."


def test_no_remarks_no_findings() -> None:
    """A target that was typed has none."""
    assert findings() == []
