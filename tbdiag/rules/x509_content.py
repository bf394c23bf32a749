"""What a certificate itself says wrongly: its grammar, and the key identifiers it names."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from tbdiag.clients._openssl_errors import NO_PATH
from tbdiag.context import Case
from tbdiag.evidence import Certificate, VerifyEvidence
from tbdiag.protocol.x509_extensions import authority_certificate
from tbdiag.registry import Fault, rule
from tbdiag.rules._unknown_ca import best_path, diagnose, facts_of
from tbdiag.rules._words import identified, listed, quoted

STAGE = "tls.verify"
UNREADABLE = {"decode", "7", "13", "14", "41", "78"}
"""OpenSSL's answers, besides that it found no path, to a certificate it cannot read."""
HARMLESS = ("its serial number", "its issuer name", "it has extensions")
"""Oddities that no stack refuses for."""


@rule(
    "x509.malformed-certificate",
    stage=STAGE,
    needs=VerifyEvidence,
    reference="RFC 5280 section 4.1",
)
def malformed_certificate(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A certificate of the path is written in a way that the TLS stack cannot read.

    An extension that is there twice or does not parse, a date in another form than RFC 5280's, or
    two signature algorithms that differ: the stack drops the certificate, or says that the issuer
    is unknown. The tool that made it is broken.
    """
    facts = facts_of(case)
    if facts is None or evidence.trusted or not _unreadable(case, evidence):
        return
    for certificate in best_path(facts):
        wrong = [text for text in certificate.oddities if not text.startswith(HARMLESS)]
        if wrong:
            yield Fault(
                message=f"{identified(certificate)} does not follow RFC 5280: {listed(wrong)}. "
                f"The client's answer: {evidence.deciding.reason}.",
                cause=f"The TLS stack cannot read {quoted(certificate)}.",
                fix=f"Have {quoted(certificate)} issued again by another tool, such as openssl "
                "x509 -req, and look at it with: openssl x509 -noout -text -in server.pem",
                subject=certificate.subject,
            )


def _unreadable(case: Case, evidence: VerifyEvidence) -> bool:
    code = evidence.deciding.code or ""
    return code in UNREADABLE or not code.isdigit() or _lost_path(case, evidence)


def _lost_path(case: Case, evidence: VerifyEvidence) -> bool:
    """Whether OpenSSL found no path although one by verified signatures exists."""
    code, found = evidence.deciding.code or "", diagnose(case)
    no_path = code.isdigit() and int(code) in NO_PATH
    return no_path and (found is None or found.rule == "x509.unknown-ca")


@rule(
    "x509.key-identifier-mismatch",
    stage=STAGE,
    needs=VerifyEvidence,
    reference="RFC 5280 sections 4.2.1.1 and 4.2.1.2",
)
def key_identifier_mismatch(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A certificate names its issuer by an identifier that the issuer does not have.

    The signature verifies, but the authorityKeyIdentifier is of another key, or of another serial
    number: typical after a CA was issued again with its old key. OpenSSL then says that the issuer
    is unknown; mbedTLS and the Web PKI look at the signature only.
    """
    facts = facts_of(case)
    if facts is None or evidence.trusted or not _lost_path(case, evidence):
        return
    for child, issuer in _issuances(best_path(facts)):
        difference = _difference(child, issuer)
        if difference:
            yield Fault(
                message=f"{quoted(child)} was signed by {identified(issuer)}, but its "
                f"authorityKeyIdentifier names {difference}.",
                cause="OpenSSL takes a CA for the issuer only when the authorityKeyIdentifier is "
                "that CA's, so it finds none.",
                fix=f"Put the CA certificate that {quoted(child)} names into the CA file, or have "
                f"{quoted(child)} issued again: openssl x509 -req … -extfile <(printf "
                "'authorityKeyIdentifier=keyid\\n')",
                subject=child.subject,
            )


def _issuances(path: tuple[Certificate, ...]) -> Iterable[tuple[Certificate, Certificate]]:
    """(certificate, issuer) along a path; a root at its end issued itself."""
    yield from itertools.pairwise(path)
    if path[-1].self_signed:
        yield path[-1], path[-1]


def _difference(child: Certificate, issuer: Certificate) -> str | None:
    """What the child's authorityKeyIdentifier says that the issuer is not, in words."""
    wanted, held = child.authority_key_identifier, issuer.subject_key_identifier
    if wanted and held and wanted != held:
        return f"the key {wanted[:16]} and not {held[:16]}"
    name, serial = authority_certificate(child.der)
    if serial is not None and f"{serial:x}" != issuer.serial_number:
        return f"a CA certificate of serial number {serial:x} and not {issuer.serial_number}"
    if name is not None and name != issuer.issuer_der:
        return "a CA certificate that somebody else issued"
    return None
