"""Metrics for Prometheus: names and meanings of blackbox_exporter and ssl_exporter, then our own.

Certificate metrics are there also when verification fails: that is when they are needed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from tbdiag import __version__
from tbdiag.evidence import (
    CaEvidence,
    Certificate,
    DnsEvidence,
    HandshakeEvidence,
    TcpEvidence,
)
from tbdiag.model import Report, Severity, StageResult, Status, Verdict
from tbdiag.registry import renderer
from tbdiag.report._facts import ca_certificates, evidence, presented, trusted_path
from tbdiag.report._metrics import Exposition

MAX_NAMES = 20
"""Names of one certificate that a label holds."""
_CERTIFICATE = "expressed as a Unix Epoch Time"
HELP = {
    "probe_success": "Displays whether or not the probe was a success",
    "probe_duration_seconds": "Returns how long the probe took to complete in seconds",
    "probe_dns_lookup_time_seconds": "Returns the time taken for probe dns lookup in seconds",
    "probe_ip_protocol": "Specifies whether probe ip protocol is IP4 or IP6",
    "probe_ip_addr_hash": "Specifies the hash of IP address. It's useful to detect if the IP "
    "address changes.",
    "probe_ssl_earliest_cert_expiry": "Returns earliest SSL cert expiry in unixtime",
    "probe_ssl_last_chain_expiry_timestamp_seconds": "Returns last SSL chain expiry in timestamp",
    "probe_ssl_last_chain_info": "Contains SSL leaf certificate information",
    "probe_tls_version_info": "Returns the TLS version used or NaN when unknown",
    "probe_tls_cipher_info": "Returns the TLS cipher negotiated during handshake",
    "ssl_probe_success": "If the probe was a success",
    "ssl_prober": "The prober used by the exporter to connect to the target",
    "ssl_tls_version_info": "The TLS version used",
    "ssl_cert_not_before": f"NotBefore {_CERTIFICATE}",
    "ssl_cert_not_after": f"NotAfter {_CERTIFICATE}",
    "ssl_verified_cert_not_before": f"NotBefore {_CERTIFICATE}",
    "ssl_verified_cert_not_after": f"NotAfter {_CERTIFICATE}",
    "ssl_file_cert_not_before": f"NotBefore {_CERTIFICATE} for a certificate found in a file",
    "ssl_file_cert_not_after": f"NotAfter {_CERTIFICATE} for a certificate found in a file",
    "tbdiag_check_status": "How a stage ended (0 ok, 1 warning, 2 failed, 3 blocked or error); "
    "reason is the rule or the stage at fault",
    "tbdiag_check_duration_seconds": "How long a stage took",
    "tbdiag_verdict": "What the report says (0 ok, 1 warning, 2 failed, 3 error of tbdiag)",
    "tbdiag_primary_info": "The rule that is the root cause",
    "tbdiag_findings": "How many findings of a severity the report holds",
    "tbdiag_client_accepts": "Whether a device TLS stack accepts the server's chain and name",
    "tbdiag_client_expiry_timestamp_seconds": "When a device TLS stack will stop accepting",
    "tbdiag_last_run_timestamp_seconds": "When the check began",
    "tbdiag_insecure": "Whether verification was waived with --insecure",
    "tbdiag_build_info": "The version of tbdiag",
}
"""Every metric and its help text, in the order of the exposition."""
_STATUS = {
    Status.OK: 0,
    Status.WARNING: 1,
    Status.FAILED: 2,
    Status.BLOCKED: 3,
    Status.ERROR: 3,
}
_VERDICT = {Verdict.OK: 0, Verdict.WARNING: 1, Verdict.FAILED: 2, Verdict.ERROR: 3}


@renderer("prometheus")
def as_prometheus(report: Report, **_style: object) -> str:
    """Metrics for node_exporter's textfile collector: write them with -o NAME.prom."""
    return _exposition([report], labelled=True)


def metrics(reports: Iterable[Report], *, labelled: bool = True) -> str:
    """The exposition of many reports, each series with a label `target`.

    Without `labelled` (the answer to one `/probe`) the scraper's own labels name the target.
    """
    from tbdiag.report import presentable

    return _exposition([presentable(report) for report in reports], labelled)


def _exposition(reports: list[Report], labelled: bool) -> str:
    page = Exposition(HELP)
    for report in reports:
        label = {"target": report.target.label or report.target.address} if labelled else {}
        _probe(page, report, label)
        _address(page, report, label)
        _handshake(page, report, label)
        _certificates(page, report, label)
        _stages(page, report, label)
        _summary(page, report, label)
    page.gauge("tbdiag_build_info", 1, version=__version__)
    return page.text()


def _probe(page: Exposition, report: Report, label: dict[str, str]) -> None:
    success = report.verdict in (Verdict.OK, Verdict.WARNING)
    page.gauge("probe_success", success, **label)
    page.gauge("probe_duration_seconds", _seconds(report.duration_ms), **label)
    page.gauge("ssl_prober", 1, prober=report.target.transport.value, **label)
    if report.target.transport.encrypted:
        page.gauge("ssl_probe_success", success, **label)


def _address(page: Exposition, report: Report, label: dict[str, str]) -> None:
    dns, tcp = evidence(report, DnsEvidence), evidence(report, TcpEvidence)
    if dns:
        page.gauge("probe_dns_lookup_time_seconds", _seconds(dns.elapsed_ms), **label)
    if tcp is None or not tcp.connected:
        return
    try:
        address = ipaddress.ip_address(tcp.connected)
    except ValueError:
        return
    page.gauge("probe_ip_protocol", address.version, **label)
    page.gauge("probe_ip_addr_hash", _fnv1a(address.packed), **label)


def _fnv1a(data: bytes) -> int:
    """FNV-1a, 32 bits: the hash that blackbox_exporter uses for addresses."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def _handshake(page: Exposition, report: Report, label: dict[str, str]) -> None:
    seen = evidence(report, HandshakeEvidence)
    if seen is None or not seen.version:
        return
    version = seen.version.replace("TLSv", "TLS ")
    version = version if "." in version else f"{version}.0"
    page.gauge("probe_tls_version_info", 1, version=version, **label)
    page.gauge("ssl_tls_version_info", 1, version=version, **label)
    if seen.cipher:
        page.gauge("probe_tls_cipher_info", 1, cipher=seen.cipher, **label)


def _certificates(page: Exposition, report: Report, label: dict[str, str]) -> None:
    sent, path = presented(report), trusted_path(report)
    if sent:
        earliest = min(c.not_after for c in sent).timestamp()
        page.gauge("probe_ssl_earliest_cert_expiry", earliest, **label)
        page.gauge("probe_ssl_last_chain_info", 1, **_leaf(sent[0]), **label)
    if path:
        until = min(c.not_after for c in path).timestamp()
        page.gauge("probe_ssl_last_chain_expiry_timestamp_seconds", until, **label)
    _validity(page, "ssl_cert", sent, label)
    _validity(page, "ssl_verified_cert", path, {"chain_no": "0", **label})
    loaded = evidence(report, CaEvidence)
    for source in loaded.sources if loaded and ca_certificates(report) else ():
        _validity(page, "ssl_file_cert", source.certificates, {"file": source.location, **label})


def _validity(
    page: Exposition, prefix: str, certificates: Iterable[Certificate], label: dict[str, str]
) -> None:
    for certificate in certificates:
        labels = {**_identity(certificate), **label}
        page.gauge(f"{prefix}_not_before", certificate.not_before.timestamp(), **labels)
        page.gauge(f"{prefix}_not_after", certificate.not_after.timestamp(), **labels)


def _leaf(certificate: Certificate) -> dict[str, str]:
    return {
        "fingerprint_sha256": certificate.fingerprint_sha256,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "subjectalternative": ",".join(_alternatives(certificate, "DNS")),
        "serialnumber": certificate.serial_number,
    }


def _identity(certificate: Certificate) -> dict[str, str]:
    """The labels of ssl_exporter; lists stand between commas, as it writes them."""
    return {
        "serial_no": _decimal(certificate.serial_number),
        "issuer_cn": next(iter(_attributes(certificate.issuer, "CN")), ""),
        "cn": certificate.common_name or "",
        "dnsnames": _between_commas(_alternatives(certificate, "DNS")),
        "ips": _between_commas(_alternatives(certificate, "IP")),
        "emails": _between_commas(_alternatives(certificate, "email")),
        "ou": _between_commas(_attributes(certificate.subject, "OU")),
    }


def _decimal(serial_number: str) -> str:
    try:
        return str(int(serial_number, 16))
    except ValueError:
        return serial_number


def _alternatives(certificate: Certificate, kind: str) -> list[str]:
    names = certificate.subject_alt_name or ()
    return [n.partition(":")[2] for n in names if n.startswith(f"{kind}:")][:MAX_NAMES]


def _attributes(name: str, kind: str) -> list[str]:
    found = re.findall(rf"(?:^|[,+]){kind}=((?:\\.|[^,+\\])*)", name)
    return [re.sub(r'\\([\\"+,;<>=# ])', r"\1", text) for text in found][:MAX_NAMES]


def _between_commas(items: list[str]) -> str:
    return f",{','.join(items)}," if items else ""


def _stages(page: Exposition, report: Report, label: dict[str, str]) -> None:
    for stage in report.stages:
        if stage.status is Status.NOT_APPLICABLE:
            continue
        reason = _reason(report, stage)
        status = _STATUS[stage.status]
        page.gauge("tbdiag_check_status", status, check=stage.id, reason=reason, **label)
        if stage.status is not Status.BLOCKED:
            seconds = _seconds(stage.duration_ms)
            page.gauge("tbdiag_check_duration_seconds", seconds, check=stage.id, **label)


def _reason(report: Report, stage: StageResult) -> str:
    """A rule id or a stage id: few values, so that the label stays cheap."""
    if stage.status is Status.BLOCKED:
        return stage.blocked_by or ""
    if stage.status is Status.ERROR:
        return "tbdiag.error"
    grave = (Severity.WARNING, Severity.ERROR)
    found = (f.rule for f in report.findings if f.stage == stage.id and f.severity in grave)
    return next(found, "") if stage.status is not Status.OK else ""


def _summary(page: Exposition, report: Report, label: dict[str, str]) -> None:
    page.gauge("tbdiag_verdict", _VERDICT[report.verdict], **label)
    if report.primary:
        page.gauge("tbdiag_primary_info", 1, rule=report.primary, **label)
    for severity in Severity:
        number = sum(f.severity is severity for f in report.findings)
        page.gauge("tbdiag_findings", number, severity=severity.value, **label)
    for client in report.clients:
        _client(page, client.client, client.verdict, label)
        if client.expires and client.verdict == "accept":
            until = client.expires.timestamp()
            name = "tbdiag_client_expiry_timestamp_seconds"
            page.gauge(name, until, client=client.client, **label)
    page.gauge("tbdiag_last_run_timestamp_seconds", report.started_at.timestamp(), **label)
    page.gauge("tbdiag_insecure", report.options.insecure, **label)


def _client(page: Exposition, client: str, verdict: str, label: dict[str, str]) -> None:
    if verdict != "unknown":
        page.gauge("tbdiag_client_accepts", verdict == "accept", client=client, **label)


def _seconds(milliseconds: float) -> float:
    return round(milliseconds / 1000, 6)
