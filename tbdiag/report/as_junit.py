"""JUnit XML, as Jenkins, GitLab and the other CI viewers read it."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, indent

from tbdiag import __version__
from tbdiag.model import Finding, Report, Severity, StageResult, Status
from tbdiag.registry import renderer
from tbdiag.report._markup import append, element, to_xml
from tbdiag.report.text import headline

SKIPPED = (Status.BLOCKED, Status.NOT_APPLICABLE)


@renderer("junit")
def as_junit(report: Report, *, strict: bool = False, **_style: object) -> str:
    """JUnit XML: a test case per stage; failure = the check said no, error = tbdiag could not."""
    cases = [_case(report, stage, strict) for stage in _stages(report)]
    suite = element(
        "testsuite",
        _properties(report),
        *cases,
        name=headline(report),
        **_totals(cases),
        time=_seconds(report.duration_ms),
        timestamp=report.started_at.strftime("%Y-%m-%dT%H:%M:%S"),
    )
    root = element(
        "testsuites",
        suite,
        name="tbdiag",
        **_totals(cases),
        time=_seconds(report.duration_ms),
    )
    indent(root)
    return to_xml(root)


def _stages(report: Report) -> list[StageResult]:
    """The report's stages, and one for every finding whose stage is not among them."""
    known = {stage.id for stage in report.stages}
    others = dict.fromkeys(f.stage for f in report.findings if f.stage not in known)
    return [*report.stages, *(StageResult(s, s, Status.OK, "") for s in others)]


def _case(report: Report, stage: StageResult, strict: bool) -> Element:
    case = element(
        "testcase",
        classname=f"tbdiag.{stage.id.partition('.')[0]}",
        name=stage.id,
        time=_seconds(stage.duration_ms),
    )
    found = [f for f in report.findings if f.stage == stage.id]
    grave = [f for f in found if f.severity is Severity.ERROR or _counts(f, strict)]
    append(case, _outcome(stage, grave))
    said = [stage.summary, *(_told(f) for f in found if f not in grave)]
    if stage.status not in SKIPPED:
        append(case, element("system-out", "\n\n".join(filter(None, said))))
    return case


def _counts(finding: Finding, strict: bool) -> bool:
    return strict and finding.severity is Severity.WARNING


def _outcome(stage: StageResult, grave: list[Finding]) -> Element | None:
    if stage.status is Status.ERROR:
        reason = stage.reason or stage.summary
        return element("error", reason, type="tbdiag.error", message=reason)
    if grave:
        text = "\n\n".join(_told(f) for f in grave)
        return element("failure", text, type=grave[0].rule, message=grave[0].message)
    if stage.status is Status.FAILED:
        return element("failure", stage.summary, type="failed", message=stage.summary)
    if stage.status is Status.BLOCKED:
        return element("skipped", message=_blocked(stage))
    if stage.status is Status.NOT_APPLICABLE:
        return element("skipped", message=f"not applicable: {stage.reason or stage.summary}")
    return None


def _blocked(stage: StageResult) -> str:
    by = f"blocked by {stage.blocked_by}"
    return f"{by}: {stage.reason}" if stage.reason else by


def _told(finding: Finding) -> str:
    lines = [f"{finding.severity}: {finding.rule}", finding.message, finding.cause]
    return "\n".join([*filter(None, lines), f"Fix: {finding.fix}", finding.pem or ""]).rstrip()


def _properties(report: Report) -> Element:
    facts = {
        "tbdiag.version": __version__,
        "target": f"{report.target.transport}://{report.target.address}",
        "server_name": report.target.reference_name,
        "verdict": report.verdict.value,
        "primary": report.primary or "",
        "insecure": str(report.options.insecure).lower(),
    }
    return element("properties", *(element("property", name=n, value=v) for n, v in facts.items()))


def _totals(cases: Iterable[Element]) -> dict[str, int]:
    cases = list(cases)
    tags = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    counted = {name: sum(c.find(tag) is not None for c in cases) for name, tag in tags.items()}
    return {"tests": len(cases), **counted}


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.3f}"
