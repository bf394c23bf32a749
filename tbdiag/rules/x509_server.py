"""The server's own certificate: its dates, its names and its purpose."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from tbdiag.context import Case
from tbdiag.evidence import Certificate, HandshakeEvidence, VerifyEvidence
from tbdiag.model import Severity
from tbdiag.protocol.x509_extensions import netscape_types
from tbdiag.protocol.x509_identity import ip_literal
from tbdiag.registry import Fault, rule
from tbdiag.rules._expiry import expiry_severity, in_words
from tbdiag.rules._unknown_ca import Facts, best_path, facts_of, trusted_paths
from tbdiag.rules._words import day, identified, listed, moment, quoted

STAGE = "tls.verify"
VALIDITY = "RFC 5280 section 4.1.2.5"
NAMES = "RFC 9525 section 6"
SSL_SERVER = 1
"""The bit of Netscape's certificate type."""
RESTART = (
    "ThingsBoard before 4.2.2.2 and 4.3.1.2 serves a renewed file only after a restart: "
    "sudo service thingsboard restart"
)


def _leaf(case: Case) -> Certificate | None:
    shown = case.get(HandshakeEvidence)
    return shown.certificate_list[0] if shown and shown.certificate_list else None


@rule("x509.certificate-expired", stage=STAGE, needs=VerifyEvidence, reference=VALIDITY)
def certificate_expired(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """The server's certificate has expired.

    Every client that looks at the clock refuses it. Often the file on disk has been renewed long
    ago and the server still presents the old one, because it reads the file only at start.
    """
    leaf = _leaf(case)
    if leaf is None or not leaf.expired(evidence.at):
        return
    yield Fault(
        message=f"The server's certificate {quoted(leaf)} was valid until "
        f"{moment(leaf.not_after)}; it expired {in_words(leaf, evidence.at)}.",
        cause=f"The server presents a certificate that expired on {day(leaf.not_after)}.",
        fix=f"Renew the certificate on the server and make the server load it. {RESTART}.",
        subject=leaf.subject,
    )


@rule(
    "x509.certificate-not-yet-valid",
    stage=STAGE,
    needs=VerifyEvidence,
    reference=VALIDITY,
    consequence_of=("clock.skew",),
)
def certificate_not_yet_valid(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A certificate of the server's path is not valid yet.

    Either the certificate was issued with a date in the future, or this machine's clock is behind.
    Devices without a battery-backed clock start in 1970 or 2000 until NTP has answered.
    """
    facts = facts_of(case)
    for certificate in _dated(facts) if facts else ():
        if certificate.not_yet_valid(evidence.at):
            yield Fault(
                message=f"{identified(certificate)} is valid from "
                f"{moment(certificate.not_before)}, and it is {moment(evidence.at)} here.",
                cause="The certificate's validity starts in the future, seen from this clock.",
                fix="Compare the clock with a time server (timedatectl). If it is right, wait for "
                f"{moment(certificate.not_before)} or have the certificate issued again.",
                subject=certificate.subject,
            )


def _dated(facts: Facts) -> tuple[Certificate, ...]:
    """The path; its trust anchor only where the client refuses (`ca.load` warns of it)."""
    path = best_path(facts)
    return path[:1] + _issuers(facts) if facts.evidence.trusted else path


def _issuers(facts: Facts) -> tuple[Certificate, ...]:
    """The issuers on the path that are no trust anchors of the CA file."""
    return tuple(c for c in best_path(facts)[1:] if not (c.self_signed and c in facts.anchors))


@rule(
    "x509.certificate-expiring",
    stage=STAGE,
    needs=VerifyEvidence,
    severity=Severity.WARNING,
    reference=VALIDITY,
)
def certificate_expiring(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A certificate that the server presents expires soon.

    Soon is 30 days, or a third of the lifetime of a certificate issued for less than 90 days,
    unless --warn-days and --critical-days say otherwise. The path works until the first of its
    certificates expires.
    """
    facts = facts_of(case)
    for certificate in best_path(facts)[:1] + _issuers(facts) if facts else ():
        severity = expiry_severity(certificate, evidence.at, case.options)
        if severity is not None:
            yield Fault(
                message=f"{identified(certificate)}, presented by the server, expires "
                f"{in_words(certificate, evidence.at)}.",
                cause="After that moment every client refuses the connection.",
                fix=f"Renew it on the server before {moment(certificate.not_after)}. {RESTART}.",
                subject=certificate.subject,
                severity=severity,
            )


@rule("x509.intermediate-expired", stage=STAGE, needs=VerifyEvidence, reference=VALIDITY)
def intermediate_expired(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """The server presents an intermediate certificate that has expired.

    Where no other path exists the connection fails. OpenSSL does not mention it when the issuer is
    unknown as well, so the dates of every certificate are compared here. Where another path still
    works it is a warning: the server should stop sending it.
    """
    facts = facts_of(case)
    if facts is None:
        return
    candidates = dict.fromkeys((*best_path(facts)[1:], *facts.presented[1:]))
    for certificate in candidates:
        if certificate.self_signed or not certificate.expired(evidence.at):
            continue
        needed = _needed(facts, certificate)
        yield Fault(
            message=f"The intermediate {identified(certificate)} expired "
            f"{in_words(certificate, evidence.at)}.",
            cause="Every path of the server's certificate runs through this expired intermediate."
            if needed
            else "The server still sends an expired intermediate; another path is used instead.",
            fix="Replace it in the server's certificate file (MQTT_SSL_PEM_CERT) by the CA's "
            f"present one, from the file that came with the certificate. {RESTART}.",
            subject=certificate.subject,
            severity=Severity.ERROR if needed else Severity.WARNING,
        )


def _needed(facts: Facts, certificate: Certificate) -> bool:
    """Whether the client refuses and no path around `certificate` exists."""
    if facts.evidence.trusted:
        return False
    ways = trusted_paths(facts, facts.evidence.decided_by) or (facts.climbed,)
    return all(certificate in way for way in ways)


def _wrong_name(evidence: VerifyEvidence) -> bool:
    """Whether the name does not match, for tbdiag or for the stack that decides."""
    refused_by_name = "CN_MISMATCH" in (evidence.deciding.code or "")
    return not evidence.name.matches or refused_by_name


@rule(
    "x509.name-mismatch",
    stage=STAGE,
    needs=VerifyEvidence,
    reference=NAMES,
    consequence_of=("x509.wrong-order",),
)
def name_mismatch(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """The server's certificate is not for the name the device connects to.

    A certificate is good for the names in its subjectAltName only. A wildcard stands for one label;
    an IP address must be listed as an IP address. ThingsBoard Cloud serves MQTT under
    mqtt.thingsboard.cloud and mqtt.eu.thingsboard.cloud, also for white-label domains.
    """
    leaf = _leaf(case)
    if leaf is None or not _wrong_name(evidence):
        return
    name = evidence.name
    names = listed(name.presented) or "no name at all"
    yield Fault(
        message=f"The device connects to {name.reference}; the certificate {quoted(leaf)} is for "
        f"{names}.",
        cause=_why_wrong_name(evidence, leaf),
        fix=_name_fix(case, evidence),
        subject=name.reference,
    )


def _why_wrong_name(evidence: VerifyEvidence, leaf: Certificate) -> str:
    reference, presented = evidence.name.reference, evidence.name.presented
    if evidence.name.matches:
        return "mbedTLS before 3.5 does not compare IP addresses with the certificate."
    if ip_literal(reference) is not None:
        if leaf.common_name == reference or f"DNS:{reference}" in presented:
            return f"{reference} stands in the certificate as a name, not as an IP address."
        return f"The certificate does not list the IP address {reference}."
    suffix = reference.partition(".")[2]
    deeper = suffix.partition(".")[2]
    if deeper and any(entry == f"DNS:*.{deeper}" for entry in presented):
        return f"The wildcard *.{deeper} covers one label only, so not {reference}."
    return f"The certificate does not list {reference}."


def _name_fix(case: Case, evidence: VerifyEvidence) -> str:
    reference = evidence.name.reference
    if reference in ("thingsboard.cloud", "cloud.thingsboard.io"):
        return "Connect to ThingsBoard Cloud's MQTT host: -h mqtt.thingsboard.cloud"
    usable = [e[4:] for e in evidence.name.presented if e.startswith("DNS:") and "*" not in e]
    connect = f"Connect to {usable[0]}, or have" if usable else "Have"
    return f"{connect} the certificate issued again for this name: {_sign_command(reference)}"


def _sign_command(reference: str) -> str:
    kind = "IP" if ip_literal(reference) is not None else "DNS"
    extension = shlex.quote(f"subjectAltName={kind}:{reference}")
    return (
        "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 "
        f"-out server.pem -extfile <(echo {extension})"
    )


@rule(
    "x509.no-subject-alt-name",
    stage=STAGE,
    needs=VerifyEvidence,
    severity=Severity.WARNING,
    reference="RFC 9525 section 1.4",
)
def no_subject_alt_name(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """The server's certificate names the server in its common name only.

    OpenSSL and mbedTLS still fall back to the common name; Go, rustls, browsers and current Java
    do not, and an IP address never matches a common name. Certificates made with ThingsBoard's
    older instructions are like this. Issue it again with a subjectAltName.
    """
    leaf = _leaf(case)
    if leaf is None or any(n[:4] in ("DNS:", "IP:") or n[:3] == "IP:" for n in _alt_names(leaf)):
        return
    refused = not evidence.trusted and evidence.name.by_common_name and _by_name(evidence)
    yield Fault(
        message=f"The certificate {quoted(leaf)} has no DNS name or IP address in subjectAltName.",
        cause="Only the common name says which server it is for, and many clients ignore that.",
        fix=f"Have it issued again with the name: {_sign_command(evidence.name.reference)}",
        subject=leaf.subject,
        severity=Severity.ERROR if refused else Severity.WARNING,
    )


def _alt_names(leaf: Certificate) -> tuple[str, ...]:
    return leaf.subject_alt_name or ()


def _by_name(evidence: VerifyEvidence) -> bool:
    """Whether the deciding stack refuses because the certificate has no subjectAltName."""
    return "subjectAltName" in evidence.deciding.reason


@rule(
    "x509.not-server-auth",
    stage=STAGE,
    needs=VerifyEvidence,
    reference="RFC 5280 sections 4.2.1.3 and 4.2.1.12",
)
def not_server_auth(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """The certificate is not for TLS servers.

    extendedKeyUsage, where present, must list serverAuth, in the server's certificate and in every
    intermediate above it; OpenSSL does not take anyExtendedKeyUsage for it. keyUsage, where
    present, must allow a signature or a key exchange. Typical: a client certificate on the server.
    """
    facts = facts_of(case)
    for index, certificate in enumerate(best_path(facts)) if facts else ():
        fault = _wrong_purpose(certificate, leaf=index == 0)
        if fault is None:
            continue
        yield Fault(
            message=f"{identified(certificate)} {fault}.",
            cause="The certificate was not issued for a TLS server.",
            fix="Have it issued again with extendedKeyUsage serverAuth and keyUsage "
            "digitalSignature: openssl x509 -req … -extfile <(printf "
            "'extendedKeyUsage=serverAuth\\nkeyUsage=digitalSignature,keyEncipherment\\n"
            f"subjectAltName=DNS:{evidence.name.reference}')",
            subject=certificate.subject,
            severity=Severity.WARNING if evidence.trusted else Severity.ERROR,
        )


def _wrong_purpose(certificate: Certificate, *, leaf: bool) -> str | None:
    purposes, usage = certificate.extended_key_usage, certificate.key_usage
    if purposes is not None and "serverAuth" not in purposes:
        return f"is for {listed(purposes)} only (extendedKeyUsage), not for serverAuth"
    allowed = {"digitalSignature", "keyEncipherment", "keyAgreement"}
    if leaf and usage is not None and not allowed & set(usage):
        return f"may be used for {listed(usage) or 'nothing'} only (keyUsage)"
    types = netscape_types(certificate.der) if leaf else None
    if types is not None and SSL_SERVER not in types:
        return "is not for SSL servers by Netscape's certificate type (nsCertType)"
    return None
