"""What the HTTP side said, where it could not prove the token."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from tbdiag.context import Case
from tbdiag.evidence import HttpTokenEvidence
from tbdiag.evidence.devices import HttpConnectEvidence
from tbdiag.model import Severity, Target
from tbdiag.registry import Fault, rule
from tbdiag.rules._mqtt_words import check_line


@rule(
    "http.not-thingsboard",
    stage="http.token",
    needs=Target,
    severity=Severity.WARNING,
    reference="ThingsBoard, HTTP Device API",
)
def not_thingsboard(case: Case, target: Target) -> Iterable[Fault]:
    """The HTTP address is not that of a ThingsBoard.

    ThingsBoard answers `GET /api/v1/{token}/attributes` with JSON (200) or nothing (401). A web
    page, a redirect or 404 comes from something else: a proxy, a wrong path, another site. The
    token was not proven; MQTT is checked without it. For an HTTP device it is an error, and the
    token is not sent there. Repair: give the address of the web interface.
    """
    yield from _no_device_api(case)
    seen = case.get(HttpTokenEvidence)
    if seen and seen.error == "not-thingsboard":
        yield Fault(
            f"{seen.base_url} does not answer as ThingsBoard: {seen.detail}.",
            "The address belongs to another web server, or ThingsBoard is under another path.",
            "Give the address that its web interface has: "
            + check_line(case, "--http-url", "https://thingsboard.example.com"),
            subject=seen.base_url,
        )


@rule(
    "http.unreachable",
    stage="http.token",
    needs=Target,
    severity=Severity.WARNING,
    reference="ThingsBoard, HTTP Device API",
)
def unreachable(case: Case, target: Target) -> Iterable[Fault]:
    """The HTTP address could not be asked.

    It did not answer, answered with an error of its own, or its certificate is trusted neither by
    the CA file nor by the public roots: the token was not sent then. MQTT is checked without it.
    For an HTTP device it is an error.
    """
    yield from _no_answer(case)
    seen = case.get(HttpTokenEvidence)
    if seen is None or seen.error not in ("unreachable", "timeout", "tls"):
        return
    cause = "The server does not answer on this address, or refuses for now."
    if seen.error == "tls":
        cause = f"The certificate was not accepted with the {seen.verified_by or 'anchors'}."
    yield Fault(
        f"The token could not be proven at {seen.base_url}: {seen.detail}.",
        cause,
        "Try it: " + shlex.join(["curl", "-sSI", seen.base_url]),
        subject=seen.base_url,
    )


def _no_device_api(case: Case) -> Iterable[Fault]:
    """The same for an HTTP device, which has nothing else to speak to."""
    seen = case.get(HttpConnectEvidence)
    if seen is None or seen.outcome not in ("not-thingsboard", "not-http"):
        return
    what = f" ({seen.server})" if seen.server else ""
    yield Fault(
        f"{seen.base_url} does not answer as ThingsBoard's device API: {seen.detail}{what}.",
        "The address belongs to another server, or the proxy does not pass /api/v1/ on.",
        "Give the address that ThingsBoard's web interface has, or let the proxy pass /api/v1/ on; "
        "right is an answer of 401 without a page to: "
        + shlex.join(["curl", "-i", f"{seen.base_url}/api/v1/none/attributes"]),
        subject=seen.base_url,
        severity=Severity.ERROR,
        stage="http.connect",
    )


def _no_answer(case: Case) -> Iterable[Fault]:
    seen = case.get(HttpConnectEvidence)
    if seen is None or seen.outcome not in ("unreachable", "timeout", "tls"):
        return
    cause = "The port accepts connections, and no HTTP server answers behind it."
    if seen.outcome == "tls":
        cause = "The second TLS connection, over which the token was to go, was not accepted."
    yield Fault(
        f"{seen.base_url} gave no HTTP answer: {seen.detail}.",
        cause,
        "Try it: " + shlex.join(["curl", "-sSI", seen.base_url]),
        subject=seen.base_url,
        severity=Severity.ERROR,
        stage="http.connect",
    )
