"""Where a ThingsBoard installation offers its CA certificate, and what its answer means.

`GET {base}/api/device-connectivity/mqtts/certificate/download` needs no login (ThingsBoard 3.6 and
later). Nothing ties the file to the certificate that the MQTT port really presents.
"""

from __future__ import annotations

import ipaddress
import json

from tbdiag.checks._download import Download, checked_url, download
from tbdiag.deadline import Deadline
from tbdiag.evidence import CaProblem, CaSource
from tbdiag.fact import replace
from tbdiag.model import Target, Transport
from tbdiag.protocol.ca_file import read_ca
from tbdiag.protocol.content_kinds import content_words

PATH = "/api/device-connectivity/{protocol}/certificate/download"
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


def download_url(target: Target) -> str | None:
    """The platform's own download for this target, or None where there is no HTTP base to ask.

    The base is `target.http_url`, else https:// and the host; a host that is an IP address, this
    machine or a local name is not guessed at.
    """
    if target.transport not in (Transport.MQTTS, Transport.COAPS):
        return None
    protocol = "coaps" if target.transport is Transport.COAPS else "mqtts"
    base = target.http_url or _guessed_base(target.host)
    return base.rstrip("/") + PATH.format(protocol=protocol) if base else None


def _guessed_base(host: str) -> str | None:
    name = host.rstrip(".").lower()
    if "." not in name or name.endswith(_LOCAL_SUFFIXES):
        return None
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return f"https://{name}"
    return None


def downloaded_ca(url: str, given: str, deadline: Deadline, *, proxy: str | None) -> CaSource:
    """Fetch `url` and read the CA file it answers; every failure is a problem of the source.

    Raises UsageError for a URL that cannot be fetched at all.
    """
    answer = download(checked_url(url), deadline, proxy=proxy)
    if answer.failure is None and answer.status == 200:
        source = read_ca(answer.body, given, "download", answer.url)
        return replace(source, http_status=200, content_type=answer.content_type)
    return CaSource(
        given,
        "download",
        answer.url,
        "unknown",
        len(answer.body),
        problems=(_problem(answer),),
        http_status=answer.status,
        content_type=answer.content_type,
    )


def _problem(answer: Download) -> CaProblem:
    if answer.failure is not None:
        return CaProblem("download-failed", answer.failure)
    message = _message(answer.body)
    if answer.status == 404 and "/api/device-connectivity/" in answer.url and message:
        return CaProblem("download-not-configured", f"HTTP 404: {message}")
    if message:
        return CaProblem("download-failed", f"HTTP {answer.status}: {message}")
    words = content_words(answer.body) if answer.body.strip() else "an empty body"
    return CaProblem("download-failed", f"HTTP {answer.status} with {words}")


def _message(body: bytes) -> str | None:
    """The message of ThingsBoard's JSON error, if that is what the body is."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    message = value.get("message") if isinstance(value, dict) else None
    return " ".join(message.split())[:200] if isinstance(message, str) else None
