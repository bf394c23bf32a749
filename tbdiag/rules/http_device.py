"""What became of a HTTP device's requests: ThingsBoard's status codes, as they are meant."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from tbdiag.context import Case
from tbdiag.evidence.devices import (
    HttpAttributesEvidence,
    HttpConnectEvidence,
    HttpExchange,
    HttpTelemetryEvidence,
)
from tbdiag.model import Severity, Target, Transport
from tbdiag.registry import Fault, rule
from tbdiag.rules._device_words import device_line, origin, said
from tbdiag.rules._mqtt_words import COPY_TOKEN, check_line

API = "ThingsBoard, HTTP Device API"
LOG = "/var/log/thingsboard/thingsboard.log"
_STAGE = "http.telemetry"
_REFUSED = (401, 403)


def exchanges(case: Case) -> Iterator[tuple[str, HttpExchange]]:
    """The requests that were not accepted, with their stages."""
    telemetry, attributes = case.get(HttpTelemetryEvidence), case.get(HttpAttributesEvidence)
    for stage, seen in (("http.telemetry", telemetry), ("http.attributes", attributes)):
        if seen is not None and not seen.accepted:
            yield stage, seen


def kind_of(seen: HttpExchange) -> str:
    """Which one rule explains a request that was not accepted."""
    if seen.status is None:
        return "no-response"
    if seen.status in _REFUSED:
        return "unauthorized"
    if seen.status in (408, 504):
        return "no-response"
    if seen.status == 413:
        return "too-large"
    wrong_json = seen.method == "POST" and seen.json_error is not None
    if seen.status in (400, 415, 500) and wrong_json:
        return "payload-rejected"
    return "refused"


def _of_kind(case: Case, kind: str) -> Iterator[tuple[str, HttpExchange]]:
    return ((stage, seen) for stage, seen in exchanges(case) if kind_of(seen) == kind)


@rule(
    "http.redirected",
    stage="http.connect",
    needs=HttpConnectEvidence,
    reference="RFC 9110 section 15.4",
)
def redirected(case: Case, seen: HttpConnectEvidence) -> Iterable[Fault]:
    """The server redirects the device somewhere else.

    Most often a proxy sends http:// to https://. Devices do not follow a redirect of POST, or
    follow it with GET and lose the data; and the token has travelled in clear by then. tbdiag does
    not follow it either, because the token is part of the URL.
    """
    if seen.outcome != "redirect":
        return
    target, where = case.target, seen.location or "another path"
    secure = where.startswith("https://") and target.transport is Transport.HTTP
    cause = "A proxy in front of ThingsBoard sends every http:// request to https://."
    fix = "Use the address it redirects to: tbdiag check "
    fix += shlex.quote(where if "://" in where else origin(target))
    yield Fault(
        f"{seen.base_url} answers HTTP {seen.status}, a redirect to {where}.",
        cause if secure else "This address does not serve the device API itself.",
        fix,
        subject=seen.base_url,
    )


@rule("http.unavailable", stage="http.connect", needs=HttpConnectEvidence, reference=API)
def unavailable(case: Case, seen: HttpConnectEvidence) -> Iterable[Fault]:
    """The HTTP server answers, and says that it cannot serve.

    502, 503 and 504 come from a proxy whose ThingsBoard is down or starting; 429 from a rate limit;
    500 from ThingsBoard itself. The token was not sent. Repair: on the server.
    """
    if seen.outcome == "unavailable":
        yield Fault(
            f"{seen.base_url} answers {seen.detail}.",
            "The proxy has no working ThingsBoard behind it."
            if seen.status in (502, 503, 504)
            else "The server is overloaded, or limits the requests of this address.",
            f"On the server: sudo systemctl status thingsboard; tail -50 {LOG}; then: "
            + check_line(case),
            subject=f"HTTP {seen.status}",
        )


@rule(
    "http.tls-port",
    stage="http.connect",
    needs=HttpConnectEvidence,
    reference="RFC 8446 section 5.1",
)
def tls_port(case: Case, seen: HttpConnectEvidence) -> Iterable[Fault]:
    """A plain HTTP request met a TLS port.

    The port answers with a TLS alert, or says "The plain HTTP request was sent to HTTPS port".
    Repair: use https://.
    """
    if seen.outcome == "tls-port":
        yield Fault(
            f"{case.target.address} does not take plain HTTP: {seen.detail}.",
            f"Port {case.target.effective_port} speaks TLS, and the device plain HTTP.",
            "Use TLS: " + check_line(case, scheme="https"),
            subject=case.target.address,
        )


@rule(
    "http.unauthorized",
    stage=_STAGE,
    needs=Target,
    reference=API,
    consequence_of=("token.malformed",),
)
def unauthorized(case: Case, target: Target) -> Iterable[Fault]:
    """The server does not know the token.

    ThingsBoard answers 401 when no device has this access token: it is mistyped, was replaced, or
    belongs to another installation. A device with X.509 or MQTT Basic credentials has none. 403
    means that the device was deleted. Repair: copy the token again.
    """
    for stage, seen in _of_kind(case, "unauthorized"):
        cause = "No device of this installation has this access token: it is mistyped, was "
        cause += "replaced, or is from another installation."
        if seen.status == 403:
            cause = "The device was deleted."
        yield Fault(
            f"{seen.method} {seen.url}: HTTP {seen.status}{said(seen.body)}.",
            cause,
            COPY_TOKEN + device_line(case),
            subject=f"HTTP {seen.status}",
            stage=stage,
        )


@rule("http.payload-rejected", stage=_STAGE, needs=Target, reference=f"{API}: Telemetry upload")
def payload_rejected(case: Case, target: Target) -> Iterable[Fault]:
    """The server could not use the payload.

    ThingsBoard wants a JSON object of keys and values, or an array of them; it answers 500 with the
    words of its JSON parser. Repair: send valid JSON.
    """
    for stage, seen in _of_kind(case, "payload-rejected"):
        yield Fault(
            f"{seen.method} of {seen.size} bytes: HTTP {seen.status}{said(seen.body)}.",
            f"The payload is not JSON as ThingsBoard wants it: {seen.json_error}.",
            "Send a JSON object: " + device_line(case),
            subject=f"HTTP {seen.status}",
            stage=stage,
        )


@rule("http.too-large", stage=_STAGE, needs=Target, reference="RFC 9110 section 15.5.14")
def too_large(case: Case, target: Target) -> Iterable[Fault]:
    """The server refuses the size of the request (413).

    ThingsBoard takes 50 MB on `/api/v1/`, a proxy before it often only 1 MB. Repair: split the
    message, or raise the limit.
    """
    for stage, seen in _of_kind(case, "too-large"):
        yield Fault(
            f"{seen.method} of {seen.size:,} bytes: HTTP 413{said(seen.body)}.",
            "The message is larger than the proxy or ThingsBoard takes.",
            "Split the message, or raise the limit (nginx: client_max_body_size); a small one for "
            f"comparison: {device_line(case)}",
            subject=f"{seen.size} bytes",
            stage=stage,
        )


@rule("http.no-response", stage=_STAGE, needs=Target, reference=API)
def no_response(case: Case, target: Target) -> Iterable[Fault]:
    """The device API took the request and did not answer it.

    ThingsBoard itself says 408 when its core did not answer its transport in time: the queue is
    stuck or overloaded. Repair: look at the server's queue.
    """
    for stage, seen in _of_kind(case, "no-response"):
        what = f"HTTP {seen.status}" if seen.status else f"no answer ({seen.detail})"
        yield Fault(
            f"{seen.method} {seen.url}: {what} after {seen.elapsed_ms / 1000:.1f} s.",
            "The HTTP transport answers, and the core behind it does not: its queue is stuck or "
            "overloaded, or the connection broke.",
            f"Look at the server's log and its queue: tail -50 {LOG}; then: {check_line(case)}",
            subject=seen.url,
            stage=stage,
        )


@rule("http.refused", stage=_STAGE, needs=Target, reference=API)
def refused(case: Case, target: Target) -> Iterable[Fault]:
    """The server refused the request for a reason of its own.

    ThingsBoard answers 500 when a rate limit or the API usage limit is exceeded, or when its queue
    fails, and says which in the body. The payload is valid JSON. Repair: by the reason.
    """
    for stage, seen in _of_kind(case, "refused"):
        cause = f"HTTP {seen.status} is none of the device API's own answers: a proxy or another "
        cause += "server sends it."
        if seen.status in (429, 500):
            cause = "A rate limit or the API usage limit is exceeded, or the server's queue fails."
        yield Fault(
            f"{seen.method} {seen.url}: HTTP {seen.status}{said(seen.body)}.",
            cause,
            "Look at the API usage page and the tenant profile's rate limits, and at the log: "
            f"tail -50 {LOG}; then: {check_line(case)}",
            subject=f"HTTP {seen.status}",
            stage=stage,
        )


@rule(
    "http.token-in-clear",
    stage="http.connect",
    needs=HttpConnectEvidence,
    severity=Severity.INFO,
    reference="RFC 9110 section 17.9",
)
def token_in_clear(case: Case, seen: HttpConnectEvidence) -> Iterable[Fault]:
    """The token travels in clear.

    http:// is not encrypted, and the token is part of the URL: everyone on the way can read it, and
    proxies write it into their logs. Repair: https://.
    """
    sent = case.get(HttpTelemetryEvidence) or case.get(HttpAttributesEvidence)
    if case.target.transport is Transport.HTTP and sent:
        yield Fault(
            f"The token went to {case.target.address} unencrypted, as part of the URL.",
            "http:// has no encryption: everyone on the way can read the token.",
            "Use https where the server offers it: "
            + check_line(case, scheme="https", port=Transport.HTTPS.default_port),
            subject=case.target.address,
        )
