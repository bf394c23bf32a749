"""sample_chains/: each folder, judged offline, gives what its case.toml names."""

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tbdiag.errors import UsageError
from tbdiag.model import Options, Severity
from tbdiag.offline import verify_files
from tests.make_sample_chains import case as cases
from tests.make_sample_chains import write

FOLDER = Path(__file__).parents[1] / "sample_chains"
REAL = Path(__file__).parents[2] / "shared" / "real_chains"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/case.toml"))
needs_real_chains = pytest.mark.skipif(
    not REAL.is_dir(), reason="../shared/real_chains is not here"
)


def judged(folder):
    case = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
    return case, verify_files(
        str(folder / "ca.pem"), folder / "presented.pem", case["host"], case["at"]
    )


def check(folder):
    case, report = judged(folder)
    found = {finding.rule for finding in report.findings}
    errors = [f.rule for f in report.findings if f.severity is Severity.ERROR]
    assert (report.primary or "") == case["primary"], report.findings
    assert set(case["rules"]) <= found
    assert bool(case["primary"]) == bool(errors)
    assert "tbdiag.unexplained" not in found


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_chain_gives_its_rules_and_primary(name):
    """The offline judgement has the primary and the rules that the case names."""
    check(FOLDER / name)


def test_the_folder_is_what_the_generator_writes(tmp_path):
    """The kept cases are those of the generator, which still gives the same verdicts."""
    write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == NAMES
    for name in NAMES:
        kept = (FOLDER / name / "case.toml").read_text(encoding="utf-8")
        assert (tmp_path / name / "case.toml").read_text(encoding="utf-8") == kept
        check(tmp_path / name)


def test_there_are_enough_cases_and_no_private_keys():
    """At least twelve cases, all with certificates only."""
    assert len(cases.table) >= 12
    for path in FOLDER.rglob("*"):
        assert path.is_dir() or b"PRIVATE KEY" not in path.read_bytes()


def test_an_accepted_chain_says_until_when_for_each_stack():
    """The earliest end on the path really used is given with every accepting verdict."""
    _, report = judged(FOLDER / "healthy")
    ends = {c.expires for c in report.clients if c.verdict == "accept"}
    assert ends == {datetime(2026, 1, 15, tzinfo=UTC) + timedelta(days=60)}


def test_a_critical_threshold_turns_the_verdict():
    """--critical-days 90 makes the 60 days left an error."""
    report = verify_files(
        str(FOLDER / "healthy" / "ca.pem"),
        FOLDER / "healthy" / "presented.pem",
        "broker.example.org",
        datetime(2026, 1, 15, tzinfo=UTC),
        Options(critical_days=90),
    )
    assert report.primary == "x509.certificate-expiring"


@pytest.mark.parametrize("content", [None, b"", b"<html></html>"])
def test_presented_without_certificates_is_a_usage_error(tmp_path, content):
    """A missing file, an empty one and a web page are named in one sentence."""
    path = tmp_path / "presented.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"presented\.pem"):
        verify_files(str(FOLDER / "healthy" / "ca.pem"), path, "broker.example.org")


@needs_real_chains
@pytest.mark.parametrize(
    ("name", "at", "primary"),
    [
        ("mqtt.thingsboard.cloud", datetime(2022, 1, 1, tzinfo=UTC), None),
        ("mqtt.thingsboard.cloud", datetime(2022, 12, 1, tzinfo=UTC), "x509.certificate-expired"),
        ("mqtt.thingsboard.cloud", datetime(2029, 1, 1, tzinfo=UTC), None),
        ("mqtt.eu.thingsboard.cloud", datetime(2022, 1, 1, tzinfo=UTC), "x509.name-mismatch"),
    ],
)
def test_the_chain_of_thingsboard_cloud_in_2021(name, at, primary):
    """Accepted in its time, expired after it, and never for the European name."""
    path = REAL / "tb-cloud-2021-chain.pem"
    report = verify_files(str(path), path, name, at)
    if at.year < 2029:
        assert report.primary == primary
    assert (report.verdict == "failed") is (at.year > 2022 or primary is not None)
