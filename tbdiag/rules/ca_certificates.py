"""What can be wrong with one certificate in a CA file."""

from __future__ import annotations

from collections.abc import Iterable

from tbdiag.context import Case
from tbdiag.evidence import CaEvidence, Certificate, HandshakeEvidence
from tbdiag.model import Severity
from tbdiag.registry import Fault, rule
from tbdiag.rules._ca_words import (
    accepted,
    get_it_again,
    judged,
    named,
    own_certificates,
    path_in_use,
    short,
    unless_judged,
)
from tbdiag.rules._expiry import expiry_severity, in_words
from tbdiag.rules._strict import strict_violations

STAGE = "ca.load"
VALIDITY = "RFC 5280 section 4.1.2.5"
PROFILE = "RFC 5280 section 4.2"
CONSTRAINTS = "RFC 5280 section 4.2.1.9"
KEY_SIZES = "NIST SP 800-131A"
MIN_BITS = {"RSA": 2048, "DSA": 2048, "EC": 224}
"""Fewer bits fall below OpenSSL's security level 2 (112 bits), the default of Debian and Python."""
WEAK_HASHES = ("md2", "md5", "sha1")


def _no_other_anchor(case: Case, evidence: CaEvidence) -> bool:
    """Whether no certificate of the file that could be a trust anchor is valid now."""
    return not any(
        c.self_signed and not c.expired(case.now) and not c.not_yet_valid(case.now)
        for c in evidence.certificates
    )


def _validity_severity(case: Case, evidence: CaEvidence) -> Severity:
    """Fatal only while no chain was judged and nothing valid is left; else x509 names the cause."""
    if judged(case) or not _no_other_anchor(case, evidence):
        return Severity.WARNING
    return Severity.ERROR


def _consequence(case: Case, evidence: CaEvidence, certificate: Certificate) -> str:
    if certificate in path_in_use(case):
        return "The server is still accepted because this client does not look at its dates."
    if accepted(case):
        return "The connection does not depend on it: the file has another certificate that works."
    if not judged(case) and not _no_other_anchor(case, evidence):
        return "Beside the file's valid root it does no harm, but it shows that the file is old."
    return "A client that needs this certificate refuses the server."


@rule("ca.certificate-expired", stage=STAGE, needs=CaEvidence, reference=VALIDITY)
def certificate_expired(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """A certificate in the CA file has expired.

    An expired root or intermediate no longer vouches for a server. Beside a root that is still
    valid it does no harm, but shows that the file is old.
    """
    for source, certificate in own_certificates(evidence):
        if certificate.expired(case.now):
            yield Fault(
                f"{named(source)}: {short(certificate)} expired {in_words(certificate, case.now)}.",
                _consequence(case, evidence, certificate),
                get_it_again(case, source),
                certificate.name,
                _validity_severity(case, evidence),
            )


@rule("ca.certificate-not-yet-valid", stage=STAGE, needs=CaEvidence, reference=VALIDITY)
def certificate_not_yet_valid(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """A certificate in the CA file is not valid yet.

    Either the clock of this machine is behind, or the certificate was issued for a later date.
    """
    for source, certificate in own_certificates(evidence):
        if certificate.not_yet_valid(case.now):
            yield Fault(
                f"{named(source)}: {short(certificate)} is valid only from"
                f" {certificate.not_before:%Y-%m-%d %H:%M} UTC; it is now"
                f" {case.now:%Y-%m-%d %H:%M} UTC.",
                "The clock is behind, or the certificate was made for a later date.",
                "Compare the clock with the true time (date -u); set it, or wait for that date.",
                certificate.name,
                _validity_severity(case, evidence),
            )


@rule(
    "ca.certificate-expiring",
    stage=STAGE,
    needs=CaEvidence,
    severity=Severity.WARNING,
    reference=VALIDITY,
)
def certificate_expiring(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """A certificate in the CA file expires soon.

    From that day on clients that rely on it refuse the server. The thresholds are --warn-days and
    --critical-days; unset, 30 days, or a third of the life of a short-lived certificate.
    """
    for source, certificate in own_certificates(evidence):
        severity = expiry_severity(certificate, case.now, case.options)
        if severity is None:
            continue
        idle = accepted(case) and certificate not in path_in_use(case)
        yield Fault(
            f"{named(source)}: {short(certificate)} expires {in_words(certificate, case.now)}.",
            "The connection does not depend on it today."
            if idle
            else "Clients that rely on this file refuse the server from that day on.",
            get_it_again(case, source),
            certificate.name,
            Severity.WARNING if idle else severity,
        )


@rule(
    "ca.end-entity-in-file",
    stage=STAGE,
    needs=CaEvidence,
    severity=Severity.WARNING,
    reference=CONSTRAINTS,
)
def end_entity_in_file(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The CA file holds a server's (or device's) certificate, not a CA's.

    An end-entity certificate vouches for nobody. Some stacks accept it for that very server, until
    it is renewed; OpenSSL clients do not. The root that issued it belongs into the file.
    """
    found = list(own_certificates(evidence))
    nothing_else = all(c.role == "end-entity" and not c.self_signed for _, c in found)
    for source, certificate in found:
        if certificate.role != "end-entity" or certificate.self_signed:
            continue
        yield Fault(
            f"{named(source)}: {certificate.name!r} is an end-entity certificate, issued by"
            f" {certificate.issuer}, valid until {certificate.not_after:%Y-%m-%d}.",
            "It is a server's or a device's own certificate, which changes with every renewal.",
            get_it_again(case, source),
            certificate.name,
            unless_judged(case) if nothing_else else Severity.WARNING,
        )


@rule(
    "ca.not-a-ca",
    stage=STAGE,
    needs=CaEvidence,
    severity=Severity.WARNING,
    reference=CONSTRAINTS,
)
def not_a_ca(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """A self-signed certificate in the CA file may not issue others.

    It says CA:FALSE, or its keyUsage lacks keyCertSign. It works as the trust anchor of a server
    that presents this very certificate; certificates issued with it are refused.
    """
    handshake = case.get(HandshakeEvidence)
    presented = handshake.certificate_list if handshake else ()
    for source, certificate in own_certificates(evidence):
        reason = _why_not_a_ca(certificate)
        if reason and certificate not in presented[:1]:
            yield Fault(
                f"{named(source)}: the self-signed certificate {certificate.name!r} {reason}.",
                "Clients accept it only from a server that presents this very certificate.",
                "Issue a root with basicConstraints CA:TRUE and keyUsage keyCertSign:"
                " openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650"
                " -subj /CN=MyRoot -addext keyUsage=critical,keyCertSign,cRLSign",
                certificate.name,
            )


def _why_not_a_ca(certificate: Certificate) -> str | None:
    if not certificate.self_issued or (certificate.version == 1 and certificate.is_ca is None):
        return None
    if certificate.is_ca is False:
        return "says CA:FALSE in its basicConstraints"
    if certificate.key_usage is not None and "keyCertSign" not in certificate.key_usage:
        return "lacks keyCertSign in its keyUsage"
    return "has no basicConstraints" if certificate.is_ca is None else None


@rule(
    "ca.strict-violation",
    stage=STAGE,
    needs=CaEvidence,
    severity=Severity.WARNING,
    reference=PROFILE,
)
def strict_violation(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """A CA certificate breaks RFC 5280's profile, and strict clients refuse it.

    Python 3.13's default contexts and OpenSSL's -x509_strict want keyUsage, key identifiers and
    critical basicConstraints in a CA. The recipe in ThingsBoard's documentation leaves them out.
    """
    handshake = case.get(HandshakeEvidence)
    presented = handshake.certificate_list if handshake else ()
    for source, certificate in own_certificates(evidence):
        if certificate in presented[:1] or not (certificate.is_ca or certificate.oddities):
            continue
        violations = dict.fromkeys((*strict_violations(certificate), *certificate.oddities))
        if violations:
            yield Fault(
                f"{named(source)}: {short(certificate)}: {'; '.join(violations)}.",
                "It does not follow RFC 5280's profile, which Python 3.13 and other strict clients"
                " enforce by default.",
                "Issue the CA again with -addext basicConstraints=critical,CA:TRUE -addext"
                " keyUsage=critical,keyCertSign,cRLSign -addext subjectKeyIdentifier=hash",
                certificate.name,
            )


@rule("ca.weak-key", stage=STAGE, needs=CaEvidence, severity=Severity.WARNING, reference=KEY_SIZES)
def weak_key(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """A CA's key is too short.

    RSA below 2048 bits and curves below 224 bits are refused by OpenSSL at security level 2, which
    Debian, Ubuntu and Python use.
    """
    del case
    for source, certificate in own_certificates(evidence):
        least = MIN_BITS.get(certificate.key.algorithm, 0)
        if certificate.key.bits is not None and certificate.key.bits < least:
            yield Fault(
                f"{named(source)}: the key of {short(certificate)} is {certificate.key}.",
                f"Security level 2 wants at least {certificate.key.algorithm} {least}.",
                "Issue the CA and its certificates again with a key of RSA 2048 or EC P-256.",
                certificate.name,
            )


@rule(
    "ca.weak-signature",
    stage=STAGE,
    needs=CaEvidence,
    severity=Severity.WARNING,
    reference=KEY_SIZES,
)
def weak_signature(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """An intermediate in the CA file is signed with MD5 or SHA-1.

    Such signatures can be forged and are refused by current clients. The signature of a root on
    itself is not checked by anyone and does not matter.
    """
    del case
    for source, certificate in own_certificates(evidence):
        if certificate.signature_hash in WEAK_HASHES and not certificate.self_signed:
            yield Fault(
                f"{named(source)}: {short(certificate)} is signed with"
                f" {certificate.signature_algorithm}.",
                f"Signatures over {certificate.signature_hash.upper()} can be forged; OpenSSL"
                " refuses them.",
                "Have it issued again with SHA-256: openssl x509 -req … -sha256",
                certificate.name,
            )
