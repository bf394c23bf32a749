"""`tbdiag ca recommend`: which CA file a device needs for this server; proved, then written."""

from __future__ import annotations

from pathlib import Path

from tbdiag.clients import client_named
from tbdiag.deadline import Deadline
from tbdiag.errors import UsageError
from tbdiag.evidence import (
    CaEvidence,
    Certificate,
    HandshakeEvidence,
    SecondOpinion,
    VerifyEvidence,
)
from tbdiag.fact import replace
from tbdiag.files import write_output
from tbdiag.judgement import client_verdicts
from tbdiag.model import CaReport, Finding, Options, Report, Target, Verdict
from tbdiag.pipeline import check
from tbdiag.protocol.x509_identity import ip_literal
from tbdiag.recommend import Recommendation, Sources, encode, fetch_issuers, recommend

AIA_SECONDS = 10.0
ABOUT_THE_SERVER = (
    "x509.certificate-",
    "x509.name-mismatch",
    "x509.intermediate-expired",
    "x509.not-server-auth",
    "x509.weak-",
    "x509.path-length",
    "x509.name-constraint",
    "x509.issuer-not-a-ca",
    "x509.bad-signature",
    "x509.unknown-critical-extension",
)
"""Findings that no CA file repairs: they are about the server's own chain."""


def recommend_for(
    target: Target,
    options: Options,
    output: str | Path | None = None,
    form: str = "pem",
    *,
    aia: bool = False,
) -> CaReport:
    """Connect to `target`, work out its CA file, prove it, and write it to `output` as `form`.

    Nothing is sent but a TLS handshake. `aia` allows fetching absent issuers from where the
    certificates say. UsageError when `output` cannot be written or `form` is unknown.
    """
    if not target.transport.encrypted:
        raise UsageError(f"{target.transport}://{target.address} is plain: no CA file is needed")
    seen = check(target, replace(options, connect=False))
    evidence = {type(stage.evidence): stage.evidence for stage in seen.stages}
    shown: HandshakeEvidence | None = evidence.get(HandshakeEvidence)
    if shown is None or not shown.certificate_list:
        return _nothing_seen(seen)
    ca: CaEvidence | None = evidence.get(CaEvidence)
    verified: VerifyEvidence | None = evidence.get(VerifyEvidence)
    presented = shown.certificate_list
    fetched: tuple[Certificate, ...] = ()
    problems: tuple[str, ...] = ()
    if aia:
        private = bool(ip_literal(shown.peer or "")) and not _public(shown.peer or "")
        deadline = Deadline.after(AIA_SECONDS)
        fetched, problems = fetch_issuers(presented, deadline, private=private)
    sources = Sources.of(ca, verified.opinion if verified else SecondOpinion(), fetched)
    advice = recommend(presented, sources, target.reference_name, seen.now)
    report = _report(seen, advice, problems)
    if output is None or not advice.anchors:
        return report
    if client_named(options.client).id not in advice.accepted_by:
        note = f"{output} was not written: {options.client} refuses the chain with this file"
        return replace(report, notes=(*report.notes, note))
    return _written(report, advice, Path(output), form)


def _public(address: str) -> bool:
    literal = ip_literal(address)
    return literal is not None and literal.is_global


def _nothing_seen(seen: Report) -> CaReport:
    """No certificate was presented: the diagnosis says why."""
    return CaReport(
        command="recommend",
        source=seen.target.address,
        now=seen.now,
        verdict=Verdict.FAILED,
        primary=seen.primary,
        findings=seen.findings,
        server_name=seen.target.reference_name,
        confidence="nothing",
        why="the server presented no certificate",
    )


def _report(seen: Report, advice: Recommendation, problems: tuple[str, ...]) -> CaReport:
    server = _about_the_server(seen)
    return CaReport(
        command="recommend",
        source=seen.target.address,
        now=seen.now,
        verdict=_verdict(advice, server, seen.options.client),
        primary=server[0].rule if server else None,
        findings=server,
        certificates=advice.anchors,
        clients=client_verdicts(advice.proof),
        server_name=seen.target.reference_name,
        expires=advice.works_until,
        notes=(*advice.missing, *advice.warnings, *(f"AIA: {text}" for text in problems)),
        confidence=advice.confidence,
        why=advice.why,
        bundle=advice.bundle,
        breaks_on=advice.breaks_on,
    )


def _about_the_server(seen: Report) -> tuple[Finding, ...]:
    return tuple(
        f for f in seen.findings if f.severity == "error" and f.rule.startswith(ABOUT_THE_SERVER)
    )


def _verdict(advice: Recommendation, server: tuple[Finding, ...], client: str) -> Verdict:
    if not advice.anchors or server or client_named(client).id not in advice.accepted_by:
        return Verdict.FAILED
    if advice.confidence in ("unverified", "pinned") or advice.warnings:
        return Verdict.WARNING
    return Verdict.OK


def _written(report: CaReport, advice: Recommendation, output: Path, form: str) -> CaReport:
    write_output(output, encode(advice.anchors, form))
    return replace(report, written=str(output), format=form)
