"""The access token: how it looks, how it was given, and whether the server knows it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tbdiag.context import Case
from tbdiag.evidence import HttpTokenEvidence, MqttConnectEvidence
from tbdiag.evidence.devices import (
    CoapAttributesEvidence,
    CoapTelemetryEvidence,
    HttpAttributesEvidence,
    HttpTelemetryEvidence,
)
from tbdiag.model import Severity, Target
from tbdiag.registry import Fault, rule
from tbdiag.rules._device_words import credential_stage, device_line
from tbdiag.rules._mqtt_words import COPY_TOKEN, check_line, http_status, mosquitto_line
from tbdiag.rules.mqtt_connect import REFUSED_CREDENTIALS, refusal

_PLACEHOLDER = re.compile(
    r"[$%<{\[].*|(your|my|insert|replace|put|the)[ _-].*(token|key|here).*"
    r"|((tb|thingsboard|device|access|gateway)[ _-]?)*token|x{3,}|\*{3,}|\.{3}|…",
    re.IGNORECASE,
)
_QUOTES = "\"'`\u201c\u201d\u2018\u2019"
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")


def malformation(token: str) -> tuple[str, str] | None:
    """What is wrong with the text of a token, and why it came so; None when nothing is.

    The text itself is never part of the answer.
    """
    if _JWT.fullmatch(token.strip().removeprefix("Bearer ").strip()):
        return ("is a JWT", "It is a login token of the REST API (a user's), not a device's.")
    if token[:1] in _QUOTES or token[-1:] in _QUOTES:
        return ("has a quotation mark at its end", "The shell's or file's quotes came with it.")
    if _PLACEHOLDER.fullmatch(token.strip()):
        return ("is a placeholder", "It was copied from an example, or a variable was not set.")
    if any(c.isspace() for c in token):
        where = "inside" if token.strip() == token else "at its end"
        return (f"has white space {where}", "It was copied together with what stood beside it.")
    if not token.isprintable() or not token.isascii():
        return ("has characters that no token has", "It was copied from formatted text.")
    return None


@rule(
    "token.malformed",
    stage="mqtt.connect",
    needs=Target,
    reference="ThingsBoard, Access Token based authentication",
)
def malformed(case: Case, target: Target) -> Iterable[Fault]:
    """The token cannot be right: it is a placeholder, a JWT, or has spaces or quotes.

    A ThingsBoard access token is a short word of letters and digits, 20 of them when ThingsBoard
    made it up. `YOUR_ACCESS_TOKEN`, `$ACCESS_TOKEN` and the like are from examples; a text that
    begins with `eyJ` and has two dots is a user's login token for the REST API.
    """
    token = target.credentials.token
    wrong = malformation(token.reveal()) if token else None
    if wrong is None or _accepted(case):
        return
    yield Fault(
        f"The token {wrong[0]}.",
        wrong[1],
        COPY_TOKEN + device_line(case),
        subject="token",
        stage=credential_stage(target),
    )


def _accepted(case: Case) -> bool:
    """Whether the server took the token all the same."""
    connect = case.get(MqttConnectEvidence)
    asked = (
        case.get(HttpTelemetryEvidence),
        case.get(HttpAttributesEvidence),
        case.get(CoapTelemetryEvidence),
        case.get(CoapAttributesEvidence),
    )
    return bool(connect and connect.accepted) or any(seen and seen.accepted for seen in asked)


@rule(
    "token.in-arguments",
    stage="mqtt.connect",
    needs=Target,
    severity=Severity.INFO,
    reference="ThingsBoard, Access Token based authentication",
)
def in_arguments(case: Case, target: Target) -> Iterable[Fault]:
    """The token stands in the command line.

    Every user of the machine can read it in the process list, and the shell keeps it in its
    history. Repair: the environment variable TBDIAG_TOKEN or --token-file.
    """
    if target.credentials.token_source == "arguments":
        yield Fault(
            "The token was given in the command line.",
            "The process list and the shell's history show it to others.",
            "Read it without echo instead: "
            f"read -rs TBDIAG_TOKEN && export TBDIAG_TOKEN && {check_line(case)}",
            subject="token",
            stage=credential_stage(target),
        )


@rule(
    "token.unknown",
    stage="http.token",
    needs=HttpTokenEvidence,
    reference="ThingsBoard, HTTP Device API",
    consequence_of=("token.malformed",),
)
def unknown(case: Case, seen: HttpTokenEvidence) -> Iterable[Fault]:
    """The server does not know the token.

    `GET /api/v1/{token}/attributes` was answered with 401: no device here has this access token.
    A device with X.509 or MQTT Basic credentials has none. If MQTT accepts the token all the same,
    the HTTP address belongs to another installation, and this is only a warning.
    """
    if http_status(case) not in (401, 403):
        return
    connect = case.get(MqttConnectEvidence)
    accepted = connect is not None and connect.accepted
    cause = "No device of this installation has this access token: it is mistyped or was replaced."
    if seen.status == 403:
        cause = "The device was deleted."
    if accepted:
        cause = "MQTT accepts the token, so the HTTP address belongs to another installation."
    yield Fault(
        f"The HTTP API at {seen.base_url} refused the token: HTTP {seen.status}.",
        cause,
        "Give the address of the same installation: " + check_line(case, "--http-url", "https://…")
        if accepted
        else COPY_TOKEN + mosquitto_line(case),
        subject=seen.base_url,
        severity=Severity.WARNING if accepted else None,
    )


@rule(
    "token.other-installation",
    stage="mqtt.connect",
    needs=MqttConnectEvidence,
    reference="ThingsBoard, HTTP Device API and MQTT Device API",
)
def other_installation(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """The HTTP API knows the token, and MQTT does not: they are two installations.

    The host of the MQTT connection belongs to another ThingsBoard (Cloud and EU Cloud, a test
    server, an Edge) or to another broker. Repair: use the MQTT host of the installation that the
    token is from.
    """
    last = refusal(seen, REFUSED_CREDENTIALS)
    http = case.get(HttpTokenEvidence)
    if last is None or http is None or http_status(case) != 200 or seen.credentials != "token":
        return
    number = f"0x{last.code:02X}" if (last.code or 0) >= 0x80 else f"{last.code}"
    yield Fault(
        f"The HTTP API at {http.base_url} knows the token, but {case.target.address} refused it: "
        f"CONNACK {number} {last.code_name} (MQTT {last.version}).",
        f"{case.target.host} belongs to another installation than {http.base_url}.",
        "Use the MQTT host of that installation (device details → Check connectivity shows it); "
        "for example: tbdiag check thingsboard-cloud",
        subject=case.target.address,
    )
