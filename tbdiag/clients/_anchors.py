"""Which certificates of a CA file can matter to a presented chain, and finding them again."""

from __future__ import annotations

from collections.abc import Iterable

from tbdiag.evidence import Certificate

FEW = 16
"""Up to this many anchors are handed over as they are."""


def relevant(
    presented: tuple[Certificate, ...], anchors: tuple[Certificate, ...]
) -> tuple[Certificate, ...]:
    """The anchors that a path from `presented` could use, in order.

    TLS stacks look issuers up by name, so an anchor that is nobody's issuer by name cannot change
    a verdict. Loading all public roots into each stack would cost 20 ms. Names are compared more
    loosely than any stack does, so that none is lost.
    """
    if len(anchors) <= FEW:
        return anchors
    wanted = {_loose(c.issuer) for c in presented} | {_loose(c.subject) for c in presented}
    kept: set[Certificate] = set()
    while more := {c for c in anchors if c not in kept and _loose(c.subject) in wanted}:
        kept |= more
        wanted |= {_loose(c.issuer) for c in more}
    return tuple(c for c in anchors if c in kept)


def _loose(name: str) -> str:
    return "".join(name.split()).casefold()


def known(ders: Iterable[bytes], pool: Iterable[Certificate]) -> tuple[Certificate, ...]:
    """The certificates of `pool` with these DER bytes, in the order of `ders`."""
    by_der = {certificate.der: certificate for certificate in pool}
    return tuple(by_der[der] for der in ders if der in by_der)
