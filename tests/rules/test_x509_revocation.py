"""Revocation, where the CA file holds the list that says so."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tbdiag.clients import decide_all
from tbdiag.context import Case
from tbdiag.evidence import CaEvidence, HandshakeEvidence, VerifyEvidence
from tbdiag.model import Options, Severity, Target
from tbdiag.protocol.ca_file import read_ca
from tbdiag.protocol.x509 import name_match
from tbdiag.registry import RULES, Fault, load
from tbdiag.sandbox.authority import Authority
from tests.chains import DAY, HOST, NOW, chain

ROOT = Authority.root()
MIDDLE = ROOT.intermediate()
SERVER = MIDDLE.issue_server(HOST)


def crl(issuer: Authority, *serials: int, signer: Authority | None = None) -> bytes:
    """A PEM CRL in `issuer`'s name, signed by `signer` (itself unless given)."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW - 10 * DAY)
        .next_update(NOW - DAY)
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial)
        builder = builder.add_revoked_certificate(entry.revocation_date(NOW - 2 * DAY).build())
    key = (signer or issuer).key
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


def faults(cafile: bytes) -> list[Fault]:
    """What x509.revoked says about SERVER with this CA file."""
    load("rules")
    presented, _ = chain(SERVER, ROOT).facts()
    source = read_ca(cafile, "ca.pem", "file", "ca.pem")
    decisions = decide_all(presented, source.certificates, HOST, NOW)
    evidence = VerifyEvidence(NOW, name_match(HOST, presented[0]), "openssl", decisions)
    shown = HandshakeEvidence(HOST, True, "established", certificate_list=presented)
    seen = {type(e): e for e in (evidence, shown, CaEvidence((source,)))}
    case = Case(Target(HOST), Options(), NOW, seen)
    return list(RULES["x509.revoked"].judge(case, evidence))


def test_a_revoked_server_certificate_is_a_warning() -> None:
    """The intermediate's own list names it; clients connect, so it is no error."""
    found = faults(ROOT.pem() + crl(MIDDLE, 5, SERVER.certificate.serial_number))
    assert len(found) == 1
    assert "revoked" in found[0].message
    assert "was to be replaced" in found[0].message
    assert RULES["x509.revoked"].severity is Severity.WARNING


def test_a_revoked_intermediate_is_found_too() -> None:
    """The root's list names the intermediate."""
    found = faults(ROOT.pem() + crl(ROOT, MIDDLE.certificate.serial_number))
    assert "tbdiag Intermediate" in found[0].message


def test_a_list_that_does_not_name_it_says_nothing() -> None:
    """Other serial numbers."""
    assert faults(ROOT.pem() + crl(MIDDLE, 5)) == []


def test_a_list_that_the_issuer_did_not_sign_says_nothing() -> None:
    """Anybody can write a list in the issuer's name."""
    forged = crl(MIDDLE, SERVER.certificate.serial_number, signer=Authority.root("Mallory"))
    assert faults(ROOT.pem() + forged) == []


def test_a_damaged_list_says_nothing() -> None:
    """Bytes that are no CRL."""
    block = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
    assert faults(ROOT.pem() + block) == []
