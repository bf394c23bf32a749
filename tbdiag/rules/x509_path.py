"""What is wrong between the server's certificate and its root: order, signatures, constraints."""

from __future__ import annotations

import functools
import ipaddress
import itertools
from collections.abc import Iterable

from tbdiag.context import Case
from tbdiag.evidence import Certificate, HandshakeEvidence, VerifyEvidence
from tbdiag.model import Severity
from tbdiag.protocol.x509 import issued_by
from tbdiag.protocol.x509_extensions import NAMES
from tbdiag.registry import Fault, rule
from tbdiag.rules._unknown_ca import bad_signature as find_bad_signature
from tbdiag.rules._unknown_ca import best_path, facts_of, found_no_path, trusted_paths
from tbdiag.rules._words import identified, issuer_name, listed, quoted

STAGE = "tls.verify"
CERTIFICATE_LIST = "RFC 5246 section 7.4.2; RFC 8446 section 4.4.2"
WEAK_HASHES = ("md2", "md5", "sha1")
MIN_RSA_BITS = 2048
MIN_EC_BITS = 224
NAME_CONSTRAINT_ERRORS = {"47", "48", "49", "51", "52", "53"}
"""X509_V_ERR codes that only name constraints cause."""


def _severity(evidence: VerifyEvidence) -> Severity:
    """An error where the deciding stack refuses, a warning where it accepts nevertheless."""
    return Severity.WARNING if evidence.trusted else Severity.ERROR


def _path(case: Case) -> tuple[Certificate, ...]:
    facts = facts_of(case)
    return best_path(facts) if facts else ()


@rule(
    "x509.wrong-order",
    stage=STAGE,
    needs=VerifyEvidence,
    severity=Severity.WARNING,
    reference=CERTIFICATE_LIST,
)
def wrong_order(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """The server sends its certificates in the wrong order.

    The server's own certificate comes first, and each following one certifies the one before it.
    OpenSSL sorts the rest out, smaller stacks do not. When the first one is not the server's, no
    client accepts. ThingsBoard sends MQTT_SSL_PEM_CERT as it is, so the order is that of the file.
    """
    shown = case.get(HandshakeEvidence)
    presented = shown.certificate_list if shown else ()
    misplaced = _misplaced(presented)
    if misplaced is None:
        return
    first_is_ca = misplaced == presented[0]
    yield Fault(
        message=f"The server sends {listed(quoted(c) for c in presented)}, in this order; "
        f"{quoted(misplaced)} is in the wrong place.",
        cause="The first certificate is a CA's instead of the server's."
        if first_is_ca
        else "A certificate follows one that it did not issue.",
        fix="Put the server's certificate first, then its issuer, then that one's issuer: "
        "cat server.pem intermediate.pem > mqttserver.pem, and restart the server.",
        subject=misplaced.subject,
        severity=Severity.ERROR if first_is_ca and not evidence.trusted else _order_severity(case),
    )


def _order_severity(case: Case) -> Severity:
    """An error where the stack found no path although there is one: it does not look backwards."""
    facts = facts_of(case)
    if facts is None or facts.evidence.trusted or not found_no_path(facts.evidence.deciding):
        return Severity.WARNING
    ways = trusted_paths(facts, facts.evidence.decided_by)
    return Severity.ERROR if ways else Severity.WARNING


@functools.lru_cache(maxsize=64)
def _misplaced(presented: tuple[Certificate, ...]) -> Certificate | None:
    """The first certificate out of order; a stranger that issued none of the others is none."""
    if len(presented) < 2:
        return None
    below = [c for c in presented[1:] if issued_by(c, presented[0]) and c != presented[0]]
    if presented[0].is_ca and below:
        return presented[0]
    for index in range(1, len(presented)):
        certificate, before = presented[index], presented[index - 1]
        issues_another = any(issued_by(c, certificate) for c in presented if c != certificate)
        if issues_another and not issued_by(before, certificate):
            return certificate
    return None


@rule(
    "x509.root-presented",
    stage=STAGE,
    needs=VerifyEvidence,
    severity=Severity.INFO,
    reference=CERTIFICATE_LIST,
)
def root_presented(case: Case, _evidence: VerifyEvidence) -> Iterable[Fault]:
    """The server sends its root too.

    Harmless: no client trusts a root because it was sent. It costs every device its bytes in each
    handshake, which matters on cellular links and in small TLS buffers.
    """
    shown = case.get(HandshakeEvidence)
    for certificate in shown.certificate_list[1:] if shown else ():
        if certificate.self_signed:
            yield Fault(
                message=f"The server sends the root {identified(certificate)} "
                f"({len(certificate.der)} bytes) in every handshake.",
                cause="The server's certificate file contains the root.",
                fix="Remove the root from the server's certificate file (MQTT_SSL_PEM_CERT).",
                subject=certificate.subject,
            )


@rule("x509.weak-key", stage=STAGE, needs=VerifyEvidence, reference="RFC 9325 section 4.5")
def weak_key(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A key on the path is too short.

    RSA and DSA below 2048 bits and curves below 224 bits are refused by OpenSSL at security level
    2 (the default of Debian and Python) and by mbedTLS.
    """
    for certificate in _path(case):
        key = certificate.key
        least = MIN_EC_BITS if key.algorithm == "EC" else MIN_RSA_BITS
        if key.algorithm in ("RSA", "DSA", "EC") and (key.bits or least) < least:
            yield Fault(
                message=f"{identified(certificate)} has a key of {key.bits} bits ({key}).",
                cause=f"{key.algorithm} keys below {least} bits are refused as too weak.",
                fix="Create a new key and certificate: openssl ecparam -name prime256v1 -genkey "
                "-noout -out server.key",
                subject=certificate.subject,
                severity=_severity(evidence),
            )


@rule("x509.weak-signature", stage=STAGE, needs=VerifyEvidence, reference="RFC 9325 section 4.1")
def weak_signature(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A certificate on the path is signed with SHA-1 or MD5.

    Such signatures can be forged; OpenSSL at security level 2, mbedTLS and the Web PKI refuse
    them. The signature of the trust anchor itself does not matter.
    """
    for certificate in _path(case):
        if certificate.signature_hash in WEAK_HASHES and not certificate.self_signed:
            yield Fault(
                message=f"{identified(certificate)} is signed with "
                f"{certificate.signature_algorithm}.",
                cause=f"Signatures with {certificate.signature_hash.upper()} are refused as weak.",
                fix=f"Have {issuer_name(certificate)} sign it again with SHA-256: openssl x509 "
                "-req -sha256 …",
                subject=certificate.subject,
                severity=_severity(evidence),
            )


@rule("x509.path-length", stage=STAGE, needs=VerifyEvidence, reference="RFC 5280 section 4.2.1.9")
def path_length(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A CA stands above more intermediates than its pathLenConstraint allows.

    pathLenConstraint 0 means: this CA issues end-entity certificates only.
    """
    path = _path(case)
    for index, certificate in enumerate(path):
        below = [c for c in path[1:index] if not c.self_issued]
        if certificate.path_length is not None and len(below) > certificate.path_length:
            yield Fault(
                message=f"{identified(certificate)} allows {certificate.path_length} "
                f"intermediate(s) below it and has {len(below)}: "
                f"{listed(quoted(c) for c in below)}.",
                cause=f"The pathLenConstraint of {quoted(certificate)} is exceeded.",
                fix=f"Issue {quoted(below[-1])} from a CA that may have CAs below it, or issue the "
                f"server's certificate directly from {quoted(certificate)}.",
                subject=certificate.subject,
                severity=_severity(evidence),
            )


@rule(
    "x509.name-constraint", stage=STAGE, needs=VerifyEvidence, reference="RFC 5280 section 4.2.1.10"
)
def name_constraint(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A CA on the path may not issue for the names in the server's certificate.

    Its nameConstraints list the names it is permitted or forbidden to certify. mbedTLS does not
    support the extension at all and refuses every CA that has it marked critical.
    """
    path = _path(case)
    found = [(issuer, *pair) for issuer in path[1:] for pair in _outside(path[0], issuer)]
    if not found and evidence.deciding.code in NAME_CONSTRAINT_ERRORS:
        why = f"the client's answer is {evidence.deciding.reason}"
        limiting = [c for c in path[1:] if c.name_constraints is not None]
        found = [(issuer, "this server", why) for issuer in limiting]
    for issuer, name, limit in found:
        yield Fault(
            message=f"{identified(issuer)} may not issue for {name}: {limit}.",
            cause=f"The nameConstraints of {quoted(issuer)} exclude the server's name.",
            fix=f"Have {quoted(path[0])} issued by another CA, or only for permitted names.",
            subject=issuer.subject,
            severity=_severity(evidence),
        )


def _outside(leaf: Certificate, issuer: Certificate) -> Iterable[tuple[str, str]]:
    """(presented name, the constraint it breaks) for the first name outside."""
    if issuer.name_constraints is None:
        return
    permitted, excluded = issuer.name_constraints
    names = leaf.subject_alt_name or (f"DNS:{leaf.common_name}",)
    for name in (*names, *([f"dirName:{leaf.subject}"] if leaf.subject else [])):
        kind = name.partition(":")[0]
        allowed = [tree for tree in permitted if tree.startswith(f"{kind}:")]
        if any(within(name, tree) for tree in excluded):
            yield name, f"excluded are {listed(excluded)}"
            return
        if allowed and not any(within(name, tree) for tree in allowed):
            yield name, f"permitted are {listed(allowed)}"
            return


def within(name: str, subtree: str) -> bool:
    """Whether a presented identifier lies in a subtree (`DNS:example.org`, `IP:10.0.0.0/8`).

    As in OpenSSL `DNS:.example.org` holds the names below example.org, not example.org itself.
    """
    kind, _, value = name.partition(":")
    other, _, base = subtree.partition(":")
    if kind != other:
        return False
    if kind == "IP":
        try:
            return ipaddress.ip_address(value) in ipaddress.ip_network(base, strict=False)
        except ValueError:
            return False
    value, base = value.lower(), base.lower()
    if kind == "dirName":
        return not base or value == base or value.endswith(f",{base}")
    below = base if base.startswith(".") else f".{base}"
    return kind == "DNS" and (not base or value == base or value.endswith(below))


@rule("x509.issuer-not-a-ca", stage=STAGE, needs=VerifyEvidence, reference="RFC 5280 section 6.1.4")
def issuer_not_a_ca(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A certificate on the path was issued by one that is not a CA.

    basicConstraints must say cA, and keyUsage, where present, keyCertSign. Otherwise everyone with
    any certificate could issue for any name.
    """
    path = _path(case)
    for child, issuer in itertools.pairwise(path):
        fault = _no_ca(issuer)
        if fault:
            yield Fault(
                message=f"{quoted(child)} was issued by {identified(issuer)}, {fault}.",
                cause=f"{quoted(issuer)} is not a CA certificate.",
                fix=f"Issue {quoted(child)} from a CA certificate: openssl req -x509 -addext "
                "basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign …",
                subject=issuer.subject,
                severity=_severity(evidence),
            )


def _no_ca(issuer: Certificate) -> str | None:
    if issuer.is_ca is None and issuer.self_signed and issuer.version == 1:
        return None
    if not issuer.is_ca:
        return "which does not say cA in basicConstraints"
    if issuer.key_usage is not None and "keyCertSign" not in issuer.key_usage:
        return "whose keyUsage lacks keyCertSign"
    return None


@rule("x509.bad-signature", stage=STAGE, needs=VerifyEvidence, reference="RFC 5280 section 6.1.3")
def bad_signature(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A certificate's signature does not verify with the key of its issuer.

    Name and key identifier say which key signed it, and that key did not. The certificate was
    damaged or altered, or made by a broken tool.
    """
    facts = facts_of(case)
    if facts is None or evidence.trusted:
        return
    found = find_bad_signature(facts)
    if found:
        child, issuer = found
        yield Fault(
            message=f"{identified(child)} names {identified(issuer)} as its issuer, and that key "
            "does not verify its signature.",
            cause=f"The signature on {quoted(child)} is not valid.",
            fix=f"Have {quoted(child)} issued again, and replace it in the server's certificate "
            "file.",
            subject=child.subject,
        )


@rule(
    "x509.unknown-critical-extension",
    stage=STAGE,
    needs=VerifyEvidence,
    reference="RFC 5280 section 4.2",
)
def unknown_critical_extension(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """A certificate has a critical extension that TLS stacks do not process.

    Critical means: refuse the certificate unless you understand this. Key identifiers and
    authorityInfoAccess must not be critical either: OpenSSL and mbedTLS then refuse.
    """
    for certificate in _path(case):
        if certificate.unknown_critical:
            yield Fault(
                message=f"{identified(certificate)} has the critical extension "
                f"{listed(NAMES.get(oid, oid) for oid in certificate.unknown_critical)}.",
                cause="The extension is marked critical, and TLS stacks do not process it.",
                fix=f"Have {quoted(certificate)} issued again without it, or not critical.",
                subject=certificate.subject,
                severity=_severity(evidence),
            )
