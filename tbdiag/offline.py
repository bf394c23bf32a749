"""The judgement of `check` from files alone: a CA file and the certificates a server presented."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from tbdiag import pipeline, registry
from tbdiag.checks._second_opinion import public_anchor
from tbdiag.checks.ca import READING_SECONDS, load_source
from tbdiag.checks.ca import summary as ca_summary
from tbdiag.checks.verify import summary as verify_summary
from tbdiag.clients import client_named, decide_all, require_verdict
from tbdiag.context import Case, Run
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
from tbdiag.judgement import client_verdicts
from tbdiag.model import Options, Report, StageResult, Status, Target
from tbdiag.protocol.ca_file import MAX_BYTES, read_ca

MAX_PRESENTED = 100
"""Certificates that are taken as presented; no handshake carries more."""


def verify_files(
    cafile: str | tuple[str, ...],
    presented: str | Path,
    server_name: str,
    at: datetime | None = None,
    options: Options | None = None,
) -> Report:
    """What every client stack decides about `presented` with `cafile`, and why, without a server.

    `cafile` is what --cafile takes; `presented` is a file with the certificate_list, the server's
    own first; `at` (aware) is the moment to judge at, None means now. The report has the stages
    ca.load, tls.handshake and tls.verify. Raises UsageError when `presented` holds no certificate.
    """
    options = options or Options()
    options = replace(options, at=at or options.at)
    started_at, started = datetime.now(UTC), time.monotonic()
    now = options.at or started_at
    if now.tzinfo is None:
        raise UsageError("the moment to judge at must carry a time zone")
    sources = (cafile,) if isinstance(cafile, str) else tuple(cafile)
    target = Target(server_name, server_name=server_name, cafile=sources)
    chain = load_presented(presented)
    run = Run(target, options, now, Deadline.after(READING_SECONDS))
    ca = CaEvidence(tuple(load_source(given, run) for given in sources))
    verified = _verified(ca, chain, server_name, now, options)
    stages = _stages(ca, chain, str(presented), server_name, verified)
    case = Case(target, options, now, {type(s.evidence): s.evidence for s in stages if s.evidence})
    judged, findings = pipeline.judge(case, stages)
    return Report(
        target=target,
        options=options,
        started_at=started_at,
        now=now,
        duration_ms=round((time.monotonic() - started) * 1000, 3),
        verdict=pipeline.verdict_of(judged, findings),
        primary=pipeline.primary_of(findings),
        stages=judged,
        findings=findings,
        clients=client_verdicts(verified.decisions if verified else ()),
    )


def load_presented(path: str | Path) -> tuple[Certificate, ...]:
    """The certificates of a file in its order; UsageError when there is none to read."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read the presented certificates {path}: {reason}") from None
    source = read_ca(data, str(path), "file", str(path))
    if not source.certificates:
        detail = next((p.detail for p in source.problems), "it is empty")
        raise UsageError(f"{path} holds no presented certificate: {detail}")
    return source.certificates[:MAX_PRESENTED]


def _verified(
    ca: CaEvidence,
    chain: tuple[Certificate, ...],
    server_name: str,
    now: datetime,
    options: Options,
) -> VerifyEvidence | None:
    from tbdiag.protocol.x509 import name_match

    client = client_named(options.client)
    if not ca.certificates:
        return None
    decisions = decide_all(chain, ca.certificates, server_name, now)
    evidence = VerifyEvidence(now, name_match(server_name, chain[0]), client.id, decisions)
    require_verdict(evidence.deciding)
    if evidence.trusted or ca.public:
        return evidence
    return evidence.with_opinion(SecondOpinion(public_anchor=public_anchor(chain, now)))


def _stages(
    ca: CaEvidence,
    chain: tuple[Certificate, ...],
    presented: str,
    server_name: str,
    verified: VerifyEvidence | None,
) -> list[StageResult]:
    registry.load("checks")
    loaded = Status.OK if ca.certificates else Status.FAILED
    shown = HandshakeEvidence(server_name, True, "established", certificate_list=chain)
    count = f"{len(chain)} certificate{'' if len(chain) == 1 else 's'}"
    stages = [
        _stage("ca.load", loaded, ca_summary(ca), ca),
        _stage("tls.handshake", Status.OK, f"{count} presented, from {presented}", shown),
    ]
    if verified is None:
        title = registry.CHECKS["tls.verify"].title
        reason = "there is no CA certificate to verify with"
        blocked = StageResult(
            "tls.verify", title, Status.BLOCKED, reason, blocked_by="ca.load", reason=reason
        )
        return [*stages, blocked]
    trusted = Status.OK if verified.trusted else Status.FAILED
    return [*stages, _stage("tls.verify", trusted, verify_summary(verified), verified)]


def _stage(stage_id: str, status: Status, summary: str, evidence: object) -> StageResult:
    title = registry.CHECKS[stage_id].title
    return StageResult(stage_id, title, status, summary, evidence=evidence)
