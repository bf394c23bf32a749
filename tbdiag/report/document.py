"""The JSON report, `schema_version` 1: a contract of its own.

These types are not the internal ones on purpose: the inside may change, this may only grow. Add
fields, never rename. `docs/report.schema.json` is generated from here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal

import msgspec

from tbdiag import __version__
from tbdiag.evidence import Certificate
from tbdiag.fact import field_names, is_record, replace
from tbdiag.model import ClientVerdict, Finding, Report, Secret
from tbdiag.redact import map_text

MAX_LISTED = 200
"""Items of one list in the evidence that are written out; the rest is counted."""
ORDINARY_SIZE = 200_000
"""Bytes of a document below which no text in it needs to be cut."""
LONGEST_TEXT = 4_000

StatusWord = Literal["ok", "warning", "failed", "blocked", "not-applicable", "error"]


class Tool(msgspec.Struct, frozen=True):
    """The program that wrote the report."""

    name: str = "tbdiag"
    version: str = __version__


class TargetDocument(msgspec.Struct, frozen=True):
    """What was diagnosed."""

    host: str
    port: int
    transport: str
    server_name: str
    label: str | None


class StageDocument(msgspec.Struct, frozen=True):
    """One stage: `evidence` holds facts in the words of the RFCs, by stage."""

    id: str
    title: str
    status: StatusWord
    summary: str
    duration_ms: float
    blocked_by: str | None
    reason: str | None
    evidence: dict[str, Any]


class FindingDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finding: what was seen, the cause, the repair."""

    rule: str
    stage: str
    severity: Literal["error", "warning", "info"]
    subject: str
    message: str
    cause: str
    fix: str
    reference: str
    pem: str | None = None


class ClientDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one device TLS stack decides."""

    client: str
    verdict: Literal["accept", "reject", "unknown"]
    reason: str
    stands_for: str = ""
    expires: str | None = None


class ReportDocument(msgspec.Struct, frozen=True):
    """The whole report; times are RFC 3339 in UTC."""

    schema_version: Literal[1]
    tool: Tool
    target: TargetDocument
    started_at: str
    judged_at: str
    duration_ms: float
    insecure: bool
    verdict: Literal["ok", "warning", "failed", "error"]
    primary: str | None
    stages: list[StageDocument]
    findings: list[FindingDocument]
    clients: list[ClientDocument]


def rfc3339(moment: datetime) -> str:
    """`2026-01-31T23:59:59Z`, with milliseconds where there are any."""
    moment = moment.astimezone(UTC)
    spec = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def document(report: Report) -> ReportDocument:
    """The report as its public JSON types."""
    target = report.target
    return ReportDocument(
        schema_version=1,
        tool=Tool(),
        target=TargetDocument(
            target.host,
            target.effective_port,
            target.transport.value,
            target.reference_name,
            target.label,
        ),
        started_at=rfc3339(report.started_at),
        judged_at=rfc3339(report.now),
        duration_ms=report.duration_ms,
        insecure=report.options.insecure,
        verdict=report.verdict.value,
        primary=report.primary,
        stages=[
            StageDocument(
                s.id,
                s.title,
                s.status.value,
                s.summary,
                s.duration_ms,
                s.blocked_by,
                s.reason,
                builtins_of(s.evidence, report.now) or {},
            )
            for s in report.stages
        ],
        findings=[finding_document(f) for f in report.findings],
        clients=[client_document(c) for c in report.clients],
    )


def encode(report: Report) -> bytes:
    """The report as JSON in UTF-8.

    Half surrogates (of file names) become backslash text. In a large document texts longer than
    `LONGEST_TEXT` characters are cut, and say so.
    """
    try:
        encoded = msgspec.json.encode(document(report))
    except UnicodeEncodeError:
        encoded = b""
    if encoded and len(encoded) <= ORDINARY_SIZE:
        return encoded
    return msgspec.json.encode(document(_cut(report)))


def _cut(report: Report) -> Report:
    """The report with long texts cut; a PEM that is to be copied stays whole."""
    shorter = map_text(report, _bounded)
    findings = tuple(
        replace(cut, pem=_encodable(whole.pem) if whole.pem else None)
        for cut, whole in zip(shorter.findings, report.findings, strict=True)
    )
    return replace(shorter, findings=findings)


def _bounded(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… ({len(text):,} characters, cut)"
    return _encodable(text)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def client_document(client: ClientVerdict) -> ClientDocument:
    """One client stack's verdict as its public JSON type."""
    return ClientDocument(
        client.client,
        client.verdict,  # type: ignore[arg-type]
        client.reason,
        client.stands_for,
        rfc3339(client.expires) if client.expires else None,
    )


def finding_document(finding: Finding) -> FindingDocument:
    """One finding as its public JSON type."""
    return FindingDocument(
        finding.rule,
        finding.stage,
        finding.severity.value,
        finding.subject,
        finding.message,
        finding.cause,
        finding.fix,
        finding.reference,
        finding.pem,
    )


def builtins_of(value: Any, now: datetime) -> Any:
    """Evidence as dicts, lists, strings and numbers; bytes become text with backslash escapes."""
    if isinstance(value, Certificate):
        return certificate_document(value, now)
    if is_record(value):
        return {name: builtins_of(getattr(value, name), now) for name in field_names(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {str(k): builtins_of(v, now) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [builtins_of(item, now) for item in list(value)[:MAX_LISTED]]
        left = len(value) - len(items)
        return [*items, f"… {left:,} more"] if left else items
    return value


def certificate_document(certificate: Certificate, now: datetime) -> dict[str, Any]:
    """One certificate: every parsed field, its role, the days left at `now`, and its PEM."""
    facts: dict[str, Any] = {
        name: builtins_of(getattr(certificate, name), now)
        for name in certificate.__struct_fields__
        if not name.endswith("der")
    }
    facts["role"] = certificate.role
    facts["days_left"] = round(certificate.days_left(now), 2)
    facts["pem"] = pem_of(certificate)
    return facts


def pem_of(certificate: Certificate) -> str:
    """The certificate as PEM, wrapped at 64 columns with LF (RFC 7468)."""
    import base64

    text = base64.b64encode(certificate.der).decode()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def schema() -> dict[str, Any]:
    """The JSON Schema of the report, for docs/report.schema.json."""
    return msgspec.json.schema(ReportDocument)
