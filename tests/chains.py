"""Certificate chains, each with one fault, for the client stacks and the rules that judge them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tbdiag.clients import decide_all
from tbdiag.context import Case
from tbdiag.evidence import (
    CaEvidence,
    CaSource,
    Certificate,
    HandshakeEvidence,
    SecondOpinion,
    VerifyEvidence,
)
from tbdiag.fact import replace
from tbdiag.model import Finding, Options, Severity, StageResult, Status, Target
from tbdiag.pipeline import judge, primary_of
from tbdiag.protocol.x509 import name_match, parse_certificate
from tbdiag.sandbox.authority import Authority, Issued, self_signed

NOW = datetime.now(UTC).replace(microsecond=0)
"""Real clients judge by the real clock, so the chains are dated around it."""
DAY = timedelta(days=1)
HOST = "localhost"


@dataclass(frozen=True)
class Chain:
    """A server's certificate, what it presents after it, and the CA file of the client."""

    issued: Issued
    anchors: tuple[x509.Certificate, ...]
    host: str = HOST

    @property
    def presented(self) -> tuple[x509.Certificate, ...]:
        """The certificate_list."""
        return (self.issued.certificate, *self.issued.chain)

    def facts(self) -> tuple[tuple[Certificate, ...], tuple[Certificate, ...]]:
        """(presented, anchors) as evidence."""
        return (
            tuple(parsed(c) for c in self.presented),
            tuple(parsed(c) for c in self.anchors),
        )


def parsed(certificate: x509.Certificate) -> Certificate:
    """The certificate as evidence."""
    return parse_certificate(certificate.public_bytes(Encoding.DER))


def chain(issued: Issued, *anchors: Authority | Issued, host: str = HOST) -> Chain:
    """A chain with the anchors' certificates as CA file."""
    return Chain(issued, tuple(a.certificate for a in anchors), host)


@functools.cache
def chains() -> dict[str, Chain]:
    """Every case by name. Issued once per test process."""
    root = Authority.root()
    middle = root.intermediate()
    issue = middle.issue_server
    good = issue(HOST)
    lower = middle.intermediate("Lower")
    deep = lower.issue_server(HOST)
    expired_root = Authority.root("Old Root", not_before=NOW - 900 * DAY, not_after=NOW - DAY)
    crossed = expired_root.cross_sign(root)
    short = Authority.root("Short", path_length=0)
    limited = Authority.root("Limited", permitted=["example.org"])
    allowed = Authority.root("Allowed", permitted=[HOST])
    no_usage = Authority.root("No keyUsage", key_usage=None)
    no_ids = Authority.root("No ids", ski=False, aki=False)
    not_a_ca = root.intermediate("Not a CA", is_ca=False, key_usage=("digital_signature",))
    no_sign = root.intermediate("No keyCertSign", key_usage=("digital_signature",))
    gone = root.intermediate("Gone", not_before=NOW - 99 * DAY, not_after=NOW - DAY)
    client_ca = root.intermediate("Clients", extended_key_usage=("clientAuth",))
    rsa = Authority.root("RSA", key="rsa")
    weak_ca = root.intermediate("Weak", key="rsa1024")
    own = self_signed(HOST)
    v1_root = Authority.root("V1 Root", version=1)
    not_critical = Authority.root("Not critical", basic_constraints_critical=False)
    damaged = middle.with_bad_signature()
    eight = root
    for number in range(8):
        eight = eight.intermediate(f"Step {number}")
    nine = eight.intermediate("Step 8")
    yesterday = {"not_before": NOW - 90 * DAY, "not_after": NOW - DAY}
    return {
        "good": chain(good, root),
        "good-direct": chain(root.issue_server(HOST), root),
        "good-deep": chain(deep, root),
        "eight-intermediates": chain(eight.issue_server(HOST), root),
        "nine-intermediates": chain(nine.issue_server(HOST), root),
        "good-many-anchors": chain(good, *(Authority.root(f"R{n}") for n in range(20)), root),
        "root-sent": chain(good.presenting(middle.certificate, root.certificate), root),
        "stranger-sent": chain(good.presenting(middle.certificate, rsa.certificate), root),
        "wrong-ca": chain(good, Authority.root("Other Root")),
        "wrong-ca-root-sent": chain(
            good.presenting(middle.certificate, root.certificate), Authority.root("Other Root")
        ),
        "wrong-ca-direct": chain(Authority.root("Acme CA").issue_server(HOST), root),
        "leaf-only": chain(good.presenting(), root),
        "leaf-only-intermediate-in-file": chain(good.presenting(), middle),
        "leaf-only-both-in-file": chain(good.presenting(), middle, root),
        "file-is-leaf": chain(good, good),
        "file-is-old-leaf": chain(good, issue(HOST, **yesterday)),
        "file-is-intermediate": chain(good, middle),
        "file-is-leaf-and-intermediate": chain(good, good, middle),
        "self-signed-in-file": chain(own, own),
        "self-signed-elsewhere": chain(own, root),
        "self-signed-renewed": chain(own, self_signed(HOST)),
        "self-signed-no-san": (lambda s: chain(s, s))(self_signed(HOST, alt_names=())),
        "twin": chain(good, root.twin()),
        "twin-without-ids": chain(
            no_ids.issue_server(HOST, aki=False), no_ids.twin(ski=False, aki=False)
        ),
        "anchor-expired": chain(
            expired_root.intermediate("Still").issue_server(HOST), expired_root
        ),
        "cross-signed-both-roots": chain(
            good.presenting(middle.certificate, crossed.certificate), expired_root, root
        ),
        "cross-signed-old-root": chain(
            good.presenting(middle.certificate, crossed.certificate), expired_root
        ),
        "expired": chain(issue(HOST, **yesterday), root),
        "expired-wrong-name": chain(issue("other.example", **yesterday), root),
        "expired-wrong-ca": chain(issue(HOST, **yesterday), Authority.root("Other Root")),
        "not-yet-valid": chain(issue(HOST, not_before=NOW + DAY), root),
        "intermediate-expired": chain(gone.issue_server(HOST, now=NOW), root),
        "intermediate-expired-wrong-ca": chain(
            gone.issue_server(HOST, now=NOW), Authority.root("Other Root")
        ),
        "wrong-name": chain(issue("other.example"), root),
        "wildcard": chain(issue("*.example.org"), root, host="mqtt.example.org"),
        "wildcard-too-deep": chain(issue("*.example.org"), root, host="mqtt.eu.example.org"),
        "no-san": chain(issue(HOST, alt_names=()), root),
        "no-san-wrong-name": chain(issue("other.example", alt_names=()), root),
        "v1-leaf": chain(issue(HOST, version=1), root),
        "reversed": chain(deep.presenting(middle.certificate, lower.certificate), root),
        "client-certificate": chain(issue(HOST, extended_key_usage=("clientAuth",)), root),
        "any-purpose": chain(issue(HOST, extended_key_usage=("anyExtendedKeyUsage",)), root),
        "no-purpose": chain(issue(HOST, extended_key_usage=None), root),
        "usage-crl-sign": chain(issue(HOST, key_usage=("crl_sign",)), root),
        "ca-for-clients": chain(client_ca.issue_server(HOST), root),
        "rsa": chain(rsa.issue_server(HOST, key="rsa"), rsa),
        "weak-key": chain(issue(HOST, key="rsa1024"), root),
        "weak-ca-key": chain(weak_ca.issue_server(HOST), root),
        "sha1": chain(issue(HOST, key="rsa", signature_hash="sha1"), root),
        "ed25519": chain(issue(HOST, key="ed25519"), root),
        "path-length": chain(short.intermediate().issue_server(HOST), short),
        "name-constraint": chain(limited.issue_server(HOST), limited),
        "name-constraint-kept": chain(allowed.issue_server(HOST), allowed),
        "not-a-ca": chain(not_a_ca.issue_server(HOST), root),
        "no-key-cert-sign": chain(no_sign.issue_server(HOST), root),
        "bad-signature": chain(good.with_bad_signature(), root),
        "bad-intermediate-signature": chain(damaged.issue_server(HOST), root),
        "unknown-critical": chain(issue(HOST, unknown_critical=True), root),
        "ca-without-key-usage": chain(no_usage.issue_server(HOST), no_usage),
        "ca-without-key-ids": chain(no_ids.issue_server(HOST, aki=False), no_ids),
        "ca-not-critical": chain(not_critical.issue_server(HOST), not_critical),
        "v1-root": chain(v1_root.issue_server(HOST), v1_root),
    }


@dataclass(frozen=True)
class Judged:
    """What the rules say about a chain."""

    primary: str | None
    findings: tuple[Finding, ...]
    evidence: VerifyEvidence = field(repr=False)

    def severities(self) -> dict[str, Severity]:
        """Rule id to severity."""
        return {finding.rule: finding.severity for finding in self.findings}

    def of(self, rule: str) -> Finding:
        """The finding of one rule; KeyError where there is none."""
        for finding in self.findings:
            if finding.rule == rule:
                return finding
        raise KeyError(rule)


def judged(
    subject: Chain,
    *,
    client: str = "openssl",
    at: datetime = NOW,
    opinion: SecondOpinion | None = None,
    options: Options | None = None,
    public: bool = False,
    host: str | None = None,
) -> Judged:
    """Let every rule judge `subject` as tls.verify would have recorded it."""
    presented, anchors = subject.facts()
    name = host or subject.host
    evidence = VerifyEvidence(
        at=at,
        name=name_match(name, presented[0]),
        decided_by=client,
        decisions=decide_all(presented, anchors, name, at),
        opinion=opinion or SecondOpinion(),
    )
    source = CaSource("ca.pem", "public" if public else "file", "ca.pem", certificates=anchors)
    shown = HandshakeEvidence(name, True, "established", certificate_list=presented)
    facts = (evidence, CaEvidence((source,)), shown)
    case = Case(Target(name), options or Options(), at, {type(f): f for f in facts})
    status = Status.OK if evidence.trusted else Status.FAILED
    stage = StageResult("tls.verify", "Server certificate", status, evidence.deciding.reason)
    _, findings = judge(case, [stage])
    own = tuple(f for f in findings if f.stage == "tls.verify")
    return Judged(primary_of(own), own, evidence)


def renamed(subject: Chain, host: str) -> Chain:
    """The same chain for a client that connects to another name."""
    return replace(subject, host=host)
