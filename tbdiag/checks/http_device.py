"""The HTTP stages of a device that speaks HTTP: is it ThingsBoard, telemetry, attributes."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote, urlsplit

from tbdiag.checks._applies import unless_no_connect, with_device_publish, with_device_token
from tbdiag.checks._device_http import Api, Reply, ask
from tbdiag.checks._payload import json_fault
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import TcpEvidence
from tbdiag.evidence.devices import (
    TOKEN_PLACE,
    HttpAttributesEvidence,
    HttpConnectEvidence,
    HttpTelemetryEvidence,
)
from tbdiag.protocol.plaintext import identify
from tbdiag.protocol.transport import dial
from tbdiag.registry import Blocked, Observation, check

TRANSPORTS = ("https", "http")
MADE_UP = "tbdiag-asks-without-a-token"
"""Stands where the token belongs, to learn who answers before the token is sent."""
QUERY = "?clientKeys=model"
SHOWN = 512
"""Characters kept of a response's body."""
REFUSED = (401, 403)
UNAVAILABLE = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of an overload, a rate limit, or a proxy without its server."""
PROBE_SECONDS = 1.0
ENOUGH = 8
"""Bytes that tell protocols apart, where that many come in time; four where not."""
_TLS_ALERT = b"\x15\x03"
_SPOKE_OTHERWISE = ("closed", "not-http", "timeout")


@check(
    "http.connect",
    title="HTTP server",
    order=61,
    requires=("tcp.connect", "tls.handshake", "tls.verify"),
    after=("ca.load",),
    timeout=8.0,
    transports=TRANSPORTS,
    applies=unless_no_connect,
    waivable=("tls.verify",),
    imports=("httpx",),
)
def connect(run: Run) -> Observation[HttpConnectEvidence]:
    """Ask whether ThingsBoard's HTTP device API answers here, before the token is sent.

    `GET /api/v1/…/attributes` with a made-up token: ThingsBoard answers 401 without a page. A web
    page, a redirect or 404 comes from something else, and the token is not sent to it.
    """
    in_time = run.with_deadline(Deadline(run.deadline.at - PROBE_SECONDS))
    reply = ask(in_time, "GET", f"/api/v1/{MADE_UP}/attributes")
    outcome, detail = _who_answers(run, reply)
    location = _origin(reply.headers.get("location", "")) if outcome == "redirect" else None
    evidence = HttpConnectEvidence(
        base_url(run),
        outcome,
        reply.status,
        reply.content_type,
        reply.headers.get("server"),
        location,
        detail,
        reply.elapsed_ms,
    )
    return Observation(evidence, outcome == "thingsboard", _connect_summary(evidence))


def base_url(run: Run) -> str:
    """The URL of the target's server, as a person would type it."""
    return Api(run.target, run.target.host, None).base_url


def _who_answers(run: Run, reply: Reply) -> tuple[str, str]:
    """The outcome of http.connect, and its detail."""
    if reply.status is None:
        return _without_status(run, reply)
    page = reply.content_type == "text/html"
    said = f"HTTP {reply.status} with {reply.content_type or 'no content type'}"
    if reply.status == 400 and b"HTTPS port" in reply.body:
        return "tls-port", "HTTP 400: the plain HTTP request was sent to an HTTPS port"
    if 300 <= reply.status < 400:
        return "redirect", f"HTTP {reply.status}"
    if reply.status in UNAVAILABLE:
        return "unavailable", said
    if reply.status == 401 and not page:
        return "thingsboard", ""
    return "not-thingsboard", said


def _without_status(run: Run, reply: Reply) -> tuple[str, str]:
    """No HTTP came back: on a plain port the first bytes say what listens there instead."""
    if run.target.transport.encrypted or reply.outcome not in _SPOKE_OTHERWISE:
        outcome = "unreachable" if reply.outcome == "closed" else reply.outcome
        return outcome, reply.detail
    first = _first_bytes(run)
    if first.startswith(_TLS_ALERT):
        return "tls-port", f"it answers with a TLS alert: {first[:7].hex(' ')}"
    spoken = identify(first)
    if len(first) >= ENOUGH // 2 and not first.startswith(b"HTTP") and spoken != "http":
        return "not-http", f"the first bytes are {first[:16]!r}"
    return "unreachable" if reply.outcome == "closed" else reply.outcome, reply.detail


def _first_bytes(run: Run) -> bytes:
    """What the port answers to a request for nothing, which holds no token."""
    deadline = run.deadline.sooner(PROBE_SECONDS)
    tcp = run.need(TcpEvidence)
    used = [(a.family, a.address) for a in tcp.attempts if a.address == tcp.connected]
    _, channels = dial(used, run.target.effective_port, deadline)
    for channel in channels.values():
        first = b""
        with suppress(OSError):
            channel.write(b"GET / HTTP/1.0\r\n\r\n", deadline)
            while len(first) < ENOUGH and (data := channel.read(deadline)):
                first += data
        channel.close()
        return first
    return b""


def _origin(location: str) -> str:
    """Scheme, host and port of a redirect; its path may repeat the one asked for."""
    try:
        parts = urlsplit(location)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a location that is no URL"
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else "another path"


def _connect_summary(seen: HttpConnectEvidence) -> str:
    if seen.outcome == "thingsboard":
        return f"ThingsBoard's device API answers at {seen.base_url}"
    if seen.outcome == "redirect":
        return f"{seen.detail}: redirected to {seen.location}"
    return f"{seen.outcome}: {seen.detail}"


@check(
    "http.telemetry",
    title="Test telemetry",
    order=71,
    requires=("http.connect",),
    after=("tls.verify",),
    timeout=10.0,
    transports=TRANSPORTS,
    applies=with_device_publish,
)
def telemetry(run: Run) -> Observation[HttpTelemetryEvidence]:
    """Send the test telemetry: `POST /api/v1/{token}/telemetry`.

    200 means that ThingsBoard queued it; 401 that it does not know the token, 500 that it could not
    use the JSON or that a limit is exceeded.
    """
    payload = run.options.payload
    path, shown = _paths(run, "telemetry")
    reply = ask(run, "POST", path, payload)
    evidence = HttpTelemetryEvidence(
        "POST",
        shown,
        reply.outcome,
        reply.status,
        reply.content_type,
        _shown(reply.body),
        len(payload),
        json_fault(payload),
        reply.detail,
        reply.elapsed_ms,
    )
    return Observation(evidence, evidence.accepted, _summary(evidence, "the telemetry was taken"))


@check(
    "http.attributes",
    title="Attributes",
    order=81,
    requires=("http.connect",),
    after=("http.telemetry", "tls.verify"),
    timeout=8.0,
    transports=TRANSPORTS,
    applies=with_device_token,
)
def attributes(run: Run) -> Observation[HttpAttributesEvidence] | Blocked:
    """Read an attribute: `GET /api/v1/{token}/attributes?clientKeys=model`.

    200 proves the token and that ThingsBoard answers, `{}` where the attribute is not set. Nothing
    is written, and the device's own sessions are left alone.
    """
    sent = run.get(HttpTelemetryEvidence)
    if sent and (sent.status in REFUSED or sent.status is None):
        return Blocked("http.telemetry", "http.telemetry did not pass")
    path, shown = _paths(run, "attributes")
    reply = ask(run, "GET", path + QUERY)
    evidence = HttpAttributesEvidence(
        "GET",
        shown + QUERY,
        reply.outcome,
        reply.status,
        reply.content_type,
        _shown(reply.body),
        detail=reply.detail,
        elapsed_ms=reply.elapsed_ms,
    )
    return Observation(evidence, evidence.accepted, _summary(evidence, evidence.body or "no body"))


def _paths(run: Run, what: str) -> tuple[str, str]:
    """The path to send, and the URL to show."""
    token = run.target.credentials.token
    sent = f"/api/v1/{quote(token.reveal() if token else '', safe='')}/{what}"
    return sent, f"{base_url(run)}/api/v1/{TOKEN_PLACE}/{what}"


def _shown(body: bytes) -> str:
    return body[:SHOWN].decode("utf-8", "replace")


def _summary(seen: HttpTelemetryEvidence | HttpAttributesEvidence, good: str) -> str:
    if seen.status is None:
        return f"{seen.outcome}: {seen.detail}"
    return f"HTTP {seen.status}" + (f": {good}" if seen.accepted else "")
