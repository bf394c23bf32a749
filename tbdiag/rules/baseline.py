"""What changed since a baseline was saved: the warning that an outage is coming, or has come.

On 28 August 2025 devices that pinned the CA of a cloud platform went offline at once, when its
certificate moved to another root. A baseline notices the move wherever something still trusts it.
"""

from __future__ import annotations

from collections.abc import Iterable

from tbdiag.context import Case
from tbdiag.evidence import Certificate, HandshakeEvidence, VerifyEvidence
from tbdiag.evidence.baseline import Baseline, KnownCertificate
from tbdiag.model import Severity
from tbdiag.protocol.x509 import paths
from tbdiag.registry import Fault, rule
from tbdiag.rules._words import day, recommend_command

STAGE = "tls.verify"
Path = tuple[KnownCertificate, ...]


def present_path(shown: HandshakeEvidence, verified: VerifyEvidence) -> tuple[Path, bool]:
    """(the path as known certificates, whether it ends at a trust anchor).

    The path that a client stack accepted (the deciding one first); without any, the one presented,
    up to a public root where the second opinion found one.
    """
    accepted = [verified.deciding, *verified.decisions]
    for decision in accepted:
        if decision.path and decision.path[-1].self_signed:
            return _known(decision.path), True
    leaf, *rest = shown.certificate_list
    climbed = max(paths(leaf, rest), key=len)
    root = verified.opinion.public_anchor
    if root is not None and root not in climbed:
        return _known((*climbed, root)), True
    return _known(climbed), climbed[-1].self_signed


def _known(path: Iterable[Certificate]) -> Path:
    return tuple(KnownCertificate.of(c) for c in path)


def _compared(case: Case, evidence: VerifyEvidence) -> tuple[Baseline, Baseline] | None:
    """(the baseline, what is there now); None when no baseline was given."""
    before = case.options.extra.get("baseline")
    shown = case.get(HandshakeEvidence)
    if not isinstance(before, Baseline) or shown is None or not shown.certificate_list:
        return None
    path, rooted = present_path(shown, evidence)
    now = Baseline(case.target.address, case.target.reference_name, case.now, path, rooted)
    return before, now


def _issuer_changed(before: Baseline, now: Baseline) -> bool:
    old, new = before.issuer, now.issuer
    if old is not None and new is not None:
        return not old.same_authority(new)
    return before.leaf.issuer != now.leaf.issuer


def _named(certificate: KnownCertificate | None, otherwise: str) -> str:
    if certificate is None:
        return f"{otherwise} (not presented)"
    return f"{certificate.subject} (key {certificate.key_sha256[:16]})"


@rule(
    "baseline.certificate-renewed",
    stage=STAGE,
    needs=VerifyEvidence,
    severity=Severity.INFO,
    reference="RFC 5280 section 4.1",
)
def certificate_renewed(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """The server has another certificate than in the baseline, from the same issuer.

    An ordinary renewal: devices that trust the root notice nothing.
    """
    compared = _compared(case, evidence)
    if compared is None or _issuer_changed(*compared):
        return
    before, now = compared
    if before.leaf.fingerprint_sha256 == now.leaf.fingerprint_sha256:
        return
    yield Fault(
        message=f"The server's certificate is not the one of {day(before.saved_at)}: it ends on "
        f"{day(now.leaf.not_after)} instead of {day(before.leaf.not_after)}.",
        cause=f"It was renewed by the same issuer, {now.leaf.issuer}.",
        fix="Nothing to do. Save a new baseline: tbdiag check … --save-baseline FILE",
        subject=now.leaf.subject,
    )


@rule(
    "baseline.issuer-changed",
    stage=STAGE,
    needs=VerifyEvidence,
    severity=Severity.WARNING,
    reference="RFC 5280 section 6.1",
)
def issuer_changed(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """Another CA issued the server's certificate than in the baseline.

    Devices that pin the old intermediate are locked out; devices that trust the root are not, as
    long as the root is the same.
    """
    compared = _compared(case, evidence)
    if compared is None or not _issuer_changed(*compared):
        return
    before, now = compared
    yield Fault(
        message=f"The issuer was {_named(before.issuer, before.leaf.issuer)} on "
        f"{day(before.saved_at)} and is {_named(now.issuer, now.leaf.issuer)} now.",
        cause="The server's certificate comes from another intermediate or CA than before.",
        fix="Check that no device pins the old issuer, then save a new baseline: "
        "tbdiag check … --save-baseline FILE",
        subject=now.leaf.issuer,
    )


@rule(
    "baseline.root-changed",
    stage=STAGE,
    needs=VerifyEvidence,
    reference="RFC 5280 section 6.1.1",
)
def root_changed(case: Case, evidence: VerifyEvidence) -> Iterable[Fault]:
    """The server's path ends at another root than in the baseline.

    An error even where this CA file, or another stack, still trusts the new path: every device
    that holds only the old root is locked out, all at once. Get the new root onto the devices.
    """
    compared = _compared(case, evidence)
    if compared is None:
        return
    before, now = compared
    if before.root is None or now.root is None or before.root.same_authority(now.root):
        return
    yield Fault(
        message=f"The path ended at {_named(before.root, '')} on {day(before.saved_at)} and ends "
        f"at {_named(now.root, '')} now.",
        cause="The server moved to another root: devices that hold only the old one are refused.",
        fix=f"Put the new root onto the devices, beside the old one: {recommend_command(case)}",
        subject=now.root.subject,
    )
