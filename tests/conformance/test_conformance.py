"""Path validation against the real judges, case by case, in the manner of x509-limbo."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tbdiag.evidence import VerifyEvidence
from tbdiag.model import Report, Severity
from tbdiag.offline import verify_files
from tests.conformance import judges
from tests.conformance.registry import CASES, Case, Given

MODULES = (
    "validity",
    "constraints",
    "usage",
    "identifiers",
    "names",
    "name_constraints",
    "graphs",
    "algorithms",
)
for module in MODULES:
    importlib.import_module(f"tests.conformance.cases.{module}")

SECONDS = 5.0


@dataclass(frozen=True)
class Judged:
    """A case with its files and what `ca verify` says about them."""

    case: Case
    given: Given
    cafile: Path
    presented: Path
    report: Report

    @property
    def evidence(self) -> VerifyEvidence:
        """The verdicts of every stack."""
        found = self.report.stage("tls.verify").evidence
        assert isinstance(found, VerifyEvidence)
        return found

    def code(self) -> int:
        """The error number of our `openssl`; -1 where OpenSSL cannot load the certificates."""
        code = self.evidence.decision("openssl").code
        return int(code) if code.isdigit() else -1


@pytest.fixture(params=list(CASES))
def judged(request: pytest.FixtureRequest, tmp_path: Path) -> Judged:
    case = CASES[request.param]
    given = case.make()
    cafile, presented = tmp_path / "ca.pem", tmp_path / "presented.pem"
    cafile.write_bytes(judges.pem(given.anchors))
    presented.write_bytes(judges.pem(given.presented))
    report = verify_files(str(cafile), presented, given.host, given.at)
    return Judged(case, given, cafile, presented, report)


def test_every_judge_agrees(judged: Judged) -> None:
    """`ca verify` decides as OpenSSL's program and cryptography do, and names the cause."""
    case = judged.case
    assert judged.code() == case.openssl, judged.evidence.decision("openssl").reason
    assert judged.report.primary == case.primary, judged.report.findings
    assert (judged.evidence.decision("webpki").verdict == "accept") is case.webpki
    assert judges.cryptography_accepts(judged.given, profile=False) is case.webpki
    assert judges.cryptography_accepts(judged.given, profile=True) is case.profile
    if judges.OPENSSL:
        said = judges.program_says(judged.given, judged.cafile, judged.presented)
        assert said in case.program, f"openssl {judges.openssl_version()} says {said}"
    _is_sound(judged)


def _is_sound(judged: Judged) -> None:
    """A refusal has a cause, an acceptance has no error, and no stack crashed or took long."""
    errors = [f.rule for f in judged.report.findings if f.severity is Severity.ERROR]
    refused = judged.case.openssl != 0
    assert bool(judged.case.primary) is refused
    assert bool(errors) is refused
    assert "tbdiag.unexplained" not in errors
    assert all(d.verdict in ("accept", "reject", "unknown") for d in judged.evidence.decisions)
    assert all(d.reason.isprintable() for d in judged.evidence.decisions)
    assert judged.report.duration_ms < SECONDS * 1000


def test_there_are_many_cases_and_both_verdicts() -> None:
    """The table has far more than sixty cases, of acceptance and of refusal by every stack."""
    verdicts = {(case.openssl == 0, case.webpki) for case in CASES.values()}
    assert len(CASES) >= 200
    assert verdicts == {(True, True), (True, False), (False, True), (False, False)}


def test_every_module_of_cases_is_read() -> None:
    """No file of cases is left out of the run."""
    folder = Path(__file__).parent / "cases"
    assert {path.stem for path in folder.glob("*.py")} == set(MODULES)


def test_a_difference_between_judges_has_its_reason() -> None:
    """Where the program says something else than our OpenSSL, the case says why; few do."""
    different = [case for case in CASES.values() if case.program != {case.openssl}]
    assert all(case.why for case in different)
    assert len(different) <= 5
