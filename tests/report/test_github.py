"""report.as_github: annotations, masks, the step summary."""

from __future__ import annotations

from tbdiag.evidence import CaEvidence, CaProblem, CaSource
from tbdiag.model import Severity, StageResult, Status
from tbdiag.report import render
from tbdiag.report.as_github import SUMMARY_CAP, mask_commands, step_summary
from tests.report.consumers import read_github, read_markdown
from tests.report.samples import NASTIEST, STORIES, finding, rebuilt, report, tainted


def test_every_finding_is_an_annotation():
    """Errors, warnings and remarks become error, warning and notice with the rule as title."""
    found = read_github(render(STORIES["wrong-ca"](), "github"))
    assert [level for level, _, _ in found] == ["error", "warning", "notice"]
    assert found[0][1]["title"] == "tbdiag x509.wrong-ca-file"
    assert found[0][2].split("\n")[2].startswith("Fix: Put the right root")
    assert "Not tested: Token (HTTP), MQTT connect" in found[-1][2]


def test_strict_makes_warnings_errors():
    """With --strict a warning is annotated as the error it counts as."""
    found = read_github(render(STORIES["warning"](), "github", strict=True))
    assert [level for level, _, _ in found] == ["error", "notice", "notice"]


def test_at_most_ten_of_a_level():
    """GitHub shows ten annotations of a level per step: the cause is first, the tenth counts."""
    many = tuple(finding(f"a.rule-{n}", "tls.verify") for n in range(25))
    found = [f for f in read_github(render(report(findings=many), "github")) if f[0] == "error"]
    assert len(found) == 10
    assert found[0][1]["title"] == "tbdiag a.rule-0"
    assert found[-1][2] == "16 more: see the step summary"


def test_a_fault_of_the_ca_file_points_into_it():
    """A finding of ca.load is shown at the file and line in the repository."""
    problem = CaProblem("corrupt-pem", "bad base64", line=7)
    source = CaSource("firmware/ca.pem", "file", "firmware/ca.pem", problems=(problem,))
    stage = StageResult("ca.load", "CA chain", Status.FAILED, "", evidence=CaEvidence((source,)))
    fault = finding("ca.corrupt-pem", "ca.load")
    made = rebuilt(report(findings=(fault,)), stages=(stage,))
    place = read_github(render(made, "github"))[0][1]
    assert (place["file"], place["line"]) == ("firmware/ca.pem", "7")


def test_hostile_text_comes_back_whole():
    """What the runner unescapes is the text of the finding: no comma, colon or percent is lost."""
    for _, _, message in read_github(render(STORIES["hostile"](), "github")):
        assert "<script>alert(1)</script>" in message
        assert "%25" in message


def test_masks_cover_every_line():
    """Each line of a secret is masked on a line of its own, escaped; an empty one is not."""
    assert mask_commands(["a%b", "first\nsecond\r\n", ""]) == (
        "::add-mask::a%25b\n::add-mask::first\n::add-mask::second\n"
    )


def test_the_step_summary_stays_within_its_limit():
    """The step summary is Markdown below 1 MiB, also with thousands of findings."""
    many = tuple(finding(f"a.rule-{n}", severity=Severity.WARNING) for n in range(5000))
    shown = step_summary(tainted(report(findings=many), NASTIEST * 2))
    assert len(shown.encode()) <= SUMMARY_CAP + 100
    read_markdown(step_summary(STORIES["hostile"]()))
