"""Sentences and commands that the MQTT, token and HTTP rules share."""

from __future__ import annotations

import shlex

from tbdiag.context import Case
from tbdiag.evidence import CaEvidence, ConnackAttempt, HttpTokenEvidence, PublishAttempt
from tbdiag.model import TELEMETRY_PAYLOAD, TELEMETRY_TOPIC, bracketed

CONNACK_REFERENCE = "MQTT 5.0 section 3.2.2.2, MQTT 3.1.1 section 3.2.2.3"
PUBACK_REFERENCE = "MQTT 5.0 section 3.4.2.1"
COPY_TOKEN = (
    "Copy the token again (ThingsBoard: Entities → Devices → the device → Copy access token) "
    "into TBDIAG_TOKEN and try it: "
)


def connack(attempt: ConnackAttempt) -> str:
    """`CONNACK 0x86 Bad User Name or Password (MQTT 5)`, with the server's own words if any."""
    code = attempt.code or 0
    number = f"0x{code:02X}" if code >= 0x80 else str(code)
    word = "Reason Code" if code >= 0x80 else "Return code"
    said = f', and said "{attempt.reason_string}"' if attempt.reason_string else ""
    return (
        f"The server refused the connection: CONNACK {word} {number} {attempt.code_name} "
        f"(MQTT {attempt.version}){said}."
    )


def answer(attempt: PublishAttempt) -> str:
    """What answered a PUBLISH, as the end of a sentence."""
    said = f' ("{attempt.reason_string}")' if attempt.reason_string else ""
    if attempt.code is not None:
        return f"PUBACK Reason Code 0x{attempt.code:02X} {attempt.code_name}{said}"
    if attempt.outcome == "closed":
        return attempt.detail or "the server closed the connection"
    return "no PUBACK" if attempt.outcome == "no-puback" else "PUBACK"


def check_line(case: Case, *more: str, scheme: str | None = None, port: int | None = None) -> str:
    """The `tbdiag check` command for this target, for the shell; it holds no secret."""
    target = case.target
    host = bracketed(target.host)
    url = f"{scheme or target.transport}://{host}:{port or target.effective_port}"
    return shlex.join(["tbdiag", "check", url, *more])


def mosquitto_line(
    case: Case, topic: str = TELEMETRY_TOPIC, payload: bytes = TELEMETRY_PAYLOAD
) -> str:
    """The mosquitto_pub command of this device, with the token left to the shell."""
    target = case.target
    words = ["mosquitto_pub", "-d", "-q", "1", "-h", target.host, "-p", str(target.effective_port)]
    words += _trust(case) if target.transport.encrypted else []
    words += ["-t", topic, "-m", payload.decode("utf-8", "replace")]
    return f'{shlex.join(words)} -u "$TBDIAG_TOKEN"'


def _trust(case: Case) -> list[str]:
    ca = case.get(CaEvidence)
    source = ca.sources[0] if ca and ca.sources else None
    if source is None or source.origin == "public":
        return ["--capath", "/etc/ssl/certs"]
    return ["--cafile", source.location if source.origin == "file" else "ca-root.pem"]


def http_status(case: Case) -> int | None:
    """What ThingsBoard's HTTP API said about the token: 200 known, 401 unknown; None: nothing."""
    seen = case.get(HttpTokenEvidence)
    return seen.status if seen and seen.error is None else None
