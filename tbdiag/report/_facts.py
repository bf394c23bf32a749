"""The evidence of a report by its type, for renderers that draw or measure it."""

from __future__ import annotations

from typing import TypeVar

from tbdiag.evidence import CaEvidence, Certificate, HandshakeEvidence, VerifyEvidence
from tbdiag.model import Report

E = TypeVar("E")


def evidence(report: Report, kind: type[E]) -> E | None:
    """The evidence of type `kind`, or None when its stage saw nothing."""
    return next((s.evidence for s in report.stages if isinstance(s.evidence, kind)), None)


def presented(report: Report) -> tuple[Certificate, ...]:
    """The certificate_list of the server, end-entity certificate first."""
    seen = evidence(report, HandshakeEvidence)
    return seen.certificate_list if seen else ()


def ca_certificates(report: Report) -> tuple[Certificate, ...]:
    """What the CA file holds; nothing when the public roots stand in for one."""
    seen = evidence(report, CaEvidence)
    return () if seen is None or seen.public else seen.certificates


def trusted_path(report: Report) -> tuple[Certificate, ...]:
    """The certification path that the deciding client stack used; empty when it rejects."""
    seen = evidence(report, VerifyEvidence)
    deciding = seen and seen.decision(seen.decided_by)
    return deciding.path if deciding and deciding.verdict == "accept" else ()
