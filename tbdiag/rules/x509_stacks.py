"""What the TLS stacks themselves say: where they differ, and what nothing else explains."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tbdiag.clients._openssl_errors import NO_PATH
from tbdiag.context import Case
from tbdiag.evidence import Certificate, ClientDecision, VerifyEvidence
from tbdiag.model import Severity
from tbdiag.protocol.x509_identity import ip_literal
from tbdiag.registry import Fault, rule
from tbdiag.rules import x509_content, x509_path
from tbdiag.rules._unknown_ca import best_path, diagnose, facts_of
from tbdiag.rules._words import ca_file, identified, listed, quoted, recommend_command

STAGE = "tls.verify"
SIGN_STRICTLY = (
    "Issue it again with what RFC 5280 asks for: openssl req -x509 -addext "
    "basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -addext "
    "subjectKeyIdentifier=hash … for a CA; -addext authorityKeyIdentifier=keyid for what it issues"
)

_FAULTY: dict[str, Callable[[Certificate], bool]] = {
    "92": lambda c: bool(c.is_ca) and c.key_usage is None,
    "89": lambda c: bool(c.is_ca) and "2.5.29.19" not in c.critical,
    "86": lambda c: bool(c.is_ca) and not c.subject_key_identifier,
    "85": lambda c: not c.self_signed and not c.authority_key_identifier,
    "80": lambda c: not c.is_ca and c.path_length is not None,
    "82": lambda c: not c.is_ca and "keyCertSign" in (c.key_usage or ()),
    "94": lambda c: c.key.curve == "explicit curve parameters",
}
"""X509_V_ERR code of VERIFY_X509_STRICT: which certificates it is about."""


@rule(
    "x509.strict-violation",
    stage=STAGE,
    needs=VerifyEvidence,
    severity=Severity.WARNING,
    reference="RFC 5280 section 4.2",
)
def strict_violation(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """Python 3.13 and newer refuse these certificates, although most clients accept them.

    ssl.create_default_context() sets VERIFY_X509_STRICT since Python 3.13: a CA without keyUsage,
    or without key identifiers, or a serial number of zero is refused. Certificates made with
    ThingsBoard's own instructions are like that. Paho and mosquitto do not look at it.
    """
    strict, plain = evidence.decision("openssl-strict"), evidence.decision("openssl")
    if strict is None or plain is None or strict.verdict != "reject" or not _strict_only(strict):
        return
    if plain.verdict == "reject" and plain.code == strict.code:
        return
    names = [quoted(c) for c in _at_fault(case, strict.code or "")]
    about = f" ({listed(names)})" if names else ""
    deciding = evidence.decided_by == "openssl-strict"
    yield Fault(
        message=f"Python 3.13's default context refuses the path{about}: {strict.reason}.",
        cause="The certificates leave out or contradict what RFC 5280 demands, and "
        "VERIFY_X509_STRICT insists on it.",
        fix=f"{SIGN_STRICTLY}. Until then in Python: context.verify_flags &= "
        "~ssl.VERIFY_X509_STRICT",
        subject=", ".join(names),
        severity=Severity.ERROR if deciding else Severity.WARNING,
    )


def _strict_only(decision: ClientDecision) -> bool:
    """Whether the error is one that only VERIFY_X509_STRICT raises (X509_V_ERR 79 and up)."""
    code = decision.code or ""
    return code.isdigit() and int(code) >= 80 and int(code) not in NO_PATH


def _at_fault(case: Case, code: str) -> list[Certificate]:
    facts, faulty = facts_of(case), _FAULTY.get(code)
    if facts is None or faulty is None:
        return []
    return [c for c in best_path(facts) if faulty(c)]


@rule(
    "x509.client-stacks-disagree",
    stage=STAGE,
    needs=VerifyEvidence,
    severity=Severity.WARNING,
    reference="RFC 5280 section 6",
)
def client_stacks_disagree(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """The device TLS stacks do not agree about this server and this CA file.

    The verdict of one is no proof for another: OpenSSL wants the root, mbedTLS and Python 3.13
    trust an intermediate as well, the Web PKI ignores common names. Look at the line of the stack
    your devices use. It is an error where --client chose a stack that refuses.
    """
    asked = [d for d in evidence.decisions if d.verdict != "unknown"]
    accepting = [d for d in asked if d.verdict == "accept"]
    refusing = [d for d in asked if d.verdict == "reject"]
    if not accepting or not refusing:
        return
    yield Fault(
        message="; ".join(_line(d) for d in asked) + ".",
        cause=f"{listed(d.client for d in accepting)} accept, and "
        f"{listed(d.client for d in refusing)} refuse, the same certificates with this CA file.",
        fix=_agreement(case, refusing),
        subject=", ".join(d.client for d in refusing),
        severity=_disagreement(evidence, refusing),
    )


def _disagreement(evidence: VerifyEvidence, refusing: list[ClientDecision]) -> Severity:
    """An error where the stack that was asked to decide refuses what OpenSSL would accept."""
    openssl = evidence.decision("openssl")
    if not evidence.trusted and openssl is not None and openssl.verdict == "accept":
        return Severity.ERROR
    return Severity.INFO if _only_by_address(evidence, refusing) else Severity.WARNING


def _line(decision: ClientDecision) -> str:
    if decision.verdict == "accept":
        return f"{decision.client} accepts"
    return f"{decision.client} rejects: {decision.reason}"


def _only_by_address(evidence: VerifyEvidence, refusing: list[ClientDecision]) -> bool:
    """Whether all that differs is that mbedTLS before 3.5 does not compare IP addresses."""
    return (
        ip_literal(evidence.name.reference) is not None
        and evidence.name.matches
        and [d.code for d in refusing] == ["X509_BADCERT_CN_MISMATCH"]
    )


def _agreement(case: Case, refusing: list[ClientDecision]) -> str:
    reasons = " ".join(f"{d.code} {d.reason}" for d in refusing)
    if any(d.code and d.code.isdigit() and int(d.code) in NO_PATH for d in refusing):
        return (
            f"Put the root into the CA file, which every stack accepts: {recommend_command(case)}"
        )
    if "CN_MISMATCH" in reasons or "subjectAltName" in reasons:
        return (
            "Have the server's certificate issued with every name and address devices use in "
            "subjectAltName, and let devices connect by DNS name."
        )
    if "NOT_TRUSTED" in reasons or "exhausted" in reasons or "no trust anchor" in reasons:
        return f"Use a CA file that every stack accepts: {recommend_command(case)}"
    return "Repair what the refusing stack names, or make sure that no device uses it."


@rule(
    "x509.unknown-ca",
    stage=STAGE,
    needs=VerifyEvidence,
    reference="RFC 5280 section 6.1",
)
def unknown_ca(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """No certification path to the CA file was found, and none of the known reasons fits.

    What the TLS stack says is reported as it is, with the certificates on both sides.
    """
    found = diagnose(case)
    if found is None or found.rule != "x509.unknown-ca" or _explained(case, evidence):
        return
    ours = f"; {ca_file(case)} holds {identified(found.ours)}" if found.ours else ""
    yield Fault(
        message=f"The server presents {identified(found.leaf)} and the path ends at "
        f"{identified(found.top)}{ours}. The client's answer: {evidence.deciding.reason}.",
        cause=f"No path from {quoted(found.leaf)} to a certificate of the CA file was accepted.",
        fix=f"Find out which CA file the server needs: {recommend_command(case)}",
        subject=found.top.issuer,
    )


def _explained(case: Case, evidence: VerifyEvidence) -> bool:
    """Whether a fault of the path makes the stack say that it found none."""
    others = (
        x509_path.issuer_not_a_ca,
        x509_path.path_length,
        x509_path.name_constraint,
        x509_path.unknown_critical_extension,
        x509_content.malformed_certificate,
        x509_content.key_identifier_mismatch,
    )
    faults = [fault for judge in others for fault in judge(case, evidence)]
    faults += [f for f in x509_path.wrong_order(case, evidence) if f.severity is Severity.ERROR]
    return bool(faults)
