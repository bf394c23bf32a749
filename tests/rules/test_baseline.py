"""What changed since a baseline: renewed, another issuer, another root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tbdiag.baseline import encode_baseline, load_baseline, parse_baseline, save_baseline
from tbdiag.errors import UsageError
from tbdiag.evidence import HandshakeEvidence
from tbdiag.evidence.baseline import Baseline
from tbdiag.model import Options, Report, Severity, StageResult, Status, Target, Verdict
from tbdiag.rules.baseline import present_path
from tbdiag.sandbox.authority import Authority
from tests.chains import HOST, NOW, Chain, Judged, chain, chains, judged


def baseline_of(subject: Chain) -> Baseline:
    """The baseline of a chain as it would have been saved."""
    shown = HandshakeEvidence(HOST, True, "established", certificate_list=subject.facts()[0])
    path, rooted = present_path(shown, judged(subject).evidence)
    return Baseline(f"{HOST}:8883", HOST, NOW, path, rooted)


def compared(before: Chain, now: Chain) -> Judged:
    """What the rules say about `now` with the baseline of `before`."""
    return judged(now, options=Options(extra={"baseline": baseline_of(before)}))


def changes(seen: Judged) -> dict[str, Severity]:
    """The baseline findings."""
    return {r: s for r, s in seen.severities().items() if r.startswith("baseline.")}


ROOT = Authority.root()
MIDDLE = ROOT.intermediate()
OTHER = Authority.root("Other Root")


def test_nothing_changed_is_no_finding() -> None:
    """The same chain again."""
    assert changes(compared(chains()["good"], chains()["good"])) == {}


def test_a_renewal_under_the_same_issuer_is_worth_knowing() -> None:
    """Info only: devices notice nothing."""
    before, now = (chain(MIDDLE.issue_server(HOST), ROOT) for _ in range(2))
    assert changes(compared(before, now)) == {"baseline.certificate-renewed": Severity.INFO}


def test_another_intermediate_is_a_warning() -> None:
    """The root stays, the issuer does not."""
    before = chain(MIDDLE.issue_server(HOST), ROOT)
    now = chain(ROOT.intermediate("R11").issue_server(HOST), ROOT)
    assert changes(compared(before, now)) == {"baseline.issuer-changed": Severity.WARNING}


def test_another_root_is_an_error_although_it_is_trusted() -> None:
    """The CA file holds both roots, so it connects, and devices with the old one do not."""
    before = chain(MIDDLE.issue_server(HOST), ROOT, OTHER)
    now = chain(OTHER.intermediate("New").issue_server(HOST), ROOT, OTHER)
    seen = compared(before, now)
    assert seen.evidence.trusted
    assert seen.primary == "baseline.root-changed"
    assert changes(seen)["baseline.issuer-changed"] is Severity.WARNING


def test_another_root_is_seen_although_the_ca_file_refuses_it() -> None:
    """The presented root tells; the cause of the refusal stays the primary's."""
    before = chain(MIDDLE.issue_server(HOST), ROOT)
    moved = OTHER.intermediate("New").issue_server(HOST)
    now = chain(moved.presenting(*moved.chain, OTHER.certificate), ROOT)
    assert "baseline.root-changed" in changes(compared(before, now))


def test_a_root_issued_anew_with_its_key_is_the_same_root() -> None:
    """Subject and key decide, not the certificate's bytes."""
    again = ROOT.twin(key=ROOT.key)
    before = chain(ROOT.issue_server(HOST), ROOT)
    now = chain(again.issue_server(HOST), again)
    assert changes(compared(before, now)) == {"baseline.certificate-renewed": Severity.INFO}


def test_a_baseline_survives_its_file() -> None:
    """What is written is what is read."""
    baseline = baseline_of(chains()["good"])
    assert parse_baseline(encode_baseline(baseline)) == baseline


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"baseline_version": 9}', "not json"])
def test_a_file_that_is_no_baseline_is_a_usage_error(text: str, tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"b\.json"):
        load_baseline(path)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    """Nothing is compared with a baseline that cannot be read."""
    with pytest.raises(UsageError, match="cannot read the baseline"):
        load_baseline(tmp_path / "absent.json")


def report_of(subject: Chain | None) -> Report:
    """A report as far as a baseline reads it."""
    stages: tuple[StageResult, ...] = ()
    if subject is not None:
        shown = HandshakeEvidence(HOST, True, "established", certificate_list=subject.facts()[0])
        evidence = judged(subject).evidence
        stages = (
            StageResult("tls.handshake", "", Status.OK, "", evidence=shown),
            StageResult("tls.verify", "", Status.OK, "", evidence=evidence),
        )
    return Report(Target(HOST), Options(), NOW, NOW, 0, Verdict.OK, None, stages, ())


def test_a_report_is_saved_and_loaded(tmp_path: Path) -> None:
    """The file of --save-baseline is what --baseline takes."""
    saved = save_baseline(report_of(chains()["good"]), tmp_path / "b.json")
    assert load_baseline(tmp_path / "b.json") == saved
    assert saved.rooted
    assert len(saved.path) == 3


def test_without_a_certificate_nothing_is_saved(tmp_path: Path) -> None:
    """A run that did not get as far leaves an old baseline alone."""
    path = tmp_path / "b.json"
    path.write_text("old")
    with pytest.raises(UsageError, match="no baseline was saved"):
        save_baseline(report_of(None), path)
    assert path.read_text() == "old"
