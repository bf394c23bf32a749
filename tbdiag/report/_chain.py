"""What the picture of the chain shows: cards, the links between them, and where one is broken."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from tbdiag.evidence import (
    CaEvidence,
    Certificate,
    ClientDecision,
    HandshakeEvidence,
    VerifyEvidence,
)
from tbdiag.model import Report
from tbdiag.report._facts import ca_certificates, evidence, presented, trusted_path

MAX_CARDS = 6
"""Certificates drawn per side; the rest is counted."""
NO_ISSUER = {2, 18, 19, 20, 21}
"""OpenSSL's verify errors that mean that the next certificate of the path is not there."""


@dataclass(slots=True, eq=False)
class Card:
    """One certificate of the picture, or the place where one is missing."""

    certificate: Certificate | None
    title: str
    role: str
    on_path: bool = False
    faults: list[str] = field(default_factory=list)
    validity: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """From a card to the one that issued it; `broken` says why it does not hold."""

    start: Card
    end: Card
    text: str = ""
    broken: bool = False


@dataclass(slots=True)
class Chain:
    """Both sides of the picture: what the server presents, and what the CA file holds beside it."""

    sent: list[Card]
    trusted: list[Card]
    links: list[Link] = field(default_factory=list)
    accepted: bool = False
    sent_left_out: int = 0
    trusted_left_out: int = 0
    source: str = "CA file"


def chain_of(report: Report) -> Chain | None:
    """The picture's content; None where there is neither a certificate nor a CA file."""
    sent, anchors = presented(report), ca_certificates(report)
    path = trusted_path(report) or _climb(sent, anchors)
    if path and path[-1] not in sent and path[-1] not in anchors:
        anchors = (path[-1], *anchors)
    if not sent and not anchors:
        return None
    anchors = _path_first(anchors, sent, path)
    chain = Chain(
        [_card(c, f"sent {_nth(i)}", path, report) for i, c in enumerate(sent[:MAX_CARDS])],
        [_card(c, "in the CA file", path, report) for c in anchors[:MAX_CARDS]],
        accepted=bool(trusted_path(report)),
        sent_left_out=max(0, len(sent) - MAX_CARDS),
        trusted_left_out=max(0, len(anchors) - MAX_CARDS),
        source=_source(report),
    )
    if not sent:
        chain.sent.append(_absent(report))
        return chain
    _link(chain, path)
    if not chain.accepted:
        _mark_faults(chain, report, path)
    return chain


def _source(report: Report) -> str:
    seen = evidence(report, CaEvidence)
    if seen is None or seen.public:
        return "Public roots"
    return f"CA file {seen.described}"


def _nth(index: int) -> str:
    return ("1st", "2nd", "3rd")[index] if index < 3 else f"{index + 1}th"


def _card(
    certificate: Certificate, where: str, path: tuple[Certificate, ...], report: Report
) -> Card:
    card = Card(certificate, certificate.name, f"{certificate.role}, {where}", certificate in path)
    ended = _out_of_time(certificate, report)
    card.validity = ended[0] if ended else f"until {certificate.not_after:%Y-%m-%d}"
    return card


def _absent(report: Report) -> Card:
    handshake = evidence(report, HandshakeEvidence)
    why = handshake.outcome if handshake else "no TLS handshake took place"
    cause = report.root_cause
    return Card(None, "No certificate received", "server", True, [cause.rule if cause else why])


def _path_first(
    anchors: tuple[Certificate, ...], sent: tuple[Certificate, ...], path: tuple[Certificate, ...]
) -> tuple[Certificate, ...]:
    """The CA file's certificates, those that matter for this path before the bystanders."""
    unique = tuple({c.der: c for c in anchors}.values())
    issuers = {c.issuer_der for c in (path or sent)}
    rank = {c: (c not in path, c.subject_der not in issuers) for c in unique}
    return tuple(sorted(unique, key=lambda c: rank[c]))


def _climb(
    sent: tuple[Certificate, ...], anchors: tuple[Certificate, ...]
) -> tuple[Certificate, ...]:
    """How far up a path goes by names and key identifiers, the CA file asked first."""
    path = list(sent[:1])
    while path and path[-1] not in anchors and not path[-1].self_issued:
        above = [c for c in (*anchors, *sent) if c not in path and issued(path[-1], c)]
        if not above:
            break
        path.append(above[0])
    return tuple(path)


def issued(child: Certificate, issuer: Certificate) -> bool:
    """Whether names and key identifiers say that `issuer` signed `child`."""
    return child.issuer_der == issuer.subject_der and _keys_fit(child, issuer)


def _keys_fit(child: Certificate, issuer: Certificate) -> bool:
    wanted, held = child.authority_key_identifier, issuer.subject_key_identifier
    return not wanted or not held or wanted == held


def _find(chain: Chain, certificate: Certificate, trusted: bool = False) -> Card | None:
    cards = [*chain.trusted, *chain.sent] if trusted else [*chain.sent, *chain.trusted]
    return next((card for card in cards if card.certificate == certificate), None)


def _link(chain: Chain, path: tuple[Certificate, ...]) -> None:
    for child, issuer in pairwise(path):
        start, end = _find(chain, child), _find(chain, issuer)
        if start and end and start is not end:
            chain.links.append(Link(start, end, "issued by"))
    top = path[-1] if path else None
    if top is None:
        return
    sent, held = _find(chain, top), _find(chain, top, trusted=True)
    if sent and held and sent is not held:
        chain.links.append(Link(sent, held, "the same certificate"))


def _mark_faults(chain: Chain, report: Report, path: tuple[Certificate, ...]) -> None:
    verify = evidence(report, VerifyEvidence)
    for card in (*chain.sent, *chain.trusted):
        if card.certificate and card.on_path:
            card.faults += _out_of_time(card.certificate, report)
    if verify and not verify.name.matches:
        chain.sent[0].faults.append(f"does not name {verify.name.reference}")
    _mark_verify_errors(chain, report, path)
    if not path or path[-1] not in ca_certificates(report):
        _break(chain, path)
    elif verify and not any(card.faults for card in (*chain.sent, *chain.trusted)):
        _mark_anchor(chain, verify, path[-1])


def _mark_anchor(chain: Chain, verify: VerifyEvidence, anchor: Certificate) -> None:
    """The path reaches the CA file, and yet it is refused: mostly because that is no root."""
    card = _find(chain, anchor, trusted=True) or chain.sent[0]
    word = {
        "intermediate": "an intermediate, not a root",
        "end-entity": "an end-entity certificate, not a CA",
    }.get(anchor.role)
    deciding = _deciding(verify)
    card.faults.append(word or (deciding.reason if deciding else "not trusted"))


def _deciding(verify: VerifyEvidence | None) -> ClientDecision | None:
    return verify.decision(verify.decided_by) if verify else None


def _out_of_time(certificate: Certificate, report: Report) -> list[str]:
    if certificate.expired(report.now):
        return [f"expired on {certificate.not_after:%Y-%m-%d}"]
    if certificate.not_yet_valid(report.now):
        return [f"not valid before {certificate.not_before:%Y-%m-%d}"]
    return []


def _mark_verify_errors(chain: Chain, report: Report, path: tuple[Certificate, ...]) -> None:
    handshake = evidence(report, HandshakeEvidence)
    deciding = _deciding(evidence(report, VerifyEvidence))
    for error in handshake.verify_errors if handshake else ():
        card = _find(chain, path[error.depth]) if 0 <= error.depth < len(path) else None
        if card and error.code not in NO_ISSUER and not card.faults:
            same = deciding and deciding.code == str(error.code)
            card.faults.append(deciding.reason if deciding and same else error.message)


def _break(chain: Chain, path: tuple[Certificate, ...]) -> None:
    """Draw where the path stops: at a card of the same name with another key, or at nothing."""
    top = path[-1]
    start = _find(chain, top)
    if start is None:
        return
    if top.self_issued:
        missing = Card(None, "Not in the CA file", "self-signed", True)
        text = "nobody vouches for it"
    else:
        same_name = next(
            (c for c in chain.trusted if c.certificate and _namesake(top, c.certificate)), None
        )
        if same_name:
            same_name.on_path = True
            same_name.faults.append("same name, other key")
            chain.links.append(Link(start, same_name, "same name, other key", broken=True))
            return
        missing = Card(None, _short(top.issuer), "issuer, missing", True)
        text = "neither sent nor in the CA file"
    missing.faults.append(text)
    place = chain.sent.index(start) + 1 if start in chain.sent else len(chain.sent)
    chain.sent.insert(place, missing)
    chain.links.append(Link(start, missing, "broken here", broken=True))


def _namesake(child: Certificate, issuer: Certificate) -> bool:
    return child.issuer_der == issuer.subject_der and not _keys_fit(child, issuer)


def _short(name: str) -> str:
    """The common name of an RFC 4514 string, else all of it."""
    common = next((part for part in name.split(",") if part.startswith("CN=")), name)
    return common.removeprefix("CN=")
