"""`tbdiag ca fetch`: download the CA that a platform offers, prove it is one, write it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tbdiag.ca_commands.inspect import report_on
from tbdiag.checks._platform_ca import PATH, download_url, downloaded_ca
from tbdiag.deadline import Deadline
from tbdiag.errors import UsageError
from tbdiag.fact import replace
from tbdiag.files import write_output
from tbdiag.model import CaReport, Options, Severity, Target, Transport, Verdict
from tbdiag.protocol.x509 import encode_pem

SECONDS = 15.0


def fetch(
    source: Target | str,
    output: str | Path | None = None,
    options: Options | None = None,
) -> CaReport:
    """Download the CA file of a target (or from a URL) and write it to `output` as wrapped PEM.

    A target is asked at its `http_url`, else at https:// and its host. Nothing is written unless
    the answer holds certificates; whatever is at `output` stays then. UsageError when there is no
    address to ask, or the file cannot be written.
    """
    options = options or Options()
    now = options.at or datetime.now(UTC)
    url, target = _address(source)
    deadline = Deadline.after(min(SECONDS, options.timeout))
    loaded = downloaded_ca(url, url, deadline, proxy=options.proxy)
    report = report_on("fetch", loaded, now, options, target)
    if output is None or not loaded.certificates:
        return report
    if report.verdict is Verdict.FAILED and not _repaired_by_writing(report):
        note = f"{output} was not written: the download has an error"
        return replace(report, notes=(*report.notes, note))
    write_output(Path(output), encode_pem(loaded.certificates).encode("ascii"))
    return replace(report, written=str(output))


def _repaired_by_writing(report: CaReport) -> bool:
    """Whether every error is one of form, which the PEM that is written no longer has."""
    errors = {f.rule for f in report.findings if f.severity is Severity.ERROR}
    return errors <= {"ca.not-pem"}


def _address(source: Target | str) -> tuple[str, Target | None]:
    if isinstance(source, str):
        return source, None
    coap = source.transport in (Transport.COAP, Transport.COAPS)
    url = download_url(replace(source, transport=Transport.COAPS if coap else Transport.MQTTS))
    if url is None:
        path = PATH.format(protocol="mqtts")
        raise UsageError(
            f"nothing is known about the HTTP address of {source.host}: give it with --http-url,"
            f" or the URL itself, such as https://{source.host}{path}"
        )
    return url, source
