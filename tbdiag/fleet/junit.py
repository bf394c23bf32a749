"""JUnit of a whole fleet: the test suites of its reports in one document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from tbdiag.fleet.work import Result
from tbdiag.report.escape import visible

if TYPE_CHECKING:
    from tbdiag.fleet.formats import FleetReport

_SUITE = re.compile(r"[ \t]*<testsuite\b(?!s).*</testsuite>", re.DOTALL)
_TOTALS = ("tests", "failures", "errors", "skipped")


def merged(run: FleetReport) -> Iterator[str]:
    """One `<testsuites>` with a `<testsuite>` per target."""
    totals = dict.fromkeys(_TOTALS, 0)
    for result in run.results():
        for name in _TOTALS:
            totals[name] += _count(_suite(result), name)
    counted = " ".join(f'{name}="{number}"' for name, number in totals.items())
    yield "<?xml version='1.0' encoding='UTF-8'?>\n"
    yield f'<testsuites name="tbdiag" {counted} time="{run.duration_ms / 1000:.3f}">\n'
    for result in run.results():
        yield _suite(result) + "\n"
    yield "</testsuites>\n"


def _suite(result: Result) -> str:
    found = _SUITE.search(result.fragments.get("junit", ""))
    return found.group() if found else _unchecked(result)


def _count(suite: str, name: str) -> int:
    found = re.search(rf'\b{name}="(\d+)"', suite.partition(">")[0])
    return int(found.group(1)) if found else 0


def _unchecked(result: Result) -> str:
    """The suite of a target that tbdiag could not check: one error."""
    outcome = result.outcome
    name, text = quoteattr(visible(outcome.name)), quoteattr(visible(outcome.message))
    when = outcome.checked_at.strftime("%Y-%m-%dT%H:%M:%S")
    return (
        f'  <testsuite name={name} tests="1" failures="0" errors="1" skipped="0" time="0.000" '
        f'timestamp="{when}">\n'
        '    <testcase classname="tbdiag" name="check" time="0.000">\n'
        f'      <error type="tbdiag.error" message={text} />\n'
        "    </testcase>\n"
        "  </testsuite>"
    )
