"""The outputs of a fleet, read by the programs that they are for."""

from __future__ import annotations

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import Any

import pytest
from junitparser import JUnitXml
from prometheus_client.parser import text_string_to_metric_families

from tbdiag.fleet.formats import FORMATS, FleetReport, nagios_code
from tbdiag.fleet.spec import Spec, keyed
from tbdiag.fleet.summary import Summary, causes, expiries
from tbdiag.fleet.work import Result, Settings, check_spec
from tbdiag.model import Options, Target
from tests.fleet.conftest import NOW, Write, end, outcome

HOSTILE = "evil\x1b[2J\u202e|<script>*`_](x)\n::error::\x00"


def report(results: list[Result], **more: Any) -> FleetReport:
    summary = Summary()
    for result in results:
        summary.add(result.outcome)
    known: dict[str, Any] = {"started_at": NOW, "duration_ms": 1500.0, "expected": len(results)}
    return FleetReport(results=lambda: results, summary=summary, **(known | more))


def text(format_id: str, results: list[Result], **more: Any) -> str:
    return "".join(FORMATS[format_id](report(results, **more)))


def checked(write_fleet: Write, format_id: str) -> list[Result]:
    """One good target, one on a closed port, one that could not be checked, all with bad names."""
    good, bad = write_fleet(good=1, bad=1).specs
    settings = Settings(only_tls=True, inline=True, formats=(format_id,))
    lost = keyed(Spec(HOSTILE, Target("127.0.0.1", 1, label=HOSTILE), Options()))
    failed = outcome(HOSTILE.replace("\0", ""), verdict="error", cause="tbdiag.error", ends=())
    return [check_spec(good, settings), check_spec(bad, settings), Result(lost.key, failed)]


def test_json_is_one_document_and_jsonl_one_per_line(write_fleet: Write) -> None:
    """Both parse, hold a report per target in order, and the document holds the summary."""
    results = checked(write_fleet, "json")
    document = json.loads(text("json", results))
    lines = [json.loads(line) for line in text("jsonl", results).splitlines()]
    assert document["targets"] == lines
    assert [d["verdict"] for d in lines] == ["ok", "failed", "error"]
    assert document["counts"] == {"targets": 3, "failed": 1, "error": 1, "warning": 0, "ok": 1}
    assert document["causes"][0]["rule"] == "tcp.refused"
    assert document["expiries"][0]["targets"] == ["plant-0"]


def test_junit_has_a_suite_per_target(write_fleet: Write) -> None:
    """A JUnit consumer sees one suite per target, failures as failures and errors as errors."""
    xml = text("junit", checked(write_fleet, "junit"))
    suites = list(JUnitXml.fromstring(xml.encode()))
    assert [(s.failures > 0, s.errors) for s in suites] == [(False, 0), (True, 0), (False, 1)]
    root = ET.fromstring(xml)
    assert int(root.get("tests", "")) == sum(s.tests for s in suites)


def test_prometheus_has_every_family_once(write_fleet: Write) -> None:
    """The exposition parses, no family and no series comes twice, promtool has no complaint."""
    page = text("prometheus", checked(write_fleet, "prometheus"))
    families = list(text_string_to_metric_families(page))
    assert len({f.name for f in families}) == len(families)
    series = [(s.name, tuple(sorted(s.labels.items()))) for f in families for s in f.samples]
    assert len(set(series)) == len(series)
    success = next(f for f in families if f.name == "probe_success")
    assert [s.value for s in success.samples] == [1, 0, 0]
    if shutil.which("promtool"):
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=page, text=True, capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_nagios_is_one_plugin_result(write_fleet: Write) -> None:
    """One status line with counts as performance data, then the causes; no stray pipe."""
    first, *rest = text("nagios", checked(write_fleet, "nagios")).splitlines()
    assert first.startswith("TBDIAG CRITICAL - 1 ok, 1 not checked because tbdiag failed, 1 failed")
    assert "'failed'=1;;;0;3" in first
    assert first.count("|") == 1
    assert not any("|" in line for line in rest)


@pytest.mark.parametrize(
    ("counts", "strict", "code"),
    [
        ({"ok": 3}, False, 0),
        ({"ok": 3, "warning": 1}, False, 1),
        ({"ok": 3, "warning": 1}, True, 2),
        ({"error": 1}, False, 3),
        ({"error": 1, "failed": 1}, False, 2),
        ({}, False, 3),
    ],
)
def test_the_plugin_codes(counts: dict[str, int], strict: bool, code: int) -> None:
    """0 OK, 1 WARNING, 2 CRITICAL for any failure, 3 UNKNOWN when nothing could be said."""
    summary = Summary(dict.fromkeys(("failed", "error", "warning", "ok"), 0) | counts)
    assert nagios_code(summary, strict=strict) == code


def test_markdown_shows_hostile_text_as_text() -> None:
    """A name full of markup stays one cell of one row."""
    made = outcome("a|b <img src=x> *c* [d](e) @f `g`", verdict="failed", cause="tcp.refused")
    page = text("markdown", [Result("k", made)])
    row = next(line for line in page.splitlines() if "failed" in line and "Result" not in line)
    assert "<img" not in page
    assert r"a\|b &lt;img src=x&gt; \*c\* \[d\]\(e\) &#64;f \`g\`" in page
    assert row


def test_the_table_lists_what_is_not_well_and_counts_the_rest() -> None:
    """A large fleet's table shows the failing targets, causes, expiries and the counts."""
    results = [Result(str(n), outcome(f"t{n}")) for n in range(60)]
    bad = outcome("broken", verdict="failed", cause="tcp.refused", ends=(), message="refused")
    table = text("table", [*results, Result("b", bad)], width=100)
    assert "broken (mqtt.test:8883)" in table
    assert "t59" not in table.partition("Root cause")[0]
    assert "61 targets in 1.5 s: 60 ok, 1 failed. 60 that are ok are not listed" in table
    assert "t59 (mqtt.test:8883)" in text("table", results, width=100, verbose=True)
    assert max(map(len, table.splitlines())) <= 100


def test_a_narrow_terminal_and_an_ascii_one_can_show_the_table() -> None:
    """40 columns and no UTF-8 give a table without an error."""
    text("table", [Result("k", outcome())], width=40, unicode=False).encode("ascii")


def test_an_interrupted_run_says_what_is_missing() -> None:
    """Fewer results than targets: the table and the JSON say that the run is not complete."""
    results = [Result("k", outcome())]
    assert "2 were not checked" in text("table", results, expected=3)
    assert json.loads(text("json", results, expected=3))["complete"] is False


def test_causes_come_worst_and_most_frequent_first() -> None:
    """Errors before warnings, then by the number of targets."""
    made = [outcome(str(n), verdict="warning", cause="w") for n in range(5)]
    made += [outcome("a", verdict="failed", cause="rare")]
    made += [outcome(str(n), verdict="failed", cause="often") for n in range(3)]
    assert [(c.rule, len(c.targets)) for c in causes(made)] == [("often", 3), ("rare", 1), ("w", 5)]


def test_what_ends_when_is_told_by_ca_and_by_issuer() -> None:
    """Server certificates of one issuer and day are one line; a CA is a line of its own."""
    ca = end("Root", "root", 400)
    made = [
        outcome(f"t{n}", ends=(end("leaf", "end-entity", 60, mark=str(n)), ca)) for n in range(3)
    ]
    made.append(outcome("other", ends=(end("leaf", "end-entity", 30, "CN=Other"), ca)))
    found = [(e.day.isoformat(), e.certificate, len(e.targets)) for e in expiries(made)]
    assert found == [
        ("2026-07-01", "leaf", 1),
        ("2026-07-31", "3 server certificates", 3),
        ("2027-07-06", "Root", 4),
    ]


@pytest.mark.parametrize("format_id", sorted(FORMATS))
def test_no_format_passes_control_characters_on(format_id: str) -> None:
    """Hostile names come out without escapes, bidi controls or line breaks of their own."""
    target = Target("127.0.0.1", 1, label=HOSTILE)
    spec = keyed(Spec(HOSTILE, target, Options()))
    settings = Settings(
        True, inline=True, formats=(format_id,), at=datetime(2026, 6, 1, tzinfo=UTC)
    )
    page = text(format_id, [check_spec(spec, settings)])
    assert not set(page) & set("\x1b\u202e\0")
    assert "\n::error" not in page
