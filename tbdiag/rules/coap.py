"""What became of a CoAP device's requests: response codes, and silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tbdiag.context import Case
from tbdiag.evidence import HandshakeEvidence
from tbdiag.evidence.devices import (
    CoapAttributesEvidence,
    CoapConnectEvidence,
    CoapExchange,
    CoapTelemetryEvidence,
)
from tbdiag.model import Severity, Target, Transport
from tbdiag.registry import Fault, rule
from tbdiag.rules._device_words import device_line, said
from tbdiag.rules._handshake import fault_of
from tbdiag.rules._mqtt_words import COPY_TOKEN, check_line

API = "ThingsBoard, CoAP Device API"
_STAGE = "coap.telemetry"
_DTLS = "COAP_ENABLED=true, COAP_DTLS_ENABLED=true, COAP_DTLS_PEM_CERT and COAP_DTLS_PEM_KEY"
_CONF = "/etc/thingsboard/conf/thingsboard.conf"
_KINDS = {
    "4.00": "bad-request",
    "4.01": "unauthorized",
    "4.03": "unauthorized",
    "4.13": "too-large",
    "5.00": "refused",
    "5.03": "refused",
    "4.29": "refused",
}


def exchanges(case: Case) -> Iterator[tuple[str, CoapExchange]]:
    """The requests that were not accepted, with their stages."""
    telemetry, attributes = case.get(CoapTelemetryEvidence), case.get(CoapAttributesEvidence)
    for stage, seen in (("coap.telemetry", telemetry), ("coap.attributes", attributes)):
        if seen is not None and not seen.accepted:
            yield stage, seen


def kind_of(seen: CoapExchange) -> str:
    """Which one rule explains a request that was not accepted."""
    if seen.code is not None:
        return _KINDS.get(seen.code, "not-thingsboard")
    if seen.outcome in ("not-coap", "reset"):
        return "not-thingsboard"
    return "too-large" if seen.outcome == "too-large" else "no-response"


def _of_kind(case: Case, kind: str) -> Iterator[tuple[str, CoapExchange]]:
    return ((stage, seen) for stage, seen in exchanges(case) if kind_of(seen) == kind)


def _line(stage: str, seen: CoapExchange) -> str:
    answer = f"response {seen.code}{said(seen.payload)}" if seen.code else seen.outcome
    return f"{seen.method} {seen.path}: {answer}."


@rule(
    "coap.plaintext-port",
    stage="tls.handshake",
    needs=HandshakeEvidence,
    reference="RFC 7252 section 9",
)
def plaintext_port(case: Case, tls: HandshakeEvidence) -> Iterable[Fault]:
    """The port speaks plain CoAP, not DTLS.

    A plain CoAP server passes a ClientHello over in silence. The proof is that it answers a CoAP
    ping, which holds no token. Repair: switch DTLS on, or use coap:// and accept that the token
    travels in clear.
    """
    if fault_of(tls) == "coap.plaintext-port":
        yield Fault(
            f"{case.target.address} passed over ClientHello and answered a plain CoAP ping.",
            f"Port {case.target.effective_port} is a plain CoAP listener: DTLS is not switched on "
            "there.",
            f"On the server set {_DTLS} in {_CONF}, then: sudo systemctl restart thingsboard. If "
            "the token may travel in clear: " + check_line(case, scheme="coap"),
            subject=case.target.address,
        )


@rule(
    "coap.no-response",
    stage="coap.connect",
    needs=Target,
    reference="RFC 7252 section 4.2",
)
def no_response(case: Case, target: Target) -> Iterable[Fault]:
    """No answer to CoAP messages, or to the ClientHello of DTLS.

    UDP has no connection: silence is a closed port, a firewall that drops UDP, or a wrong address.
    ThingsBoard's CoAP transport listens on UDP 5683, and with COAP_DTLS_ENABLED=true (it is not by
    default) on 5684. A ping that is answered, and a request that is not, mean a stuck server.
    """
    yield from _no_dtls(case)
    seen = case.get(CoapConnectEvidence)
    if seen and seen.outcome in ("silent", "refused", "acknowledged"):
        yield _unanswered(case, seen.outcome, seen.detail, f"{seen.transmissions} CoAP pings", None)
    for stage, asked in _of_kind(case, "no-response"):
        yield Fault(
            f"{asked.method} {asked.path}: {_silence(asked)} within {asked.elapsed_ms / 1000:.1f} "
            "s, although the server had answered a ping.",
            "The CoAP transport runs, and the core behind it does not answer: its queue is stuck, "
            "or packets get lost on the way.",
            "Look at the server's log (grep -i coap /var/log/thingsboard/thingsboard.log | tail), "
            "then: " + check_line(case),
            subject=case.target.address,
            stage=stage,
        )


def _silence(seen: CoapExchange) -> str:
    if seen.outcome == "refused":
        return f"refused ({seen.detail})"
    if seen.outcome == "acknowledged":
        return "acknowledged, but no response"
    return f"no response to {seen.transmissions} transmissions"


def _no_dtls(case: Case) -> Iterator[Fault]:
    tls = case.get(HandshakeEvidence)
    if tls is not None and fault_of(tls) == "coap.no-response":
        yield _unanswered(case, tls.outcome, tls.detail, "the DTLS ClientHello", "tls.handshake")


def _unanswered(case: Case, outcome: str, detail: str, what: str, stage: str | None) -> Fault:
    target = case.target
    setting = _DTLS if target.transport.encrypted else "COAP_ENABLED=true"
    if outcome == "refused":
        message = f"{target.address} refused {what}: {detail}."
        cause = f"Nothing listens on UDP port {target.effective_port} of this host."
        if target.transport.encrypted:
            cause += " ThingsBoard's COAP_DTLS_ENABLED is false unless set."
    else:
        message = f"No answer from {target.address} to {what} ({detail or 'silence'})."
        cause = f"A firewall drops UDP {target.effective_port}, the address is wrong, or nothing "
        cause += "listens there."
    return Fault(
        message,
        cause,
        f"On the server set {setting} in {_CONF} and open UDP {target.effective_port} in the "
        f"firewall and in Docker's port list ({target.effective_port}/udp); then: "
        + check_line(case),
        subject=target.address,
        stage=stage,
    )


@rule(
    "coap.not-thingsboard",
    stage="coap.connect",
    needs=Target,
    reference=API,
)
def not_thingsboard(case: Case, target: Target) -> Iterable[Fault]:
    """What answers is not ThingsBoard's CoAP transport.

    Bytes that are no CoAP message, 4.04 and 4.05 for the device API's paths, or RST come from
    another server. Repair: use the host and UDP port of ThingsBoard's CoAP transport.
    """
    fix = "Use the host and port of ThingsBoard's CoAP transport, for example: tbdiag check "
    fix += f"{target.transport}://coap.thingsboard.cloud"
    cause = "Another server listens on this UDP port."
    seen = case.get(CoapConnectEvidence)
    if seen and seen.outcome == "not-coap":
        yield Fault(
            f"{target.address} answered a CoAP ping with {seen.first_bytes[:16]!r}, which is not "
            "CoAP.",
            cause,
            fix,
            subject=target.address,
        )
    for stage, asked in _of_kind(case, "not-thingsboard"):
        yield Fault(_line(stage, asked), cause, fix, subject=asked.code or "", stage=stage)


@rule(
    "coap.unauthorized",
    stage=_STAGE,
    needs=Target,
    reference=API,
    consequence_of=("token.malformed",),
)
def unauthorized(case: Case, target: Target) -> Iterable[Fault]:
    """The server does not know the device (4.01).

    No device of this installation has this access token, or this client certificate. Repair: copy
    the token again; an X.509 device has its certificate registered as its credentials.
    """
    for stage, seen in _of_kind(case, "unauthorized"):
        what = "access token" if target.credentials.token else "client certificate"
        fix = COPY_TOKEN + device_line(case)
        if not target.credentials.token:
            fix = "Paste the certificate into the device's X.509 credentials (Devices → the device "
            fix += "→ Manage credentials), then: " + check_line(case)
        yield Fault(
            _line(stage, seen),
            f"No device of this installation has this {what}.",
            fix,
            subject=seen.code or "",
            stage=stage,
        )


@rule("coap.bad-request", stage=_STAGE, needs=Target, reference=API)
def bad_request(case: Case, target: Target) -> Iterable[Fault]:
    """The server could not use the request (4.00).

    ThingsBoard wants a JSON object of keys and values, or an array of them, unless the device
    profile says Protobuf. It answers 4.00 to anything else, and to a path it does not know.
    """
    for stage, seen in _of_kind(case, "bad-request"):
        cause = "The payload is JSON, so the device profile expects another one (Protobuf), or the "
        cause += "path is wrong."
        if seen.json_error:
            cause = f"The payload is not JSON as ThingsBoard wants it: {seen.json_error}."
        yield Fault(
            _line(stage, seen),
            cause,
            "Send a JSON object: " + device_line(case),
            subject=seen.code or "",
            stage=stage,
        )


@rule("coap.refused", stage=_STAGE, needs=Target, reference=API)
def refused(case: Case, target: Target) -> Iterable[Fault]:
    """The server knows the device and does not serve it over CoAP (5.00).

    The device profile belongs to another transport (MQTT, LwM2M), or a rate limit or the API usage
    limit is exceeded. Repair: set the profile's transport type to Default or CoAP.
    """
    for stage, seen in _of_kind(case, "refused"):
        yield Fault(
            _line(stage, seen),
            "The device profile's transport type is neither Default nor CoAP, or a limit of the "
            "tenant is exceeded.",
            "Set it (Device profiles → the profile → Transport configuration → Default or CoAP), "
            "or look at the API usage page; then: " + check_line(case),
            subject=seen.code or "",
            stage=stage,
        )


@rule("coap.too-large", stage=_STAGE, needs=Target, reference="RFC 7252 section 5.9.2.9, RFC 7959")
def too_large(case: Case, target: Target) -> Iterable[Fault]:
    """The message is too large for one datagram (4.13).

    ThingsBoard takes 1,024 bytes at once, larger messages block by block (RFC 7959), which tbdiag
    does not do. Repair: a smaller message.
    """
    for stage, seen in _of_kind(case, "too-large"):
        yield Fault(
            f"{seen.method} of {seen.size:,} bytes: {seen.code or seen.detail}.",
            "The message does not fit into one CoAP message.",
            "Send less at once: " + device_line(case),
            subject=f"{seen.size} bytes",
            stage=stage,
        )


@rule(
    "coap.token-in-clear",
    stage="coap.connect",
    needs=CoapConnectEvidence,
    severity=Severity.INFO,
    reference="RFC 7252 section 11",
)
def token_in_clear(case: Case, seen: CoapConnectEvidence) -> Iterable[Fault]:
    """The token travels in clear.

    coap:// is not encrypted, and the token is part of the path: everyone on the way can read it.
    Repair: coaps://, with DTLS switched on at the server.
    """
    sent = case.get(CoapTelemetryEvidence) or case.get(CoapAttributesEvidence)
    if case.target.transport is Transport.COAP and case.target.credentials.token and sent:
        yield Fault(
            f"The token went to {case.target.address} unencrypted, as part of the path.",
            "coap:// has no encryption: everyone on the way can read the token.",
            "Use coaps where the server offers it: "
            + check_line(case, scheme="coaps", port=Transport.COAPS.default_port),
            subject=case.target.address,
        )
