"""The result of a `tbdiag ca` command as text and as JSON (the envelope of DESIGN section 6)."""

from __future__ import annotations

from typing import Literal

import msgspec

from tbdiag.evidence import Certificate
from tbdiag.model import CaPath, CaReport, Finding, Severity, Verdict
from tbdiag.redact import map_text
from tbdiag.report.document import (
    ClientDocument,
    FindingDocument,
    Tool,
    certificate_document,
    client_document,
    finding_document,
    rfc3339,
)
from tbdiag.report.escape import json_safe, printable_pem, visible
from tbdiag.report.text import SEVERITY_COLORS, minute, paint, wrap

OVERVIEW = 200
"""Up to this many certificates the overview is a table; beyond, their blocks alone are shown."""
NAME_COLUMNS = 44
INDENTED = 8 << 20
"""Bytes of JSON above which it is not indented: that would take its size in memory again."""


class PathDocument(msgspec.Struct, frozen=True):
    """One way up: numbers into `certificates`, from 1, lowest first."""

    certificates: list[int]
    complete: bool
    missing: str


class CaDocument(msgspec.Struct, frozen=True):
    """The JSON of `ca inspect`, `ca fetch`, `ca verify` and `ca recommend`."""

    schema_version: Literal[1]
    tool: Tool
    command: str
    source: str
    format: str
    judged_at: str
    verdict: str
    primary: str | None
    certificates: list[msgspec.Raw]
    """Each with every parsed field, `role`, `days_left` and `pem`."""
    presented: list[msgspec.Raw]
    paths: list[PathDocument]
    findings: list[FindingDocument]
    clients: list[ClientDocument]
    server_name: str | None
    expires: str | None
    written: str | None
    notes: list[str]
    confidence: str | None = None
    why: str = ""
    bundle: list[msgspec.Raw] = []
    breaks_on: str | None = None


def ca_json(report: CaReport) -> str:
    """One JSON document, schema_version 1; indented unless it is very long."""
    encoded = msgspec.json.encode(ca_document(report))
    if len(encoded) < INDENTED:
        encoded = msgspec.json.format(encoded, indent=2)
    return json_safe(encoded.decode()) + "\n"


def ca_document(report: CaReport) -> CaDocument:
    """The report as its public JSON type."""
    return CaDocument(
        schema_version=1,
        tool=Tool(),
        command=report.command,
        source=report.source,
        format=report.format,
        judged_at=rfc3339(report.now),
        verdict=report.verdict.value,
        primary=report.primary,
        certificates=_certificates(report.certificates, report),
        presented=_certificates(report.presented, report),
        paths=[PathDocument(list(p.certificates), p.complete, p.missing) for p in report.paths],
        findings=[finding_document(f) for f in report.findings],
        clients=[client_document(c) for c in report.clients],
        server_name=report.server_name,
        expires=rfc3339(report.expires) if report.expires else None,
        written=report.written,
        notes=list(report.notes),
        confidence=report.confidence,
        why=report.why,
        bundle=_certificates(report.bundle, report),
        breaks_on=rfc3339(report.breaks_on) if report.breaks_on else None,
    )


def _certificates(certificates: tuple[Certificate, ...], report: CaReport) -> list[msgspec.Raw]:
    """Each encoded at once: 10,000 of them as dicts would take 100 MB."""
    return [
        msgspec.Raw(msgspec.json.encode(certificate_document(c, report.now))) for c in certificates
    ]


def ca_table(
    report: CaReport,
    *,
    width: int = 100,
    color: bool = False,
    unicode: bool = True,
    verbose: bool = False,
    **_style: object,
) -> str:
    """The certificates, the paths they form, the verdicts and the findings, for people."""
    pems = [printable_pem(f.pem) for f in report.findings]
    report = map_text(report, visible)
    parts = [
        _header(report, color),
        _overview(report),
        *_blocks(report),
        _paths(report, width),
        _clients(report),
        _findings(report, pems, width, color, verbose),
        _footer(report, color),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return text if unicode else text.encode("ascii", "backslashreplace").decode()


def _header(report: CaReport, color: bool) -> str:
    count = len(report.certificates)
    what = f"{count:,} certificate{'' if count == 1 else 's'}, {report.format}"
    name = f" for {report.server_name}" if report.server_name else ""
    title = paint(f"{report.source}{name}", "1", color)
    return f"{title}: {what}; judged at {minute(report.now)}"


def _overview(report: CaReport) -> str:
    if not 1 < len(report.certificates) <= OVERVIEW:
        return ""
    from tabulate import tabulate

    rows = [
        [
            number,
            c.role,
            _cut(c.name),
            f"{c.not_after:%Y-%m-%d}",
            int(c.days_left(report.now)),
            str(c.key),
        ]
        for number, c in enumerate(report.certificates, start=1)
    ]
    headers = ["#", "Role", "Name", "Until", "Days left", "Key"]
    return str(tabulate(rows, headers, tablefmt="simple", disable_numparse=True))


def _cut(text: str) -> str:
    return text if len(text) <= NAME_COLUMNS else f"{text[: NAME_COLUMNS - 1]}…"


def _blocks(report: CaReport) -> list[str]:
    blocks = [_block(f"#{i}", c, report) for i, c in enumerate(report.certificates, start=1)]
    shown = (f"presented {i}" for i in range(1, len(report.presented) + 1))
    return blocks + [
        _block(label, c, report) for label, c in zip(shown, report.presented, strict=True)
    ]


def _block(label: str, c: Certificate, report: CaReport) -> str:
    issuer = "itself" if c.self_signed else c.issuer
    names = "; ".join(c.subject_alt_name[:12]) if c.subject_alt_name else ""
    left = c.days_left(report.now)
    days = f"{int(left)} days left" if left >= 0 else f"expired {int(-left)} days ago"
    lines = [
        f"{label}  {c.role}  {c.name}",
        f"    subject    {c.subject}",
        f"    issuer     {issuer}",
        f"    valid      {minute(c.not_before)} to {minute(c.not_after)} ({days})",
        f"    key        {c.key}; signed with {c.signature_algorithm}",
        f"    serial     {c.serial_number}",
        f"    SHA-256    {_colons(c.fingerprint_sha256)}",
        f"    SKI / AKI  {c.subject_key_identifier or '-'} / {c.authority_key_identifier or '-'}",
    ]
    if names:
        lines.insert(3, f"    names      {names}")
    return "\n".join(lines)


def _colons(fingerprint: str) -> str:
    text = fingerprint.upper()
    return ":".join(text[i : i + 2] for i in range(0, len(text), 2))


def _paths(report: CaReport, width: int) -> str:
    if len(report.certificates) < 2:
        return ""
    lines = ["Paths (each certificate, then its issuer)"]
    lines += [wrap(_path(p, report), width) for p in report.paths]
    return "\n".join(lines)


def _path(path: CaPath, report: CaReport) -> str:
    steps = [f"#{n} {_cut(report.certificates[n - 1].name)}" for n in path.certificates]
    end = "" if path.complete else f" <- missing: {path.missing}"
    return " <- ".join(steps) + end


def _clients(report: CaReport) -> str:
    if not report.clients:
        return ""
    from tabulate import tabulate

    rows = [
        [c.client, c.verdict, f"{c.expires:%Y-%m-%d}" if c.expires else "", c.reason]
        for c in report.clients
    ]
    return str(tabulate(rows, ["Client", "Verdict", "Until", "Reason"], tablefmt="simple"))


def _findings(
    report: CaReport, pems: list[str | None], width: int, color: bool, verbose: bool
) -> str:
    lines = []
    # The cause comes first; what else was found keeps its order.
    found = zip(report.findings, pems, strict=True)
    for finding, pem in sorted(found, key=lambda pair: pair[0].rule != report.primary):
        lines.append(_finding(finding, width, color))
        if pem and (verbose or finding.rule == report.primary):
            lines.append(pem.rstrip("\n"))
    return "\n".join(lines)


def _finding(finding: Finding, width: int, color: bool) -> str:
    word = paint(finding.severity.value, SEVERITY_COLORS[finding.severity], color)
    lines = [f"{word}  {finding.rule}", wrap(finding.message, width)]
    if finding.severity is not Severity.INFO:
        lines.append(wrap(finding.cause, width))
    lines.append(wrap(f"Fix: {finding.fix}", width))
    return "\n".join(lines)


def _footer(report: CaReport, color: bool) -> str:
    counts = {s: sum(f.severity is s for f in report.findings) for s in Severity}
    errors, warnings = counts[Severity.ERROR], counts[Severity.WARNING]
    word = "OK" if report.verdict is Verdict.OK else report.verdict.value.upper()
    code = {"ok": "32", "warning": "33"}.get(report.verdict.value, "31")
    lines = [
        f"{paint(word, code, color)}: {_number(errors, 'error')}, {_number(warnings, 'warning')}."
    ]
    if report.expires:
        lines.append(f"Works until {minute(report.expires)} with the chain as presented.")
    lines += [f"Written: {report.written}"] if report.written else []
    lines += [f"Note: {note}." for note in report.notes]
    return "\n".join(lines)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
