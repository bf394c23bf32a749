"""`tbdiag ca verify`: offline, what each client stack decides about a presented chain."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from tbdiag.ca_commands._paths import paths_of
from tbdiag.clients import client_named
from tbdiag.evidence import CaEvidence, HandshakeEvidence
from tbdiag.model import CaReport, Options, Report
from tbdiag.offline import verify_files


def verify(
    cafile: str | tuple[str, ...],
    presented: str | Path,
    server_name: str,
    at: datetime | None = None,
    options: Options | None = None,
) -> CaReport:
    """What `check` would decide about `presented` with `cafile`; see `offline.verify_files`.

    `expires` is when the deciding client stops accepting, each client's own is in `clients`.
    """
    return as_ca_report(verify_files(cafile, presented, server_name, at, options))


def as_ca_report(report: Report) -> CaReport:
    """A report with the stages ca.load and tls.handshake as that of a `ca` command."""
    ca = report.stage("ca.load").evidence
    shown = report.stage("tls.handshake").evidence
    assert isinstance(ca, CaEvidence)
    assert isinstance(shown, HandshakeEvidence)
    deciding = client_named(report.options.client).id
    accepted = [c for c in report.clients if c.client == deciding and c.verdict == "accept"]
    return CaReport(
        command="verify",
        source=ca.described,
        now=report.now,
        verdict=report.verdict,
        primary=report.primary,
        findings=report.findings,
        certificates=() if ca.public else ca.certificates,
        presented=shown.certificate_list,
        paths=() if ca.public else tuple(paths_of(ca.certificates)),
        format=ca.sources[0].format if ca.sources else "unknown",
        clients=report.clients,
        server_name=report.target.reference_name,
        expires=accepted[0].expires if accepted else None,
        notes=_notes(shown),
    )


def _notes(shown: HandshakeEvidence) -> tuple[str, ...]:
    first = min(shown.certificate_list, key=lambda c: c.not_after)
    day = f"{first.not_after:%Y-%m-%d}"
    return (f"of the certificates presented, {first.name} ends first, on {day}",)
