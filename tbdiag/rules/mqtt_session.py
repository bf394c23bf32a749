"""No CONNACK at all, and sessions that end without regard to what was sent."""

from __future__ import annotations

from collections.abc import Iterable

from tbdiag.context import Case
from tbdiag.evidence import (
    NOT_MQTT,
    AttributesEvidence,
    HandshakeEvidence,
    MqttConnectEvidence,
    PublishEvidence,
)
from tbdiag.model import Severity, Target
from tbdiag.registry import Fault, rule
from tbdiag.rules._mqtt_words import CONNACK_REFERENCE, check_line, connack
from tbdiag.rules.mqtt_connect import QUOTA, refusal

TAKEN_OVER = 0x8E
_STAGE = "mqtt.connect"
_ENDS = {
    0x89: "The server is busy.",
    0x8B: "The server is shutting down.",
    0x8D: "The server heard nothing within the keep alive time.",
    0x98: "The device's credentials were changed, or the device was deleted.",
    0xA0: "The session was inactive for too long.",
}
_GREETINGS = {
    b"HTTP": "An HTTP server",
    b"SSH-": "An SSH server",
    b"220 ": "A mail or FTP server",
    b"AMQP": "An AMQP broker",
    b"-ERR": "A Redis or POP3 server",
}


@rule("mqtt.no-connack", stage=_STAGE, needs=MqttConnectEvidence, reference=CONNACK_REFERENCE)
def no_connack(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """CONNECT was sent, the connection stands, and no CONNACK came.

    The port is open, but what listens there does not speak MQTT, is overloaded, or a proxy in
    between accepted the connection without passing it on. Repair: see whether the server's MQTT
    transport runs, and whether the port is the one of MQTT.
    """
    if seen.last.outcome != "no-connack":
        return
    waited = seen.last.elapsed_ms / 1000
    yield Fault(
        f"No CONNACK within {waited:.1f} s of CONNECT; the connection stayed open.",
        "The MQTT transport behind this port is stuck or overloaded, a proxy in between does not "
        "pass the connection on, or another service listens there.",
        "Look at the server's log for MqttTransportHandler, restart its MQTT transport, then: "
        + check_line(case),
        subject=case.target.address,
    )


@rule(
    "mqtt.closed-before-connack",
    stage=_STAGE,
    needs=MqttConnectEvidence,
    reference="MQTT 5.0 section 3.1.4, MQTT 3.1.1 section 3.1.4",
)
def closed_before_connack(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """The connection ended before CONNACK.

    ThingsBoard closes without an answer when the address is blocked after failed logins
    (TB_TRANSPORT_IP_RATE_LIMITS_ENABLED), when CONNECT does not decode (a proxy that sends the
    PROXY header to a listener without it, or the opposite), or when a load balancer limits the
    connections of one address. A listener that insists on a client certificate may do it too, and
    so does ThingsBoard before 3.5 to MQTT 5. Closing and resetting mean the same here.
    """
    last = seen.last
    if last.outcome not in ("closed", "tcp-failed", "tls-failed"):
        return
    if last.outcome == "closed":
        tried = " and ".join(f"MQTT {a.version}" for a in seen.attempts)
        message = f"The server ended the connection before CONNACK ({tried}): {last.detail}."
    else:
        message = f"The connection for MQTT, opened after the first, failed: {last.detail}."
    cause = (
        "The server or a proxy drops this client: its address is blocked after failed logins or "
        "has too many connections, or the PROXY protocol is set on one side only."
    )
    fix = "Wait a minute and repeat; else look at the server's log for this address "
    fix += f"(Message decoding failed, blocked): {check_line(case)}"
    if last.outcome == "closed" and case.options.mqtt_version == "5":
        cause = "A server that does not speak MQTT 5 closes on it: ThingsBoard does since 3.5."
        fix = "Let tbdiag try both versions: " + check_line(case)
    if wanted := _certificate_wanted(case, last.detail):
        cause = wanted
        fix = "Give the device's certificate and key: "
        fix += check_line(case, "--cert", "device.pem", "--key", "device.key")
    yield Fault(message, cause, fix, subject=case.target.address)


def _certificate_wanted(case: Case, detail: str) -> str | None:
    """Why the client certificate that was not sent is the cause; None when it is not.

    ThingsBoard's own listener always asks, naming its own certificate, and does not insist. Who
    names certification authorities, or nobody, may insist: in TLS 1.3 after the handshake.
    """
    tls = case.get(HandshakeEvidence)
    if tls is None or not tls.certificate_requested or tls.client_certificate_sent:
        return None
    said = "certificate required" in detail
    own = tls.certificate_list[0].subject if tls.certificate_list else ""
    if not said and tls.certificate_request_names == (own,):
        return None
    names = ", ".join(tls.certificate_request_names[:3])
    issued = f" issued by {names}" if names else ""
    return (
        f"The server asked for a client certificate{issued} in the TLS handshake and got none, and "
        "a TLS 1.3 server refuses that only afterwards."
    )


@rule("mqtt.not-mqtt", stage=_STAGE, needs=MqttConnectEvidence, reference="MQTT 5.0 section 3.2")
def not_mqtt(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """What answered CONNECT is not MQTT.

    The first bytes show what listens there: HTTP, SSH, a mail server. Repair: use the port of the
    MQTT transport, 8883 with TLS or 1883 without.
    """
    last, ended = seen.last, _end(case)
    if ended and ended[0].startswith(NOT_MQTT):
        yield _not_mqtt_later(case, ended[0])
    if last.outcome != "not-mqtt":
        return
    what = _GREETINGS.get(last.first_bytes[:4], "Another service")
    shown = last.first_bytes[:16].hex(" ")
    yield Fault(
        f"CONNECT was answered with bytes that are not MQTT: {shown} ({last.detail}).",
        f"{what} listens on {case.target.address}.",
        "Use the port of the MQTT transport: "
        + check_line(case, port=8883 if case.target.transport.encrypted else 1883),
        subject=case.target.address,
    )


def _not_mqtt_later(case: Case, detail: str) -> Fault:
    return Fault(
        f"The server accepted the session, and then sent what no MQTT server sends: {detail}.",
        f"What listens on {case.target.address} only imitates an MQTT server, or is broken.",
        "Use the port of the MQTT transport, or look at the proxy in front of it: "
        + check_line(case),
        subject=case.target.address,
    )


@rule("mqtt.tls-port", stage=_STAGE, needs=MqttConnectEvidence, reference="RFC 8446 section 5.1")
def tls_port(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """A plain client met a TLS port.

    The server answered CONNECT with a TLS record (first byte 0x15, an alert). Its log says
    `NotSslRecordException: not an SSL/TLS record`. Repair: speak TLS on this port, or use the
    plain one (1883).
    """
    last = seen.last
    if last.outcome == "tls-port":
        record = f" ({last.first_bytes[:7].hex(' ')})" if last.first_bytes else ""
        yield Fault(
            f"CONNECT in plain MQTT got no CONNACK: {last.detail}{record}.",
            f"{case.target.address} speaks TLS, and the client plain MQTT.",
            "Use TLS: " + check_line(case, scheme="mqtts"),
            subject=case.target.address,
        )


@rule("mqtt.quota-exceeded", stage=_STAGE, needs=MqttConnectEvidence, reference=CONNACK_REFERENCE)
def quota_exceeded(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """A rate limit or quota of the server is exceeded.

    ThingsBoard 3.7 and later answers CONNECT with 0x9F when the message rate limit of device or
    tenant is used up or its API usage is disabled (older ones: 3 or 0x88); 0x97 is the general
    word of brokers. Repair: send less often, or raise the limit in the tenant profile.
    """
    fix = (
        "Send less often, or raise the limit (System settings → Tenant profiles → Rate limits) and "
        f"look at the API usage page; then: {check_line(case)}"
    )
    last = refusal(seen, QUOTA)
    if last:
        cause = "The tenant's or device's rate limit or API usage limit is used up."
        yield Fault(connack(last), cause, fix, subject=f"0x{last.code or 0:02X}")
    published = case.get(PublishEvidence)
    first = published.first if published else None
    if first and QUOTA.intersection((first.code, first.disconnect_code)) - {0x95}:
        code = first.code if first.code in QUOTA else first.disconnect_code or 0
        yield Fault(
            f"The server refused the test message: Reason Code 0x{code:02X}.",
            "The tenant's or device's rate limit or API usage limit is used up.",
            fix,
            subject=f"0x{code:02X}",
        )


def _end(case: Case) -> tuple[str, int | None] | None:
    """How the server ended a session that gave no reason for it: in words, and DISCONNECT's code.

    None when no session ended, or when what was sent explains it.
    """
    connect, published = case.get(MqttConnectEvidence), case.get(PublishEvidence)
    asked = case.get(AttributesEvidence)
    if connect and connect.disconnected_after is not None:
        return connect.disconnected_after, connect.disconnect_code
    first = published.first if published else None
    by_request = asked is not None and asked.outcome == "closed"
    broken = first is not None and first.detail.startswith(NOT_MQTT)
    if published and first and first.outcome == "closed" and (published.unprovoked or broken):
        if not broken and by_request and first.disconnect_code != TAKEN_OVER:
            return None
        return first.detail, first.disconnect_code
    if asked and asked.disconnect_code is not None:
        return asked.detail, asked.disconnect_code
    return None


def _severity(case: Case) -> Severity:
    published = case.get(PublishEvidence)
    return Severity.WARNING if published and published.delivered else Severity.ERROR


@rule(
    "mqtt.session-takeover",
    stage=_STAGE,
    needs=Target,
    reference="MQTT 5.0 section 3.14.2.1 (0x8E); ThingsBoard, "
    "ACTORS_MAX_CONCURRENT_SESSION_PER_DEVICE",
)
def session_takeover(case: Case, target: Target) -> Iterable[Fault]:
    """Another client with the same credentials took the session over.

    ThingsBoard keeps one session per device by default, whatever the Client Identifier: the newer
    closes the older, with DISCONNECT 0x8E in MQTT 5 and a bare close in 3.1.1. Two programs with
    one token therefore disconnect each other for ever. Repair: one token for each client.
    """
    ended = _end(case)
    if ended and ended[1] in (TAKEN_OVER, None) and not ended[0].startswith(NOT_MQTT):
        yield Fault(
            f"The server ended the session soon after it had accepted it: {ended[0]}.",
            "Another client uses the same token: ThingsBoard keeps one session per device, and the "
            "newer closes the older.",
            "Stop the other client (the device itself, a gateway, a test program) or give each its "
            "own token; to check beside a live device: " + check_line(case, "--no-connect"),
            subject=target.address,
            severity=_severity(case),
        )


@rule(
    "mqtt.disconnected",
    stage=_STAGE,
    needs=Target,
    reference="MQTT 5.0 section 3.14.2.1",
)
def disconnected(case: Case, target: Target) -> Iterable[Fault]:
    """The server ended the session right after it had accepted it.

    The Reason Code of its DISCONNECT names why: 0x98 credentials changed or device deleted, 0x8B
    shutting down, 0xA0 inactive for too long. Repair: by the reason.
    """
    ended = _end(case)
    if ended is None or ended[1] in (TAKEN_OVER, None):
        return
    yield Fault(
        f"The server ended the session soon after it had accepted it: {ended[0]}.",
        _ENDS.get(ended[1] or 0, "The server does not want to keep this session."),
        "Check the device's credentials and the server's state, then: " + check_line(case),
        subject=f"0x{ended[1] or 0:02X}",
        severity=_severity(case),
    )
