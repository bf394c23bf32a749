"""What the registry holds, as rows and as published text: `list`, `explain`, docs/rules.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tbdiag import registry
from tbdiag.model import Transport
from tbdiag.registry import Rule
from tbdiag.report.escape import visible
from tbdiag.report.text import paint, wrap

if TYPE_CHECKING:
    from tbdiag.explanations import Match

RUNNER_RULES = {
    "tbdiag.unexplained": (
        "A stage failed and no rule explains it",
        "tbdiag never stays silent about a failure: when a stage fails and no rule knows why, the "
        "raw facts are reported under this id. Send the JSON report to the project so that a rule "
        "is made.",
    ),
    "tbdiag.out-of-time": (
        "Stages were left out because the time of the run was used up",
        "Nothing failed, but the stages before were so slow that --timeout passed. Run it again "
        "with a larger --timeout.",
    ),
}
"""Findings of the runner itself: id -> (title, explanation). All are errors."""


def entries(kind: str) -> list[dict[str, Any]]:
    """The rows of `tbdiag list KIND`: one dict per entry, the same keys in every row."""
    return {
        "checks": _checks,
        "rules": _rules,
        "formats": _formats,
        "presets": _presets,
        "scenarios": _scenarios,
    }[kind]()


def _checks() -> list[dict[str, Any]]:
    registry.load("checks")
    rows: list[dict[str, Any]] = []
    for transport in Transport:
        for check in registry.ordered_checks(transport.value):
            if not any(row["id"] == check.id for row in rows):
                rows.append(
                    {
                        "id": check.id,
                        "title": check.title,
                        "needs": ", ".join(check.requires) or "-",
                        "what it observes": check.doc.split("\n")[0],
                    }
                )
    return rows


def _rules() -> list[dict[str, Any]]:
    return [
        {"id": r.id, "severity": str(r.severity), "stage": r.stage, "meaning": r.title}
        for r in sorted_rules()
    ]


def sorted_rules() -> list[Rule]:
    """Every rule, by layer and id."""
    registry.load("rules")
    return sorted(registry.RULES.values(), key=lambda r: r.id)


def _formats() -> list[dict[str, Any]]:
    import importlib

    from tbdiag.report import FORMATS

    for name in FORMATS:
        importlib.import_module(f"tbdiag.report.as_{name}")
    docs = {f: registry.RENDERERS[f].doc.split("\n")[0] for f in FORMATS}
    return [{"id": f, "what it is for": docs[f]} for f in FORMATS]


def _presets() -> list[dict[str, Any]]:
    from tbdiag.targets.presets import PRESETS

    return [
        {
            "id": name,
            "target": f"{t.transport}://{t.address}",
            "CA": ", ".join(t.cafile),
            "installation": f"{t.label}, {t.http_url}",
        }
        for name, t in PRESETS.items()
    ]


def _scenarios() -> list[dict[str, Any]]:
    from tbdiag.sandbox import all_scenarios

    return [
        {"id": s.id, "primary": s.primary or "-", "fault": s.doc.split("\n")[0]}
        for s in all_scenarios().values()
    ]


def explain(text: str, *, width: int = 100, color: bool = False, **_style: Any) -> str | None:
    """The published text about a rule or stage id, or about an error text; None if unknown."""
    registry.load("rules")
    wanted = text.strip()
    if wanted in RUNNER_RULES:
        return _page(wanted, *RUNNER_RULES[wanted], "error", "", width, color)
    rule = registry.RULES.get(wanted)
    if rule:
        return _page(
            rule.id, rule.title, rule.doc, str(rule.severity), rule.reference, width, color
        )
    if re.fullmatch(r"[a-z]+\.[a-z]+", wanted):
        registry.load("checks")
        stage = registry.CHECKS.get(wanted)
        if stage:
            title, _, doc = stage.doc.partition("\n")
            return _page(stage.id, title.rstrip("."), doc, "stage", "", width, color)
    return _explained_text(text, width, color)


def similar_ids(text: str) -> list[str]:
    """Rule ids that `text` may have been meant for."""
    import difflib

    registry.load("rules")
    return difflib.get_close_matches(text.strip().lower(), sorted(registry.RULES), 3, 0.7)


def _explained_text(text: str, width: int, color: bool) -> str | None:
    from tbdiag.explanations import BEST, matches

    found = matches(text)
    if not found:
        return None
    blocks = [_explained(match, width, color) for match in found[:BEST]]
    rest = [f"  {m.explanation.title}" for m in found[BEST:]]
    if rest:
        blocks.append("\n".join([paint("Also recognised", "1", color), *rest]))
    return "\n\n".join(blocks) + "\n"


def _explained(match: Match, width: int, color: bool) -> str:
    entry = match.explanation
    lines = [paint(wrap(entry.title, width, ""), "1", color)]
    lines.append(wrap(f"recognised by: {visible(match.matched)}", width))
    if match.bytes_are:
        lines += ["", wrap(match.bytes_are, width)]
    lines += ["", wrap(entry.means, width), "", wrap(f"Seen in: {entry.seen}", width)]
    if entry.rules:
        lines += ["", paint("Possible causes, the likeliest first", "1", color)]
        lines += [_cause_line(rule_id, width) for rule_id in entry.rules]
    lines += ["", paint("Run next", "1", color), *(f"  {command}" for command in entry.run)]
    if entry.reports:
        lines += ["", wrap(f"Reported in: {', '.join(entry.reports)}", width)]
    return "\n".join(lines)


def _cause_line(rule_id: str, width: int) -> str:
    rule = registry.RULES.get(rule_id)
    title = wrap(rule.title if rule else "", width, " " * 37).lstrip()
    return f"  {rule_id:<34} {title}".rstrip()


def _page(
    rule_id: str, title: str, doc: str, severity: str, reference: str, width: int, color: bool
) -> str:
    lines = [paint(rule_id, "1", color) + f"  ({severity})", wrap(title + ".", width, "")]
    for paragraph in doc.split("\n\n"):
        if paragraph.strip():
            lines += ["", wrap(" ".join(paragraph.split()), width, "")]
    if reference:
        lines += ["", f"Reference: {reference}"]
    return "\n".join(lines) + "\n"
