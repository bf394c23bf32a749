"""Annotations for GitHub Actions, and what goes with them: masks and the step summary.

Nothing from a server begins a workflow command: every line here starts with our own command, and
what follows is escaped as the runner unescapes it.
"""

from __future__ import annotations

from collections.abc import Iterable

from tbdiag.evidence import CaEvidence
from tbdiag.model import Finding, Report, Severity, Verdict
from tbdiag.registry import renderer
from tbdiag.report._facts import evidence
from tbdiag.report.text import counts, headline, untested

CAP = 10
"""Annotations of one level that GitHub shows per step."""
SUMMARY_CAP = 1024 * 1024 - 1024
"""Bytes of a step summary; GitHub refuses more than 1 MiB."""
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


@renderer("github")
def as_github(report: Report, *, strict: bool = False, **_style: object) -> str:
    """Workflow commands of GitHub Actions: an annotation per finding, and one for the result."""
    lines: list[str] = []
    for severity in Severity:
        found = [f for f in report.findings if f.severity is severity]
        level = "error" if strict and severity is Severity.WARNING else LEVELS[severity]
        lines += [_annotation(report, f, level) for f in _first_the_cause(report, found)[:CAP]]
        if len(found) > CAP:
            lines[-1] = _command(level, f"{len(found) - CAP + 1} more: see the step summary", {})
    lines.append(_result(report))
    return "\n".join(lines) + "\n"


def _first_the_cause(report: Report, found: list[Finding]) -> list[Finding]:
    return sorted(found, key=lambda f: f is not report.root_cause)


def _result(report: Report) -> str:
    left_out = ", ".join(s.title for s in untested(report))
    text = f"{headline(report)}: {report.verdict}, {counts(report)}."
    text += f" Not tested: {left_out}." if left_out else ""
    if report.options.insecure:
        text = f"INSECURE: the server was not verified. {text}"
    level = "error" if report.verdict is Verdict.ERROR else "notice"
    return _command(level, text, {"title": "tbdiag"})


def _annotation(report: Report, finding: Finding, level: str) -> str:
    text = f"{headline(report)}: {finding.message}\n{finding.cause}\nFix: {finding.fix}"
    return _command(level, text, {**_place(report, finding), "title": f"tbdiag {finding.rule}"})


def _place(report: Report, finding: Finding) -> dict[str, str]:
    """The file and line to annotate, where the fault is in the one CA file of the repository."""
    seen = evidence(report, CaEvidence)
    sources = seen.sources if seen and finding.stage == "ca.load" else ()
    files = [s for s in sources if s.origin == "file"]
    if len(files) != 1 or files[0].location.startswith("/") or ".." in files[0].location:
        return {}
    line = next((p.line for p in files[0].problems if p.line), 1)
    return {"file": files[0].location, "line": str(line)}


def _command(level: str, message: str, properties: dict[str, str]) -> str:
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level}{' ' if given else ''}{given}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def mask_commands(secrets: Iterable[str]) -> str:
    """`::add-mask::` for every line of every secret: print it before anything that may hold one."""
    lines = {line.strip() for secret in secrets for line in secret.splitlines()}
    return "".join(f"::add-mask::{_data(line)}\n" for line in sorted(lines) if line)


def step_summary(report: Report) -> str:
    """What belongs into the file `$GITHUB_STEP_SUMMARY`: the Markdown report, within its limit."""
    from tbdiag.report import render

    text = render(report, "markdown").encode()
    if len(text) <= SUMMARY_CAP:
        return text.decode()
    return text[:SUMMARY_CAP].decode("utf-8", "ignore") + "\n\nCut: GitHub takes 1 MiB.\n"
