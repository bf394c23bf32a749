"""Certificates that their CA has revoked, where the CA file holds the list that says so."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from tbdiag.context import Case
from tbdiag.evidence import CaEvidence, Certificate, VerifyEvidence
from tbdiag.model import Severity
from tbdiag.protocol.x509 import public_key_der
from tbdiag.registry import Fault, rule
from tbdiag.rules._unknown_ca import best_path, facts_of
from tbdiag.rules._words import ca_file, day, identified, issuer_name


@rule(
    "x509.revoked",
    stage="tls.verify",
    needs=VerifyEvidence,
    severity=Severity.WARNING,
    reference="RFC 5280 section 5",
)
def revoked(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A certificate of the server's path has been revoked by its issuer.

    The CA file holds a certificate revocation list, signed by the issuer, in which the certificate
    stands. mosquitto_pub, paho and devices do not look at such lists unless told to, so they
    connect; a client that does refuses. No list is fetched: without one in the CA file nothing is
    known about revocation.
    """
    for certificate, entry, crl in _revoked(case):
        stale = crl.next_update_utc is not None and crl.next_update_utc < evidence.at
        age = f" (the list was to be replaced on {day(crl.next_update_utc)})" if stale else ""
        yield Fault(
            message=f"{issuer_name(certificate)} revoked {identified(certificate)} on "
            f"{day(entry.revocation_date_utc)}, says the revocation list in {ca_file(case)}{age}.",
            cause="The issuer withdrew the certificate: its key may be in other hands.",
            fix="Have a new certificate issued for a new key, and put it on the server.",
            subject=certificate.subject,
        )


def _revoked(case: Case) -> Iterator[tuple[Certificate, Any, Any]]:
    """(certificate, its entry, the list) for every certificate of the path on a valid list."""
    ca, facts = case.get(CaEvidence), facts_of(case)
    lists = [der for source in ca.sources for der in source.revocation_lists] if ca else []
    if not lists or facts is None:
        return
    for child, issuer in itertools.pairwise(best_path(facts)):
        for der in lists:
            crl = _signed_list(der, issuer)
            entry = crl and crl.get_revoked_certificate_by_serial_number(
                int(child.serial_number, 16)
            )
            if entry is not None:
                yield child, entry, crl
                break


def _signed_list(der: bytes, issuer: Certificate) -> Any:
    """The CRL, if `issuer` signed it; else None."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        crl = x509.load_der_x509_crl(der)
        if crl.issuer.public_bytes() != issuer.subject_der:
            return None
        key: Any = load_der_public_key(public_key_der(issuer))
        return crl if crl.is_signature_valid(key) else None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
