"""`tbdiag ca recommend` for people: what to put on the device, how sure that is, until when."""

from __future__ import annotations

from datetime import datetime

from tbdiag.evidence import Certificate
from tbdiag.model import CaReport, Verdict
from tbdiag.redact import map_text
from tbdiag.report.document import pem_of
from tbdiag.report.escape import visible
from tbdiag.report.text import paint, wrap


def recommendation_text(
    report: CaReport, *, width: int = 100, color: bool = False, unicode: bool = True, **_: object
) -> str:
    """The advice, its proof by every client stack, and the PEM unless it was written to a file."""
    report = map_text(report, visible)
    parts = [
        _advice(report, width, color),
        _proof(report, width, color),
        _notes(report, width, color),
        _findings(report, width, color),
        _bundle(report, width, color),
        _file(report, color),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return text if unicode else text.encode("ascii", "backslashreplace").decode()


def _advice(report: CaReport, width: int, color: bool) -> str:
    if not report.certificates:
        title = paint(f"No CA file can be recommended for {report.source}", "1;31", color)
        return f"{title}\n{wrap(f'{report.why}.', width)}"
    title = paint(f"For {report.source}, put this on the device:", "1", color)
    lines = [title, *(f"  {_described(c)}" for c in report.certificates)]
    lines.append(wrap(f"How sure: {report.confidence}; {report.why}.", width))
    if report.breaks_on:
        lines.append(wrap(f"The file is good until {_day(report.breaks_on)}.", width))
    if report.expires:
        text = "With the chain that the server presents today it works until "
        lines.append(wrap(f"{text}{_day(report.expires)}.", width))
    return "\n".join(lines)


def _described(certificate: Certificate) -> str:
    return (
        f"{certificate.name} ({certificate.role}, until {_day(certificate.not_after)})\n"
        f"    SHA-256 {certificate.fingerprint_sha256}"
    )


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def _proof(report: CaReport, width: int, color: bool) -> str:
    if not report.clients or not report.certificates:
        return ""
    lines = [paint("Proved with the chain just captured", "1", color)]
    for client in report.clients:
        code = {"accept": "32", "reject": "31"}.get(client.verdict, "2")
        verdict = paint(f"{client.verdict:<7}", code, color)
        body = wrap(f"{client.reason} [{client.stands_for}]", width, " " * 26).lstrip()
        lines.append(f"  {client.client:<14}  {verdict} {body}")
    return "\n".join(lines)


def _notes(report: CaReport, width: int, color: bool) -> str:
    if not report.notes:
        return ""
    return "\n".join([paint("Mind", "1;33", color), *(wrap(n, width) for n in report.notes)])


def _findings(report: CaReport, width: int, color: bool) -> str:
    if not report.findings:
        return ""
    lines = [paint("What no CA file repairs", "1;31", color)]
    for finding in report.findings:
        lines += [f"  {finding.severity}  {finding.rule}", wrap(finding.message, width, "    ")]
        lines.append(wrap(f"Fix: {finding.fix}", width, "    "))
    return "\n".join(lines)


def _bundle(report: CaReport, width: int, color: bool) -> str:
    if not report.bundle:
        return ""
    title = paint("The server should send this (MQTT_SSL_PEM_CERT), in this order:", "1", color)
    return f"{title}\n{''.join(pem_of(c) for c in report.bundle).rstrip()}"


def _file(report: CaReport, color: bool) -> str:
    if report.written:
        code = "1;32" if report.verdict is not Verdict.FAILED else "1;33"
        return paint(f"Written: {report.written} ({report.format})", code, color)
    if not report.certificates:
        return ""
    title = paint("CA file for the device (-o FILE writes it):", "1", color)
    return f"{title}\n{''.join(pem_of(c) for c in report.certificates).rstrip()}"
