"""Commands that the rules about HTTP and CoAP devices share; the token is left to the shell."""

from __future__ import annotations

import shlex

from tbdiag.context import Case
from tbdiag.evidence import CaEvidence
from tbdiag.model import TELEMETRY_PAYLOAD, Target, Transport, bracketed
from tbdiag.rules._mqtt_words import mosquitto_line

PUBLIC = "/etc/ssl/certs/ca-certificates.crt"


def origin(target: Target, scheme: str | None = None) -> str:
    """`https://host:port`, the default port of the transport left out."""
    host = bracketed(target.host)
    plain = scheme in (None, target.transport)
    default = target.effective_port == target.transport.default_port
    port = "" if default and plain else f":{target.effective_port}"
    return f"{scheme or target.transport}://{host}{port}"


def device_line(case: Case, payload: bytes = TELEMETRY_PAYLOAD) -> str:
    """The command of a device of this transport: mosquitto_pub, curl or coap-client."""
    if case.target.transport in (Transport.MQTTS, Transport.MQTT):
        return mosquitto_line(case, payload=payload)
    text = shlex.quote(payload.decode("utf-8", "replace"))
    url = f"{shlex.quote(origin(case.target))}/api/v1/$TBDIAG_TOKEN/telemetry"
    if case.target.transport in (Transport.HTTPS, Transport.HTTP):
        trust = f"--cacert {_anchors(case)} " if case.target.transport.encrypted else ""
        json = "--header Content-Type:application/json"
        return f"curl -v -X POST {trust}{url} {json} --data {text}"
    trust = f"-R {_anchors(case)} " if case.target.transport.encrypted else ""
    return f"coap-client-openssl -v 6 -m POST {trust}-t application/json -e {text} {url}"


def _anchors(case: Case) -> str:
    ca = case.get(CaEvidence)
    source = ca.sources[0] if ca and ca.sources else None
    if source is None or source.origin == "public":
        return PUBLIC
    return shlex.quote(source.location if source.origin == "file" else "ca-root.pem")


def said(text: str) -> str:
    """The server's own words as the end of a sentence; empty when it had none."""
    words = " ".join(text.split())[:200]
    return f', and said "{words}"' if words else ""


def credential_stage(target: Target) -> str:
    """The stage in which this transport's device first shows its token."""
    stages = {"https": "http.telemetry", "http": "http.telemetry"}
    stages |= {"coaps": "coap.telemetry", "coap": "coap.telemetry"}
    return stages.get(target.transport.value, "mqtt.connect")
