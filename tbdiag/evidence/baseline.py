"""What a server presented when all was well, to compare with later."""

from __future__ import annotations

from datetime import datetime

from tbdiag.evidence.certificates import Certificate
from tbdiag.fact import Fact


class KnownCertificate(Fact, frozen=True):
    """What a baseline keeps of one certificate."""

    subject: str
    issuer: str
    """RFC 4514 strings."""
    fingerprint_sha256: str
    key_sha256: str
    """SHA-256 of the SubjectPublicKeyInfo: survives a renewal with the same key."""
    not_after: datetime

    @classmethod
    def of(cls, certificate: Certificate) -> KnownCertificate:
        """The part of `certificate` that is kept."""
        return cls(
            certificate.subject,
            certificate.issuer,
            certificate.fingerprint_sha256,
            certificate.key.fingerprint_sha256,
            certificate.not_after,
        )

    def same_authority(self, other: KnownCertificate) -> bool:
        """Whether both are the same CA: subject and key, however often it was issued anew."""
        return (self.subject, self.key_sha256) == (other.subject, other.key_sha256)


class Baseline(Fact, frozen=True):
    """The path of one server at one moment."""

    address: str
    server_name: str
    saved_at: datetime
    path: tuple[KnownCertificate, ...]
    """End-entity certificate first. Ends at the root, if one was known."""
    rooted: bool
    """Whether the path ends at the trust anchor that the client accepted."""

    @property
    def leaf(self) -> KnownCertificate:
        """The server's own certificate."""
        return self.path[0]

    @property
    def issuer(self) -> KnownCertificate | None:
        """The certificate that issued the server's own; None where it was not known."""
        return self.path[1] if len(self.path) > 1 else None

    @property
    def root(self) -> KnownCertificate | None:
        """The trust anchor; None where the path did not reach one."""
        return self.path[-1] if self.rooted else None
