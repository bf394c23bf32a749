"""What the HTTP side said, where it could not prove the token."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from tbdiag.context import Case
from tbdiag.evidence import HttpTokenEvidence
from tbdiag.model import Severity
from tbdiag.registry import Fault, rule
from tbdiag.rules._mqtt_words import check_line


@rule(
    "http.not-thingsboard",
    stage="http.token",
    needs=HttpTokenEvidence,
    severity=Severity.WARNING,
    reference="ThingsBoard, HTTP Device API",
)
def not_thingsboard(case: Case, seen: HttpTokenEvidence) -> Iterable[Fault]:
    """The HTTP address is not that of a ThingsBoard.

    ThingsBoard answers `GET /api/v1/{token}/attributes` with JSON (200) or nothing (401). A web
    page, a redirect or 404 comes from something else: a proxy, a wrong path, another site. The
    token was not proven; MQTT is checked without it. Repair: give the address of the web interface.
    """
    if seen.error == "not-thingsboard":
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
    needs=HttpTokenEvidence,
    severity=Severity.WARNING,
    reference="ThingsBoard, HTTP Device API",
)
def unreachable(case: Case, seen: HttpTokenEvidence) -> Iterable[Fault]:
    """The HTTP address could not be asked.

    It did not answer, answered with an error of its own, or its certificate is trusted neither by
    the CA file nor by the public roots: the token was not sent then. MQTT is checked without it.
    """
    if seen.error not in ("unreachable", "timeout", "tls"):
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
