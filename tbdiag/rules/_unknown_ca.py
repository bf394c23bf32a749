"""Which of the meanings of "unknown CA" a refused chain has: one analysis, shared by its rules.

Decided from the presented certificate_list, the CA file and the second opinions, by key
identifiers, names and verified signatures. The first that fits, in this order:

 0. The client accepts, or a path by verified signatures from the server's certificate to a trust
    anchor exists: no unknown CA. If every such path ends at an anchor that has expired:
    `anchor-expired`. If OpenSSL took another anchor of the issuer's name: `anchor-key-changed`.
 1. A certificate names its issuer by name and key identifier, and the issuer's key does not verify
    it: no unknown CA (`x509.bad-signature` explains).
 2. The CA file holds end-entity certificates only, one of them this server's, current or from
    before a renewal: `ca-file-is-end-entity`.
 3. The CA file holds an intermediate of the path, but no root above it: `ca-file-is-intermediate`.
 4. A certificate of the path is named by a known TLS-inspecting product: `tls-intercepted`.
 5. The CA file validates what port 443 presents, issued by somebody else: `web-ca-not-mqtt-ca`.
 6. The server's certificate signed itself: `self-signed-server`.
 7. The CA file holds an issuer of the right name whose key is another: `anchor-key-changed`.
 8. The presented path is complete: it ends at a root, presented or public: `wrong-ca-file`.
 9. The path stops short of a root. Either the server omits an intermediate, or the CA file lacks
    the root. Evidence that the absent issuer is an intermediate: see `_absent_issuer`. With
    evidence `missing-intermediate`, else `wrong-ca-file`, whose text then names both.
10. None of these, and the client says that it found no path: `unknown-ca`.
"""

from __future__ import annotations

import functools
import itertools
from datetime import datetime

from tbdiag.clients._anchors import relevant
from tbdiag.clients._openssl_errors import NO_PATH
from tbdiag.context import Case
from tbdiag.evidence import (
    CaEvidence,
    Certificate,
    ClientDecision,
    HandshakeEvidence,
    VerifyEvidence,
)
from tbdiag.fact import Fact
from tbdiag.protocol.x509 import issued_by, key_identifiers_agree, names_match, paths, same_key
from tbdiag.rules._absent_issuer import Absent, absent_issuer
from tbdiag.rules._interception import inspecting_product

BAD_SIGNATURE = "7"
"""X509_V_ERR_CERT_SIGNATURE_FAILURE."""
VERIFIABLE = ("sha1", "sha224", "sha256", "sha384", "sha512")
"""Hashes whose signatures are computed here: only of these a failure means a bad signature."""


class Diagnosis(Fact, frozen=True):
    """One meaning of unknown CA, and the certificates it is about."""

    rule: str
    """The rule id."""
    climbed: tuple[Certificate, ...]
    """The path by verified signatures through what was presented, end-entity first."""
    ours: Certificate | None = None
    """The certificate of the CA file that is at fault or nearest."""
    theirs: Certificate | None = None
    """The presented or otherwise known certificate that stands against it."""
    absent: Absent | None = None
    """What is known about an issuer that is nowhere to be seen."""
    product: str | None = None
    """The inspecting product, where one was recognised."""

    @property
    def leaf(self) -> Certificate:
        """The server's certificate."""
        return self.climbed[0]

    @property
    def top(self) -> Certificate:
        """Where the presented path ends."""
        return self.climbed[-1]


class Facts(Fact, frozen=True):
    """What the analysis starts from."""

    presented: tuple[Certificate, ...]
    anchors: tuple[Certificate, ...]
    """The CA file's certificates that matter to this chain; all of them when it holds few."""
    evidence: VerifyEvidence
    climbed: tuple[Certificate, ...]
    public: bool
    """Whether the anchors are the public roots rather than a file for this server."""

    @property
    def leaf(self) -> Certificate:
        """The server's certificate: the first one presented."""
        return self.presented[0]

    @property
    def top(self) -> Certificate:
        """Where the presented path ends."""
        return self.climbed[-1]


def facts_of(case: Case) -> Facts | None:
    """The facts on `case`; None while a part of them was not observed."""
    return case.derive(_facts_of)


def _facts_of(case: Case) -> Facts | None:
    ca, shown = case.get(CaEvidence), case.get(HandshakeEvidence)
    evidence = case.get(VerifyEvidence)
    if ca is None or shown is None or evidence is None or not shown.certificate_list:
        return None
    presented = shown.certificate_list
    anchors = relevant(presented, ca.certificates)
    return Facts(presented, anchors, evidence, _climbed(presented), ca.public)


@functools.lru_cache(maxsize=64)
def _climbed(presented: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    """The longest path that the presented certificates form by themselves."""
    return max(paths(presented[0], presented[1:]), key=len)


def diagnose(case: Case) -> Diagnosis | None:
    """The meaning of unknown CA on `case`; None when the CA is not what is unknown."""
    return case.derive(_diagnosis_of)


def _diagnosis_of(case: Case) -> Diagnosis | None:
    facts = facts_of(case)
    return None if facts is None else _diagnose(facts)


def _diagnose(facts: Facts) -> Diagnosis | None:
    if facts.evidence.trusted or facts.evidence.deciding.verdict == "unknown":
        return None
    trusted = trusted_paths(facts, facts.evidence.decided_by)
    if trusted:
        return _expired_anchor(facts, trusted) or _shadowed(facts, trusted) or _unexplained(facts)
    if bad_signature(facts):
        return None
    for step in _STEPS:
        found = step(facts)
        if found is not None:
            return found
    return _unexplained(facts)


def trusted_paths(facts: Facts, client: str) -> tuple[tuple[Certificate, ...], ...]:
    """Every path by verified signatures that ends at a trust anchor as `client` understands it.

    Dates, names, purposes and constraints are not looked at.
    """
    found = []
    for path in paths(facts.leaf, (*facts.presented[1:], *facts.anchors)):
        for length in range(1, len(path) + 1):
            if _is_anchor(path[:length], facts.anchors, client):
                found.append(path[:length])
                break
    return tuple(found)


def _is_anchor(
    path: tuple[Certificate, ...], anchors: tuple[Certificate, ...], client: str
) -> bool:
    """Whether the end of `path` is a trust anchor: OpenSSL asks for a self-signed certificate."""
    end = path[-1]
    if end not in anchors:
        return False
    if client == "openssl":
        return end.self_signed
    if client == "mbedtls" and len(path) == 1:
        return end.self_issued
    return True


def best_path(facts: Facts) -> tuple[Certificate, ...]:
    """The path to judge the certificates on: the deciding stack's, else the soundest there is.

    Of several paths to a trust anchor the one with the fewest expired certificates; without any,
    what was presented.
    """
    if facts.evidence.deciding.path:
        return facts.evidence.deciding.path
    trusted = trusted_paths(facts, facts.evidence.decided_by)
    at = facts.evidence.at
    return min(trusted, key=lambda path: sum(c.expired(at) for c in path), default=facts.climbed)


def _expired_anchor(facts: Facts, trusted: tuple[tuple[Certificate, ...], ...]) -> Diagnosis | None:
    at = facts.evidence.at
    if not all(path[-1].expired(at) and len(path) > 1 for path in trusted):
        return None
    return Diagnosis("x509.anchor-expired", facts.climbed, trusted[0][-1], _valid_root(facts, at))


def _shadowed(facts: Facts, trusted: tuple[tuple[Certificate, ...], ...]) -> Diagnosis | None:
    """OpenSSL took another certificate of the issuer's name, and its key verifies nothing."""
    if facts.evidence.deciding.code != BAD_SIGNATURE:
        return None
    for child, issuer in itertools.pairwise(trusted[0]):
        for other in facts.anchors:
            if other != issuer and names_match(child, other) and not issued_by(child, other):
                return Diagnosis("x509.anchor-key-changed", facts.climbed, other, issuer)
    return None


def _valid_root(facts: Facts, at: datetime) -> Certificate | None:
    """A root that could take an expired one's place: presented, or public."""
    known = [*facts.presented[1:], facts.evidence.opinion.public_anchor]
    return next((c for c in known if c and c.self_signed and not c.expired(at)), None)


def bad_signature(facts: Facts) -> tuple[Certificate, Certificate] | None:
    """(certificate, issuer) where name and key identifier agree but the signature does not verify.

    OpenSSL must have met it too: what cannot be computed here is not called bad.
    """
    openssl = facts.evidence.decision("openssl")
    if openssl is not None and openssl.code == "0":
        return None
    top = facts.top
    for issuer in (*facts.presented[1:], *facts.anchors):
        named = names_match(top, issuer) and key_identifiers_agree(top, issuer)
        if named and top.signature_hash in VERIFIABLE and not issued_by(top, issuer):
            return top, issuer
    return None


def _end_entity_file(facts: Facts) -> Diagnosis | None:
    holders = [c for c in facts.anchors if not c.is_ca and not c.self_signed]
    if len(holders) != len(facts.anchors):
        return None
    ours = next((c for c in holders if c == facts.leaf), None)
    ours = ours or next((c for c in holders if _same_server(c, facts.leaf)), None)
    if ours is None:
        return None
    return Diagnosis("x509.ca-file-is-end-entity", facts.climbed, ours, facts.leaf)


def _same_server(one: Certificate, other: Certificate) -> bool:
    """Whether two end-entity certificates are of one server: same subject, key or a same name."""
    if one.subject_der == other.subject_der or same_key(one, other):
        return True
    names = set(one.subject_alt_name or ()) & set(other.subject_alt_name or ())
    return bool(names) or (one.common_name is not None and one.common_name == other.common_name)


def _intermediate_file(facts: Facts) -> Diagnosis | None:
    for ours in facts.anchors:
        if not ours.is_ca or ours.self_signed:
            continue
        if ours in facts.climbed or issued_by(facts.top, ours):
            return Diagnosis("x509.ca-file-is-intermediate", facts.climbed, ours)
    return None


def _intercepted(facts: Facts) -> Diagnosis | None:
    for certificate in reversed(facts.climbed):
        product = inspecting_product(certificate)
        if product:
            return Diagnosis(
                "x509.tls-intercepted", facts.climbed, theirs=certificate, product=product
            )
    return None


def _web_ca(facts: Facts) -> Diagnosis | None:
    opinion = facts.evidence.opinion
    if not opinion.web_chain or not opinion.web_trusted_by_ca_file or facts.public:
        return None
    web = opinion.web_chain[0]
    if web == facts.leaf or web.issuer_der == facts.leaf.issuer_der:
        return None
    return Diagnosis("x509.web-ca-not-mqtt-ca", facts.climbed, theirs=web)


def _self_signed(facts: Facts) -> Diagnosis | None:
    if not facts.leaf.self_signed:
        return None
    earlier = next((c for c in facts.anchors if c.subject_der == facts.leaf.subject_der), None)
    return Diagnosis("x509.self-signed-server", facts.climbed, earlier, facts.leaf)


def _key_changed(facts: Facts) -> Diagnosis | None:
    issuers = [c for c in facts.anchors if c.is_ca or c.self_signed]
    for certificate in reversed(facts.climbed):
        for ours in issuers:
            if names_match(certificate, ours) and not issued_by(certificate, ours):
                theirs = certificate if certificate.self_signed else None
                return Diagnosis("x509.anchor-key-changed", facts.climbed, ours, theirs)
    return None


def _complete_elsewhere(facts: Facts) -> Diagnosis | None:
    root = facts.top if facts.top.self_signed else facts.evidence.opinion.public_anchor
    if root is None:
        return None
    return Diagnosis("x509.wrong-ca-file", facts.climbed, _nearest(facts), root)


def _absent(facts: Facts) -> Diagnosis | None:
    absent = absent_issuer(
        facts.top, facts.climbed, facts.presented, facts.anchors, facts.evidence.opinion
    )
    rule = "x509.missing-intermediate" if absent.intermediate else "x509.wrong-ca-file"
    return Diagnosis(rule, facts.climbed, _nearest(facts), absent=absent)


def _nearest(facts: Facts) -> Certificate | None:
    """The certificate of the CA file to speak of: its first root, else its first certificate."""
    if facts.public:
        return None
    roots = [c for c in facts.anchors if c.self_signed]
    return next(iter([*roots, *facts.anchors]), None)


def _unexplained(facts: Facts) -> Diagnosis | None:
    if not found_no_path(facts.evidence.deciding):
        return None
    return Diagnosis("x509.unknown-ca", facts.climbed, _nearest(facts))


def found_no_path(decision: ClientDecision) -> bool:
    """Whether a stack's own answer is that it found no certification path."""
    code = decision.code or ""
    if code.isdigit():
        return int(code) in NO_PATH
    no_anchor = "candidates exhausted" in decision.reason or "no trust anchor" in decision.reason
    return "NOT_TRUSTED" in code or no_anchor


_STEPS = (
    _end_entity_file,
    _intermediate_file,
    _intercepted,
    _web_ca,
    _self_signed,
    _key_changed,
    _complete_elsewhere,
    _absent,
)
"""Steps 2 to 9 of the procedure above, in order."""
