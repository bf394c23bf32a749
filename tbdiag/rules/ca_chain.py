"""What can be wrong between the certificates of a CA file, and between it and the server."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from tbdiag.context import Case
from tbdiag.evidence import CaEvidence, Certificate, HandshakeEvidence, VerifyEvidence
from tbdiag.model import Severity
from tbdiag.protocol.x509 import issued_by, names_match, paths
from tbdiag.registry import Fault, rule
from tbdiag.rules._ca_words import (
    get_it_again,
    named,
    own_certificates,
    own_sources,
    short,
    unless_judged,
)

STAGE = "ca.load"
PATHS = "RFC 5280 section 6.1"
CONNECTIVITY = "https://thingsboard.io/docs/user-guide/mqtt-over-ssl/"
ISSUERS_TRIED = 20
"""Certificates of one name that are tried as issuer of one other."""
DOWNLOAD_PATH = "/api/device-connectivity/"


def _intermediates(evidence: CaEvidence) -> list[Certificate]:
    return [c for _, c in own_certificates(evidence) if c.is_ca and not c.self_signed]


@rule("ca.no-root", stage=STAGE, needs=CaEvidence, severity=Severity.WARNING, reference=PATHS)
def no_root(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The CA file holds intermediates, but no root.

    OpenSSL clients (mosquitto, paho) trust only a path that ends in a self-signed certificate of
    the file. mbedTLS and Python 3.13 stop at the intermediate, until it is replaced.
    """
    intermediates = _intermediates(evidence)
    if evidence.public or not intermediates or any(c.self_signed for c in evidence.certificates):
        return
    top = _topmost(intermediates)
    yield Fault(
        f"{evidence.described} holds no root: the topmost certificate is {top.name!r}, issued by"
        f" {top.issuer}.",
        "OpenSSL clients such as mosquitto_pub and paho want the root itself; an intermediate also"
        " changes more often.",
        get_it_again(case),
        top.name,
        unless_judged(case),
    )


def _topmost(intermediates: Sequence[Certificate]) -> Certificate:
    """The last certificate of the longest way up."""
    return max((next(paths(c, intermediates)) for c in intermediates[:20]), key=len)[-1]


@rule("ca.chain-gap", stage=STAGE, needs=CaEvidence, severity=Severity.WARNING, reference=PATHS)
def chain_gap(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The issuer of an intermediate in the CA file is missing, or has another key.

    Paths through that intermediate end nowhere, so it does no good in the file.
    """
    certificates = [c for _, c in own_certificates(evidence)]
    if not any(c.self_signed for c in certificates):
        return
    by_subject = _by_subject(certificates)
    rooted = {(c.subject_der, c.key.fingerprint_sha256) for c in certificates if c.self_signed}
    for source, child in own_certificates(evidence):
        if child.self_signed or not child.is_ca:
            continue
        issuers = by_subject.get(child.issuer_der) or [
            c for c in certificates[:200] if names_match(child, c)
        ]
        # Where the file holds the root of the same name and key, the path may end there.
        if (child.subject_der, child.key.fingerprint_sha256) in rooted:
            continue
        if any(issued_by(child, c) for c in issuers[:ISSUERS_TRIED]):
            continue
        yield Fault(
            f"{named(source)}: the issuer of {short(child)}, {child.issuer}, "
            + ("has another key in the file." if issuers else "is not in the file."),
            "A path through this intermediate does not reach a root of the file.",
            get_it_again(case, source),
            child.name,
        )


def _by_subject(certificates: Iterable[Certificate]) -> dict[bytes, list[Certificate]]:
    found: dict[bytes, list[Certificate]] = {}
    for certificate in certificates:
        found.setdefault(certificate.subject_der, []).append(certificate)
    return found


@rule("ca.wrong-order", stage=STAGE, needs=CaEvidence, severity=Severity.INFO, reference=PATHS)
def wrong_order(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The root stands before the certificates it issued.

    Clients on computers do not mind. A modem or a parser that takes only the first or the last
    certificate of a file may take the wrong one; the usual order is from the server up to the root.
    """
    del case
    for source in own_sources(evidence):
        later: dict[bytes, Certificate] = {}
        for certificate in reversed(source.certificates):
            child = later.get(certificate.subject_der)
            if child is not None and issued_by(child, certificate):
                yield Fault(
                    f"{named(source)}: {short(certificate)} stands before {child.name!r}, which it"
                    " issued.",
                    "The file was put together from the root downwards.",
                    "Put each certificate before its issuer, the root last; a device needs only"
                    " the root.",
                    certificate.name,
                )
                break
            if not certificate.self_signed:
                later.setdefault(certificate.issuer_der, certificate)


@rule("ca.duplicate", stage=STAGE, needs=CaEvidence, severity=Severity.INFO)
def duplicate(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """A certificate is in the CA file more than once.

    Harmless on a computer; on a device each copy takes memory and time.
    """
    del case
    for source in own_sources(evidence):
        counts: dict[Certificate, int] = {}
        for certificate in source.certificates:
            counts[certificate] = counts.get(certificate, 0) + 1
        for certificate, count in counts.items():
            if count > 1:
                yield Fault(
                    f"{named(source)} holds {short(certificate)} {count} times.",
                    "Files were appended to each other.",
                    f"Keep one copy of it in {shlex.quote(source.location)}.",
                    certificate.name,
                )


@rule(
    "ca.stale-download",
    stage=STAGE,
    needs=VerifyEvidence,
    severity=Severity.WARNING,
    reference=CONNECTIVITY,
)
def stale_download(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """The CA file that the platform offers does not fit the certificate its MQTT port presents.

    Nothing ties ThingsBoard's download to the MQTT listener: after a change of the server's
    certificate the administrator has to change both. Whoever downloads the file is locked out.
    """
    where = _stale_source(case) or (
        evidence.opinion.downloaded_from if evidence.opinion.downloaded_trusts is False else None
    )
    if not where:
        return
    deciding = _stale_source(case) is not None
    yield Fault(
        f"The CA file at {where} does not lead to the certificate that {case.target.address}"
        " presents.",
        "The platform's download is configured apart from its MQTT listener and was not changed"
        " with it.",
        f"On the server, set DEVICE_CONNECTIVITY_MQTTS_CA_ROOT_CERT to the root of the certificate"
        f" in MQTT_SSL_PEM_CERT. {get_it_again(case)}",
        where,
        Severity.ERROR if deciding else Severity.WARNING,
    )


def _stale_source(case: Case) -> str | None:
    """The platform's download, when this run trusts it alone and it does not reach the chain."""
    files, handshake = case.get(CaEvidence), case.get(HandshakeEvidence)
    if files is None or handshake is None or not handshake.certificate_list:
        return None
    if not all(DOWNLOAD_PATH in s.location for s in files.sources) or not files.certificates:
        return None
    anchors = files.certificates
    leaf, *others = handshake.certificate_list
    reached = leaf in anchors or any(
        set(path) & set(anchors) for path in paths(leaf, (*others, *anchors))
    )
    return None if reached else files.described
