"""The paths that the certificates of one file form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tbdiag.evidence import Certificate
from tbdiag.model import CaPath
from tbdiag.protocol.x509 import issued_by

MAX_PATHS = 200
MAX_DEPTH = 10
ISSUERS_TRIED = 20
"""Certificates of one name that are tried as issuer of one other."""


def paths_of(certificates: Sequence[Certificate]) -> Iterator[CaPath]:
    """Every way up from each certificate that issued no other one in the file.

    A cross-signed certificate gives one path per issuer. At most `MAX_PATHS` are given.
    """
    numbers = {c: i for i, c in reversed(list(enumerate(certificates, start=1)))}
    by_subject: dict[bytes, list[Certificate]] = {}
    for certificate in numbers:
        by_subject.setdefault(certificate.subject_der, []).append(certificate)
    named_as_issuer = {c.issuer_der for c in numbers if not c.self_issued}
    found = 0
    for certificate in sorted(numbers, key=numbers.__getitem__):
        if certificate.subject_der in named_as_issuer and _issued(certificate, numbers):
            continue
        for path in _upwards(certificate, by_subject):
            found += 1
            if found > MAX_PATHS:
                return
            yield _described(path, numbers)


def _issued(issuer: Certificate, others: Iterable[Certificate]) -> bool:
    """Whether `issuer` signed another certificate of the file."""
    return any(
        c.issuer_der == issuer.subject_der and c != issuer and issued_by(c, issuer) for c in others
    )


def _upwards(
    lowest: Certificate, by_subject: dict[bytes, list[Certificate]]
) -> Iterator[tuple[Certificate, ...]]:
    waiting: list[tuple[Certificate, ...]] = [(lowest,)]
    while waiting:
        path = waiting.pop()
        top = path[-1]
        candidates = by_subject.get(top.issuer_der, ())[:ISSUERS_TRIED]
        above = [c for c in candidates if c not in path and issued_by(top, c)]
        if top.self_signed or not above or len(path) >= MAX_DEPTH:
            yield path
        else:
            waiting += [(*path, c) for c in reversed(above)]


def _described(path: tuple[Certificate, ...], numbers: dict[Certificate, int]) -> CaPath:
    top = path[-1]
    missing = "" if top.self_signed else top.issuer
    return CaPath(tuple(numbers[c] for c in path), top.self_signed, missing)
