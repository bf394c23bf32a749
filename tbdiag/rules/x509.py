"""The meanings of "unknown CA": why no certification path ends at a certificate of the CA file.

At most one of these is reported for a chain; `_unknown_ca` documents the order of decision.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from tbdiag.context import Case
from tbdiag.evidence import Certificate, VerifyEvidence
from tbdiag.model import Severity
from tbdiag.protocol.x509 import same_key
from tbdiag.registry import Fault, rule
from tbdiag.rules._unknown_ca import Diagnosis, diagnose, facts_of
from tbdiag.rules._words import (
    address,
    ca_file,
    day,
    fingerprint,
    identified,
    issuer_name,
    pem_of,
    quoted,
    recommend_command,
)

STAGE = "tls.verify"
PATH_VALIDATION = "RFC 5280 section 6.1"
APPEND = (
    "On the server, append the intermediate to the certificate file and restart: "
    "cat server.pem intermediate.pem > mqttserver.pem (MQTT_SSL_PEM_CERT)"
)
CERTIFICATE_LIST = "RFC 8446 section 4.4.2; RFC 5246 section 7.4.2"


def untrusted(evidence: VerifyEvidence) -> bool:
    """Whether the deciding stack refuses: only then is there an unknown CA to give a meaning to."""
    return not evidence.trusted


def _meaning(
    rule_id: str, case: Case, fault: Callable[[Case, Diagnosis], Fault]
) -> Iterable[Fault]:
    """The fault, if the chain's meaning of unknown CA is the one of `rule_id`."""
    found = diagnose(case)
    if found is not None and found.rule == rule_id:
        yield fault(case, found)


meaning = functools.partial(rule, stage=STAGE, needs=VerifyEvidence, when=untrusted)


@meaning("x509.ca-file-is-end-entity", reference=PATH_VALIDATION)
def ca_file_is_end_entity(case: Case, _evidence: VerifyEvidence) -> Iterable[Fault]:
    """The CA file is the server's own certificate instead of its CA.

    A client needs the certificate that signed the server's, the root. The server's own certificate
    in its place is refused by OpenSSL (error 20), and one that worked somewhere stops working at
    the next renewal. Put the root into the CA file. (A self-signed server certificate is its own
    root: as CA file it is fine.)
    """
    yield from _meaning("x509.ca-file-is-end-entity", case, _end_entity)


def _end_entity(case: Case, found: Diagnosis) -> Fault:
    ours = found.ours or found.leaf
    current = ours == found.leaf
    which = "the very certificate that the server presents" if current else "an earlier one"
    cause = (
        "It is a server certificate, not the CA that signed it, and it cannot verify itself."
        if current
        else "It is the server's certificate from before a renewal, not the CA that signs them."
    )
    return Fault(
        message=f"{ca_file(case)} holds only {identified(ours)}: {which}. "
        f"The server's certificate was issued by {issuer_name(found.leaf)}.",
        cause=cause,
        fix=f"Put the root CA into the file instead: {recommend_command(case)}",
        subject=ours.subject,
    )


@meaning("x509.ca-file-is-intermediate", reference=PATH_VALIDATION)
def ca_file_is_intermediate(case: Case, _evidence: VerifyEvidence) -> Iterable[Fault]:
    """The CA file holds an intermediate of the server's path, but not the root.

    OpenSSL builds the path up to a self-signed root and refuses one that ends before (error 2).
    mbedTLS, and OpenSSL with partial chains as in Python 3.13, trust the intermediate itself and
    accept, until the server moves to another intermediate. The root in the CA file works for all.
    """
    yield from _meaning("x509.ca-file-is-intermediate", case, _intermediate)


def _intermediate(case: Case, found: Diagnosis) -> Fault:
    ours = found.ours or found.top
    root = _root_above(case, ours)
    return Fault(
        message=f"{ca_file(case)} holds the intermediate {identified(ours)}, which is on the "
        f"server's path, but not the root above it, {issuer_name(ours)}.",
        cause="An OpenSSL client trusts a path only when it ends at a self-signed root in the "
        "CA file.",
        fix=f"Put the root {issuer_name(ours)} into the CA file: {recommend_command(case)}",
        subject=ours.subject,
        pem=pem_of(root) if root else None,
    )


def _root_above(case: Case, intermediate: Certificate) -> Certificate | None:
    facts = facts_of(case)
    if facts is None:
        return None
    if facts.top.self_signed and facts.top != intermediate:
        return facts.top
    return facts.evidence.opinion.public_anchor


@meaning("x509.tls-intercepted", reference="RFC 8446 appendix C.2")
def tls_intercepted(case: Case, _evidence: VerifyEvidence) -> Iterable[Fault]:
    """A proxy or firewall on the way decrypts TLS and presents a certificate of its own.

    The issuer of the presented certificate is a known inspection product, not the CA of the
    server. Devices must not trust it: everything they send, the access token included, could be
    read on the way. Have the port exempted from inspection.
    """
    yield from _meaning("x509.tls-intercepted", case, _intercepted)


def _intercepted(case: Case, found: Diagnosis) -> Fault:
    theirs = found.theirs or found.top
    return Fault(
        message=f"The certificate for {case.target.reference_name} was issued by "
        f"{issuer_name(theirs)}: that is {found.product}, which inspects TLS traffic.",
        cause=f"{found.product} between here and the server decrypts the connection and signs "
        "certificates itself.",
        fix=f"Have {case.target.address} exempted from TLS inspection, or test from a network "
        "without it. Do not put the product's CA on devices unless its operator is to read "
        "their data.",
        subject=theirs.issuer,
    )


@meaning("x509.web-ca-not-mqtt-ca", reference=PATH_VALIDATION)
def web_ca_not_mqtt_ca(case: Case, _evidence: VerifyEvidence) -> Iterable[Fault]:
    """The CA file belongs to the web server of the host, not to its MQTT listener.

    The web interface on port 443 (often a reverse proxy with a Let's Encrypt certificate) and
    ThingsBoard's MQTT listener have certificates of their own. This CA file validates the first
    and not the second. Use the CA of the MQTT certificate, or give the MQTT listener the web
    server's certificate (MQTT_SSL_PEM_CERT, MQTT_SSL_PEM_KEY).
    """
    yield from _meaning("x509.web-ca-not-mqtt-ca", case, _web_ca)


def _web_ca(case: Case, found: Diagnosis) -> Fault:
    web = found.theirs or found.leaf
    return Fault(
        message=f"{ca_file(case)} validates what port 443 of {case.target.host} presents "
        f"({quoted(web)} issued by {issuer_name(web)}), but port {case.target.effective_port} "
        f"presents {quoted(found.leaf)} issued by {issuer_name(found.leaf)}.",
        cause="The CA file is that of the web server; the MQTT listener has another certificate.",
        fix=f"Use the CA of the MQTT listener: {recommend_command(case)}. Or let the listener use "
        "the web server's certificate: set MQTT_SSL_PEM_CERT and MQTT_SSL_PEM_KEY, restart.",
        subject=found.leaf.issuer,
    )


@meaning("x509.self-signed-server", reference="RFC 5280 section 3.2")
def self_signed_server(case: Case, _evidence: VerifyEvidence) -> Iterable[Fault]:
    """The server presents a self-signed certificate that is not in the CA file.

    Nobody vouches for such a certificate but itself, so the client must hold exactly this one as
    its CA file, got from the server by a safe way. It has to be replaced on every device whenever
    the server's certificate is.
    """
    yield from _meaning("x509.self-signed-server", case, _self_signed)


def _self_signed(case: Case, found: Diagnosis) -> Fault:
    leaf, earlier = found.leaf, found.ours
    message = f"The server presents {identified(leaf)}, which signed itself and is not in "
    message += f"{ca_file(case)}."
    if earlier is not None:
        key = "with the same key" if same_key(earlier, leaf) else "with another key"
        message += f" The file holds another certificate of that name {key}, {identified(earlier)}."
    return Fault(
        message=message,
        cause="A self-signed certificate is trusted only where it is itself in the CA file.",
        fix="Compare its SHA-256 fingerprint with the server's own file (on the server: openssl "
        "x509 -in mqttserver.pem -noout -fingerprint -sha256); it must be "
        f"{fingerprint(leaf)}. Only then save the PEM below as the CA file.",
        subject=leaf.subject,
        pem=pem_of(leaf),
    )


@meaning("x509.anchor-key-changed", reference="RFC 5280 sections 4.2.1.1 and 4.2.1.2")
def anchor_key_changed(case: Case, _evidence: VerifyEvidence) -> Iterable[Fault]:
    """The CA file holds a CA of the right name, but the server's path uses another key.

    The CA was created anew under its old name, or two installations named theirs alike. Names
    agree, so both look the same in a listing; the key identifiers differ, and no signature
    verifies. The file must hold the CA with the present key.
    """
    yield from _meaning("x509.anchor-key-changed", case, _key_changed)


def _key_changed(case: Case, found: Diagnosis) -> Fault:
    ours = found.ours or found.top
    if found.theirs is not None and found.theirs in _anchors(case):
        return _two_of_one_name(case, ours, found.theirs)
    child = next((c for c in found.climbed if c.issuer_der == ours.subject_der), found.top)
    theirs = (
        f"key id {child.authority_key_identifier[:16]}" if child.authority_key_identifier else ""
    )
    theirs = theirs or "another key"
    return Fault(
        message=f"{ca_file(case)} holds {identified(ours)}, and {quoted(child)} was signed by a CA "
        f"of that name with {theirs}; the file's key does not verify it.",
        cause=f"{quoted(ours)} exists with two keys, and the CA file holds the one the server's "
        "path does not use.",
        fix=f"Replace {quoted(ours)} in the CA file by the one with the present key, from whoever "
        f"runs that CA: {recommend_command(case)}",
        subject=ours.subject,
        pem=pem_of(found.theirs) if found.theirs else None,
    )


def _anchors(case: Case) -> tuple[Certificate, ...]:
    """The certificates of the CA file that matter to the chain."""
    facts = facts_of(case)
    return facts.anchors if facts else ()


def _two_of_one_name(case: Case, wrong: Certificate, right: Certificate) -> Fault:
    return Fault(
        message=f"{ca_file(case)} holds two CAs named {quoted(right)} with different keys, "
        f"{identified(wrong)} and {identified(right)}; only the second signed the server's path.",
        cause="No key identifier tells the two apart, and OpenSSL takes the first of the name.",
        fix=f"Remove {identified(wrong)} from the CA file, or have the CA issued again with "
        "subjectKeyIdentifier and what it issues with authorityKeyIdentifier.",
        subject=wrong.subject,
        pem=pem_of(right),
    )


@meaning("x509.anchor-expired", reference="RFC 5280 section 6.1.3")
def anchor_expired(case: Case, _evidence: VerifyEvidence) -> Iterable[Fault]:
    """The CA file holds the right root, and it has expired.

    OpenSSL and mbedTLS check the dates of trust anchors too. The CA must have a newer root, often
    with the same name; it has to get onto the devices. An expired root beside another path that
    still works does no harm and is not reported here.
    """
    yield from _meaning("x509.anchor-expired", case, _expired_anchor)


def _expired_anchor(case: Case, found: Diagnosis) -> Fault:
    ours, newer = found.ours or found.top, found.theirs
    fix = f"Replace it by the CA's present root: {recommend_command(case)}"
    if newer is not None:
        fix += f". That is {identified(newer)}; its PEM is below."
    return Fault(
        message=f"The server's path ends at {identified(ours)} of {ca_file(case)}, which expired "
        f"on {day(ours.not_after)}.",
        cause=f"The trust anchor {quoted(ours)} in the CA file has expired.",
        fix=fix,
        subject=ours.subject,
        pem=pem_of(newer) if newer else None,
    )


@rule(
    "x509.missing-intermediate",
    stage=STAGE,
    needs=VerifyEvidence,
    reference=CERTIFICATE_LIST,
)
def missing_intermediate(case: Case, _evidence: VerifyEvidence) -> Iterable[Fault]:
    """The server does not send the intermediate certificate that issued its own.

    A client holds roots only, so the server must send every certificate between its own and the
    root. ThingsBoard sends exactly what MQTT_SSL_PEM_CERT contains: the intermediates belong into
    that file after the server's certificate. Browsers hide the fault, because they fetch or
    remember intermediates; devices do not. Where this CA file holds the intermediate itself it
    works here, and is a warning.
    """
    yield from _meaning("x509.missing-intermediate", case, _missing)
    for held in held_by_file_only(case):
        yield Fault(
            message=f"The server does not send the intermediate {identified(held)}; this client "
            f"finds it in {ca_file(case)}.",
            cause="The path works only because the CA file holds what the server should send.",
            fix=f"{APPEND}. A device whose CA file holds only the root is refused until then.",
            subject=held.subject,
            severity=Severity.WARNING,
            pem=pem_of(held),
        )


def held_by_file_only(case: Case) -> list[Certificate]:
    """The intermediates of an accepted path that the server did not send."""
    facts = facts_of(case)
    if facts is None or not facts.evidence.trusted:
        return []
    return [c for c in facts.evidence.deciding.path[1:-1] if c not in facts.presented]


def _missing(case: Case, found: Diagnosis) -> Fault:
    absent, top = found.absent, found.top
    why = f" ({absent.why})" if absent and absent.why else ""
    held = absent.certificate if absent else None
    certain = "is" if absent and absent.certain else "is most likely"
    return Fault(
        message=f"The server sends {_counted(found)}, and the issuer of {quoted(top)}, "
        f"{issuer_name(top)}, is neither sent nor in {ca_file(case)}.",
        cause=f"{issuer_name(top)} {certain} an intermediate that the server must send{why}.",
        fix=f"{APPEND}. What to do on the device meanwhile: tbdiag ca recommend {address(case)}",
        subject=top.issuer,
        pem=pem_of(held) if held else None,
    )


def _counted(found: Diagnosis) -> str:
    if len(found.climbed) == 1:
        return f"its own certificate {quoted(found.leaf)} without any issuer of it"
    return f"a path of {len(found.climbed)} certificates that ends at {quoted(found.top)}"


@meaning("x509.wrong-ca-file", reference=PATH_VALIDATION)
def wrong_ca_file(case: Case, _evidence: VerifyEvidence) -> Iterable[Fault]:
    """The CA file holds another CA than the one that issued the server's certificate.

    The server's path leads to a root which the file does not hold. Usually the file is of another
    server, or the server moved to another CA and the file on the device is the old one.
    """
    yield from _meaning("x509.wrong-ca-file", case, _wrong_file)


def _wrong_file(case: Case, found: Diagnosis) -> Fault:
    root, top, ours = found.theirs, found.top, found.ours
    wanted = quoted(root) if root else issuer_name(top)
    stands = f"which is not in {ca_file(case)}"
    if ours is not None:
        stands = f"but {ca_file(case)} holds {identified(ours)} instead"
    return Fault(
        message=f"The path of the server's certificate {quoted(found.leaf)} leads to {wanted}, "
        f"{stands}.",
        cause=_why_wrong(case, found, wanted),
        fix=_get_root(case, root, wanted),
        subject=root.subject if root else top.issuer,
        pem=pem_of(root) if root else None,
    )


def _why_wrong(case: Case, found: Diagnosis, wanted: str) -> str:
    cause = f"{ca_file(case)} does not contain {wanted}, the CA of this server"
    if found.absent is not None and not found.top.is_ca:
        return (
            f"{cause}; or, if {wanted} is an intermediate, the server does not send it: with the "
            "issuer absent on both sides nothing tells them apart."
        )
    return f"{cause}."


def _get_root(case: Case, root: Certificate | None, wanted: str) -> str:
    if root is not None and root == case_public_anchor(case):
        return (
            f"Put the public root {wanted} (PEM below) into the CA file: {recommend_command(case)}"
        )
    if root is not None:
        return (
            f"Get {wanted} from whoever runs the server, or compare the SHA-256 fingerprint with "
            f"them ({fingerprint(root)}) and save the PEM below as the CA file."
        )
    return (
        f"Get the certificate of {wanted} from whoever runs the server and use it as CA file; "
        f"{recommend_command(case)} tries the platform's own download."
    )


def case_public_anchor(case: Case) -> Certificate | None:
    """The public root that validates the chain, as the second opinion found it."""
    evidence = case.get(VerifyEvidence)
    return evidence.opinion.public_anchor if evidence else None
