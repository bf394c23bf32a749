"""What changed since a baseline was saved, and what was revoked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tbdiag.evidence.baseline import Baseline, KnownCertificate
from tbdiag.protocol.x509 import parse_certificate
from tbdiag.registry import scenario
from tbdiag.sandbox.authority import Authority, Issued, pem
from tbdiag.sandbox.stand import Room, Stand

WORKS = {"mqtt.connect": "ok"}


def _baseline(issued: Issued, root: Authority, now: datetime) -> dict[str, Any]:
    """The options with the baseline of a day when the server presented `issued`."""
    path = (issued.certificate, *issued.chain, root.certificate)
    known = [parse_certificate(c.public_bytes(Encoding.DER)) for c in path]
    kept = tuple(KnownCertificate.of(c) for c in known)
    saved_at = now - timedelta(days=30)
    return {"extra": {"baseline": Baseline("localhost:8883", "localhost", saved_at, kept, True)}}


@scenario("certificate-renewed", rules=("baseline.certificate-renewed",), status=WORKS)
@contextmanager
def certificate_renewed(room: Room) -> Iterator[Stand]:
    """The server's certificate was renewed by the same issuer since the baseline."""
    options = _baseline(room.issue(), room.root, room.now)
    with room.serve_chain(room.issue(), options=options) as stand:
        yield stand


@scenario("issuer-changed", rules=("baseline.issuer-changed",), status=WORKS)
@contextmanager
def issuer_changed(room: Room) -> Iterator[Stand]:
    """The certificate comes from another intermediate of the same root than in the baseline."""
    options = _baseline(room.issue(), room.root, room.now)
    moved = room.root.intermediate("Next Intermediate").issue_server(now=room.now)
    with room.serve_chain(moved, options=options) as stand:
        yield stand


@scenario("root-changed", primary="baseline.root-changed", status=WORKS)
@contextmanager
def root_changed(room: Room) -> Iterator[Stand]:
    """The server moved to another root; this CA file holds both, the devices only the old one."""
    options = _baseline(room.issue(), room.root, room.now)
    new = Authority.root("Next Root", now=room.now)
    moved = new.intermediate("Next Intermediate").issue_server(now=room.now)
    cafile = pem(room.root.certificate, new.certificate)
    with room.serve_chain(moved, cafile, options) as stand:
        yield stand


@scenario("revoked", rules=("x509.revoked",), status=WORKS)
@contextmanager
def revoked(room: Room) -> Iterator[Stand]:
    """The CA file holds a revocation list with the server's certificate on it."""
    issued = room.issue()
    cafile = room.root.pem() + _revocation_list(room, issued)
    with room.serve_chain(issued, cafile) as stand:
        yield stand


def _revocation_list(room: Room, issued: Issued) -> bytes:
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(issued.certificate.serial_number)
        .revocation_date(room.now - timedelta(hours=2))
        .build()
    )
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(room.intermediate.certificate.subject)
        .last_update(room.now - timedelta(hours=1))
        .next_update(room.now + timedelta(days=7))
        .add_revoked_certificate(entry)
        .sign(room.intermediate.key, hashes.SHA256())
    )
    return crl.public_bytes(Encoding.PEM)
