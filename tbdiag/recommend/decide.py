"""Which certificate has to be on the device: worked out, encoded for it, and proved.

Trust is never invented. A root is recommended only when the user's own CA file, the platform's
download over HTTPS, or the public roots hold it; one that merely the server presents is given with
the demand to compare its fingerprint first; one that nobody sends is named, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from tbdiag.clients import decide_all
from tbdiag.evidence import CaEvidence, Certificate, ClientDecision, SecondOpinion
from tbdiag.fact import replace
from tbdiag.protocol.public_roots import public_roots
from tbdiag.protocol.x509 import name_match, paths
from tbdiag.protocol.x509_names import common_names

Chain = tuple[Certificate, ...]

CONFIDENCE = {
    "ca-file": "the CA file already holds this root, and it leads to the server's certificate",
    "download": "the platform offers this CA over HTTPS, and it leads to the server's certificate",
    "public": "it is a public root, and it leads to the server's certificate",
    "unverified": "only the server itself presents it: compare its fingerprint before use",
    "pinned": "the root is nowhere to be had, so only a certificate below it can be pinned",
    "nothing": "nothing can be recommended",
}
"""How sure a recommendation is, best first, and why."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where issuers may come from, each with its own weight."""

    ca_file: Chain = ()
    """What the user's CA file holds; never the public roots that stand in for one."""
    downloaded: Chain = ()
    """What the platform's download holds."""
    downloaded_safely: bool = False
    """Whether it came over HTTPS, verified by the public roots."""
    public: Chain = ()
    elsewhere: Chain = ()
    """Certificates without any trust of their own: port 443, authorityInformationAccess."""

    @classmethod
    def of(cls, ca: CaEvidence | None, opinion: SecondOpinion, fetched: Chain = ()) -> Sources:
        """The sources of a run; `fetched` are issuers found through authorityInformationAccess."""
        files: list[Certificate] = []
        downloads = list(opinion.downloaded)
        safely = _https(opinion.downloaded_from)
        for source in ca.sources if ca else ():
            if source.origin == "download":
                downloads += source.certificates
                safely = safely or _https(source.location)
            elif source.origin != "public":
                files += source.certificates
        return cls(
            ca_file=tuple(files),
            downloaded=tuple(downloads),
            downloaded_safely=safely,
            public=public_roots(),
            elsewhere=(*opinion.web_chain, *fetched),
        )

    def trust_of(self, root: Certificate) -> str:
        """The word of `CONFIDENCE` for a self-signed certificate."""
        if root in self.ca_file:
            return "ca-file"
        if root in self.downloaded and self.downloaded_safely:
            return "download"
        return "public" if root in self.public else "unverified"


def _https(url: str | None) -> bool:
    return bool(url) and str(url).lower().startswith("https://")


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to put on the device, how sure that is, and what to repair elsewhere."""

    anchors: Chain
    """The certificates of the CA file to write, in order; empty when there is none to give."""
    confidence: str
    """A key of `CONFIDENCE`."""
    path: Chain = ()
    """The path it relies on, end-entity certificate first."""
    warnings: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Certificates that nobody shows, and who has them, a sentence each."""
    bundle: Chain = ()
    """What the server should send instead, where it omits an intermediate; else empty."""
    proof: tuple[ClientDecision, ...] = ()
    """What every client stack decides about today's chain with `anchors`."""

    @property
    def why(self) -> str:
        """Why it is this sure, as a clause."""
        return CONFIDENCE[self.confidence]

    @property
    def breaks_on(self) -> datetime | None:
        """When the file itself is no longer good: the earliest end of what it holds."""
        return min((c.not_after for c in self.anchors), default=None)

    @property
    def works_until(self) -> datetime | None:
        """When the connection ends with today's chain: the earliest end on the path."""
        return min((c.not_after for c in self.path), default=None)

    @property
    def accepted_by(self) -> tuple[str, ...]:
        """The client stacks that the proof shows to accept."""
        return tuple(d.client for d in self.proof if d.verdict == "accept")


def recommend(presented: Chain, sources: Sources, server_name: str, at: datetime) -> Recommendation:
    """Work out the CA file for `presented` (as captured, end-entity first) and prove it.

    `at` (aware) is the moment to judge at. Never raises for what the certificates hold.
    """
    found = _rooted(presented, sources, at) or _pinned(presented, at)
    found = replace(found, proof=decide_all(presented, found.anchors, server_name, at))
    remarks = _server_faults(presented[0], server_name, at)
    return replace(found, warnings=(*found.warnings, *remarks, *_refusals(found)))


def _rooted(presented: Chain, sources: Sources, at: datetime) -> Recommendation | None:
    """The best path that ends at a root; None when no source holds one."""
    pool = (*presented[1:], *sources.ca_file, *sources.downloaded, *sources.elsewhere)
    candidates = list(_rooted_paths(presented[0], pool, sources.public, at))
    if not candidates:
        return None
    rank = list(CONFIDENCE)

    def weight(path: Chain) -> tuple[int, int, float]:
        trust = rank.index(sources.trust_of(path[-1]))
        return trust, len(_not_sent(path, presented)), -path[-1].not_after.timestamp()

    path = min(candidates, key=weight)
    omitted = _not_sent(path, presented)
    root = path[-1]
    trust = sources.trust_of(root)
    warnings = list(_omitted_warnings(omitted))
    if trust == "unverified":
        warnings.append(_compare(root))
    return Recommendation(
        anchors=(root, *omitted),
        confidence=trust,
        path=path,
        warnings=tuple(warnings),
        bundle=path[:-1] if omitted else (),
    )


def _rooted_paths(leaf: Certificate, pool: Chain, public: Chain, at: datetime) -> Iterator[Chain]:
    """Every path from `leaf` to a self-signed certificate whose issuers are valid at `at`."""
    issuers = {c.issuer_der for c in (leaf, *pool)}
    roots = tuple(c for c in public if c.subject_der in issuers)
    for path in paths(leaf, (*pool, *roots)):
        above = path[1:]
        usable = all(not c.expired(at) and not c.not_yet_valid(at) for c in above)
        if path[-1].self_signed and usable:
            yield path


def _not_sent(path: Chain, presented: Chain) -> Chain:
    return tuple(c for c in path[1:-1] if c not in presented)


def _omitted_warnings(omitted: Chain) -> Iterator[str]:
    for certificate in omitted:
        yield (
            f'The server must send the intermediate "{certificate.name}". Until it does, the file '
            f"holds it too, and works until {certificate.not_after:%Y-%m-%d} or until the server's "
            "certificate comes from another intermediate."
        )


def _compare(root: Certificate) -> str:
    text = root.fingerprint_sha256.upper()
    pairs = ":".join(text[i : i + 2] for i in range(0, len(text), 2))
    return (
        f'Nobody but the server vouches for "{root.name}". Compare its SHA-256 fingerprint with '
        f"whoever runs the server before you use it: {pairs}"
    )


def _pinned(presented: Chain, at: datetime) -> Recommendation:
    """Without any root: the uppermost certificate that is presented, and until when."""
    path = max(paths(presented[0], presented[1:]), key=len)
    top = path[-1]
    names = common_names(top.issuer_der)
    absent = names[-1] if names else top.issuer
    missing = (
        f'The certificate of "{absent}", which issued "{top.name}", is in none of the sources: '
        "get it from whoever runs the server.",
    )
    if top.expired(at) or top.not_yet_valid(at):
        return Recommendation((), "nothing", path, missing=missing)
    kind = "intermediate" if top.is_ca else "server's own certificate"
    warning = (
        f'Only the {kind} "{top.name}" can be pinned. That breaks on '
        f"{top.not_after:%Y-%m-%d} at the latest, at the next renewal or change of issuer, and "
        "clients that ask for a root refuse it."
    )
    return Recommendation((top,), "pinned", path, (warning, _compare(top)), missing)


def _server_faults(leaf: Certificate, server_name: str, at: datetime) -> Iterator[str]:
    """What no CA file can repair."""
    if leaf.expired(at):
        yield f"The server's certificate expired on {leaf.not_after:%Y-%m-%d}: no CA file helps."
    if leaf.not_yet_valid(at):
        yield f"The server's certificate is valid from {leaf.not_before:%Y-%m-%d} only."
    if not name_match(server_name, leaf).matches:
        yield f"The server's certificate is not for {server_name}: no CA file helps."


def _refusals(found: Recommendation) -> Iterable[str]:
    """Which stacks refuse today's chain even with the recommended file."""
    for decision in found.proof:
        if decision.verdict == "reject" and found.anchors:
            yield f"{decision.client} refuses the chain with this file: {decision.reason}."
