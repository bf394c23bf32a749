"""ca_commands.inspect and its rendering: what is in a CA file."""

import json
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tbdiag.ca_commands.inspect import inspect
from tbdiag.ca_commands.verify import verify
from tbdiag.model import CaPath, Verdict
from tbdiag.report.inspect import ca_json, ca_table
from tbdiag.sandbox.authority import Authority, make_key, pem, self_signed

ROOT_FOLDER = Path(__file__).parents[2]
REAL = ROOT_FOLDER.parent / "shared" / "real_chains"
SAMPLES = ROOT_FOLDER / "sample_chains"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
needs_real_chains = pytest.mark.skipif(
    not REAL.is_dir(), reason="../shared/real_chains is not here"
)


@pytest.fixture
def written(tmp_path):
    def write(*things):
        path = tmp_path / "ca.pem"
        data = b"".join(t if isinstance(t, bytes) else pem(t.certificate) for t in things)
        path.write_bytes(data)
        return str(path)

    return write


@needs_real_chains
def test_the_file_of_thingsboards_documentation():
    """R3 is an expired intermediate below ISRG Root X1: two warnings, no error."""
    report = inspect(str(REAL / "tb-cloud-chain.pem"), NOW)
    assert report.paths == (CaPath((1, 2), True),)
    assert {f.rule for f in report.findings} == {"ca.certificate-expired", "ca.unwrapped-base64"}
    assert report.verdict is Verdict.WARNING
    assert "96:BC:EC:06:26:49:76" in ca_table(report)


def test_paths_through_a_cross_signed_root(written):
    """One path per anchor, each with the numbers of its certificates."""
    root, old = Authority.root("Root", now=NOW), Authority.root("Old", now=NOW)
    report = inspect(written(root.intermediate("I"), root, old.cross_sign(root), old), NOW)
    assert set(report.paths) == {CaPath((1, 2), True), CaPath((1, 3, 4), True)}


def test_a_gap_is_named_at_the_end_of_its_path(written):
    """A path whose issuer is not in the file says which name is missing."""
    root = Authority.root("Root", now=NOW)
    report = inspect(written(root.intermediate("I")), NOW)
    assert report.paths == (CaPath((1,), False, "CN=Root"),)
    assert report.primary == "ca.no-root"


def test_a_twin_of_the_issuer_is_no_path(written):
    """The same name with another key does not continue the path."""
    root = Authority.root("Root", now=NOW)
    report = inspect(written(root.intermediate("I"), root.twin()), NOW)
    assert CaPath((1,), False, "CN=Root") in report.paths


def test_the_table_has_every_fact(written):
    """Role, subject, issuer, validity, days, key, signature, fingerprint and key identifiers."""
    root = Authority.root("CN=Root,O=Example", now=NOW)
    report = inspect(written(root.intermediate("I"), root), NOW)
    low = report.certificates[0]
    text = ca_table(report)
    for fact in (
        "intermediate",
        "CN=I",
        "O=Example",
        f"{low.not_after:%Y-%m-%d}",
        "3650",
        "EC P-256",
        "ecdsa-with-SHA256",
        low.fingerprint_sha256[:2].upper() + ":",
        low.subject_key_identifier,
        low.authority_key_identifier,
        "#1 I <- #2 Root",
    ):
        assert fact in text


def test_the_json_is_the_envelope_with_certificates(written):
    """schema_version, tool, verdict, primary, findings and every certificate with its role."""
    root = Authority.root("Root", now=NOW)
    document = json.loads(ca_json(inspect(written(root.intermediate("I"), root), NOW)))
    assert document["schema_version"] == 1
    assert document["tool"]["name"] == "tbdiag"
    assert (document["verdict"], document["primary"]) == ("ok", None)
    assert [c["role"] for c in document["certificates"]] == ["intermediate", "root"]
    assert document["paths"] == [{"certificates": [1, 2], "complete": True, "missing": ""}]
    assert ssl.PEM_cert_to_DER_cert(document["certificates"][1]["pem"])


@pytest.mark.parametrize(
    ("content", "primary"),
    [
        (b"", "ca.empty"),
        (b"<html></html>", "ca.not-a-certificate"),
        (b"\0\1\2" * 99, "ca.not-a-certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ca.corrupt-pem"),
    ],
)
def test_what_is_no_certificate_is_an_error_in_words(written, content, primary):
    """No certificate: the finding says what it is, and both outputs can be written."""
    report = inspect(written(content), NOW)
    assert report.primary == primary
    assert primary in ca_table(report)
    assert json.loads(ca_json(report))["certificates"] == []


def test_der_is_an_ordinary_thing_to_inspect(written):
    """Without a client to load it, a DER file earns a warning with the command to convert it."""
    root = Authority.root("Root", now=NOW)
    report = inspect(written(root.certificate.public_bytes(Encoding.DER)), NOW)
    assert (report.verdict, report.format) == (Verdict.WARNING, "der")
    assert [f.rule for f in report.findings] == ["ca.not-pem"]


def test_a_missing_file_is_a_finding(tmp_path):
    """Nothing is raised for a path that does not exist."""
    assert inspect(str(tmp_path / "no.pem"), NOW).primary == "ca.file-not-found"


def test_names_cannot_control_the_terminal(written):
    """Escape sequences and line breaks of a certificate's name are shown, not sent."""
    hostile = self_signed("\x1b[31mred\r\nx", alt_names=(), now=NOW)
    text = ca_table(inspect(written(hostile), NOW))
    assert "\x1b" not in text
    assert "\r" not in text


def test_verify_says_until_when():
    """The deciding client's last day and each client's verdict are in the report."""
    case = SAMPLES / "healthy"
    at = datetime(2026, 1, 15, tzinfo=UTC)
    report = verify(str(case / "ca.pem"), case / "presented.pem", "broker.example.org", at)
    assert report.verdict is Verdict.OK
    assert report.expires == datetime(2026, 3, 16, tzinfo=UTC)
    assert {c.client for c in report.clients} >= {"openssl", "openssl-strict", "webpki"}
    assert "Works until 2026-03-16" in ca_table(report)
    assert json.loads(ca_json(report))["clients"][0]["expires"] == "2026-03-16T00:00:00Z"


def test_verify_without_certificates_in_the_ca_file():
    """A CA file that is a web page blocks the judgement and is the cause."""
    case = SAMPLES / "ca-file-is-html"
    at = datetime(2026, 1, 15, tzinfo=UTC)
    report = verify(str(case / "ca.pem"), case / "presented.pem", "broker.example.org", at)
    assert report.primary == "ca.not-a-certificate"
    assert report.expires is None
    assert ca_table(report)


def test_thousands_of_certificates_are_no_burden(tmp_path):
    """2,000 certificates are read, judged and shown in a few seconds at most."""
    root, key = Authority.root("Root", now=NOW), make_key("ec")
    one = [root.issue_server(f"h{i}.example", key=key).certificate for i in range(2000)]
    path = tmp_path / "many.pem"
    path.write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in one))
    started = time.monotonic()
    report = inspect(str(path), NOW)
    text = ca_table(report)
    assert time.monotonic() - started < 10
    assert len(report.certificates) == 2000
    assert text.count("SHA-256") == 2000
