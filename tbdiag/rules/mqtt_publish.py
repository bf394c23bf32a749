"""What became of the test message and of the attribute request, told truthfully."""

from __future__ import annotations

from collections.abc import Iterable

from tbdiag.context import Case
from tbdiag.evidence import AttributesEvidence, MqttConnectEvidence, PublishAttempt, PublishEvidence
from tbdiag.model import TELEMETRY_TOPIC, Severity
from tbdiag.registry import Fault, rule
from tbdiag.rules._mqtt_words import PUBACK_REFERENCE, answer, check_line, mosquitto_line

PROBE_TOPIC = "v2/t/j"
GATEWAY_TOPIC = "v1/gateway/"
LARGEST = 65536
"""ThingsBoard's default limit of a packet in bytes (NETTY_MAX_PAYLOAD_SIZE)."""
NO_MATCHING_SUBSCRIBERS = 0x10
_KINDS = {
    0x87: "topic",
    0x8F: "topic",
    0x90: "topic",
    0x95: "too-large",
    0x99: "payload",
}
_STAGE = "mqtt.publish"
_ENDED = (
    "mqtt.session-takeover",
    "mqtt.disconnected",
    "mqtt.provision-session",
    "mqtt.not-mqtt",
)


def kind_of_failure(case: Case, seen: PublishEvidence) -> str:
    """One word for why the message was not taken, so that exactly one rule speaks; empty if it was.

    `topic`, `payload`, `too-large`, `no-puback`, `closed` or `refused`.
    """
    first = seen.first
    if seen.delivered or first.outcome == "sent":
        return ""
    if first.outcome == "no-puback":
        return "no-puback"
    if first.outcome == "refused":
        return _KINDS.get(first.code or 0, "refused")
    if seen.unprovoked:
        return "closed"
    if _too_large(case, first):
        return "too-large"
    if first.disconnect_code in _KINDS:
        return _KINDS[first.disconnect_code]
    return "payload" if _probe_taken(seen) or seen.json_error else "closed"


def _too_large(case: Case, first: PublishAttempt) -> bool:
    connect = case.get(MqttConnectEvidence)
    stated = connect.last.properties.get("maximum_packet_size", "") if connect else ""
    limit = int(stated) if stated.isdigit() else LARGEST
    return first.size + len(first.topic.encode()) + 5 > limit


def _probe_taken(seen: PublishEvidence) -> bool:
    """Whether `v2/t/j` took what the topic asked for did not."""
    return any(a.topic == PROBE_TOPIC and a.outcome == "acknowledged" for a in seen.attempts[1:])


@rule(
    "mqtt.publish-topic-rejected",
    stage=_STAGE,
    needs=PublishEvidence,
    reference=PUBACK_REFERENCE,
    consequence_of=_ENDED,
)
def topic_rejected(case: Case, seen: PublishEvidence) -> Iterable[Fault]:
    """The server refused the Topic Name.

    ThingsBoard answers 0x90 in MQTT 5 when the topic is none of its own and not the telemetry or
    attributes topic of the device profile. In 3.1.1 it acknowledges the message and drops it, so
    that telemetry is lost in silence. If `v2/t/j` takes the same message, the device profile has
    topics of its own. Repair: publish to the profile's topic, or to `v2/t/j`.
    """
    if kind_of_failure(case, seen) != "topic":
        return
    first = seen.first
    if _probe_taken(seen) and first.topic == TELEMETRY_TOPIC:
        cause = "The device profile has telemetry topics of its own; v2/t/j took the same message."
        fix = (
            "Publish to the profile's topic (Device profiles → the profile → Transport "
            f"configuration), or to the one that always works: {mosquitto_line(case, PROBE_TOPIC)}"
        )
    elif first.code == 0x87:
        cause = "The server's access rules do not let this client publish to the topic."
        fix = "Allow the topic for this client, or publish to: " + mosquitto_line(case)
    elif first.topic == TELEMETRY_TOPIC:
        cause = "This session takes no telemetry on ThingsBoard's default topic."
        fix = "Look at the device profile's transport configuration, then: " + check_line(case)
    else:
        cause = f"{first.topic} is no topic of ThingsBoard's device API or of the device profile."
        cause += " The message itself is good: v2/t/j took it." if _probe_taken(seen) else ""
        fix = f"Publish to {TELEMETRY_TOPIC}: {mosquitto_line(case)}"
    yield Fault(f"PUBLISH to {first.topic}: {answer(first)}.", cause, fix, subject=first.topic)


@rule(
    "mqtt.publish-payload-rejected",
    stage=_STAGE,
    needs=PublishEvidence,
    reference="MQTT 5.0 section 3.4.2.1 (0x99); ThingsBoard, Telemetry upload API",
    consequence_of=_ENDED,
)
def payload_rejected(case: Case, seen: PublishEvidence) -> Iterable[Fault]:
    """The server refused the payload.

    ThingsBoard wants a JSON object, or an array of them, unless the device profile says Protobuf.
    It answers 0x99 in MQTT 5; in 3.1.1 it closes the connection without PUBACK, unless the profile
    says to acknowledge invalid messages too. If `v2/t/j` takes the same message, the profile wants
    Protobuf. Repair: send valid JSON, or set the profile's payload type to JSON.
    """
    if kind_of_failure(case, seen) != "payload":
        return
    first = seen.first
    if _probe_taken(seen):
        cause = "The device profile wants Protobuf: v2/t/j took the same message as JSON."
        fix = (
            "Set the profile's Payload type to JSON (Device profiles → the profile → Transport "
            f"configuration), or publish JSON to v2/t/j: {mosquitto_line(case, PROBE_TOPIC)}"
        )
    elif seen.json_error:
        cause = f"The payload is not JSON as ThingsBoard wants it: {seen.json_error}."
        fix = "Send a JSON object: " + mosquitto_line(case)
    else:
        cause = "The payload is JSON, but not what this topic or the device profile expects."
        fix = "Send a plain object of keys and values: " + mosquitto_line(case)
    message = f"PUBLISH of {first.size} bytes to {first.topic}: {answer(first)}."
    yield Fault(message, cause, fix, subject=first.topic)


@rule(
    "mqtt.publish-too-large",
    stage=_STAGE,
    needs=PublishEvidence,
    reference="MQTT 5.0 section 3.1.2.11.4; ThingsBoard, NETTY_MAX_PAYLOAD_SIZE",
)
def too_large(case: Case, seen: PublishEvidence) -> Iterable[Fault]:
    """The message is larger than the server takes.

    ThingsBoard closes the connection on a packet above NETTY_MAX_PAYLOAD_SIZE (65,536 bytes unless
    configured) and logs `too large message`. Repair: split the message or raise the limit.
    """
    if kind_of_failure(case, seen) != "too-large":
        return
    first = seen.first
    yield Fault(
        f"PUBLISH of {first.size} bytes to {first.topic}: {answer(first)}.",
        "The packet is larger than the server takes; ThingsBoard's limit is 65536 bytes unless "
        "NETTY_MAX_PAYLOAD_SIZE says otherwise.",
        "Split the message, or set NETTY_MAX_PAYLOAD_SIZE on the server and restart it; a small "
        f"message for comparison: {mosquitto_line(case)}",
        subject=f"{first.size} bytes",
    )


@rule(
    "mqtt.publish-no-puback",
    stage=_STAGE,
    needs=PublishEvidence,
    reference="MQTT 5.0 section 4.3.2; ThingsBoard, Gateway MQTT API",
    consequence_of=_ENDED,
)
def no_puback(case: Case, seen: PublishEvidence) -> Iterable[Fault]:
    """The message was not acknowledged, and the connection stayed open.

    ThingsBoard is silent when a device that is no gateway publishes to `v1/gateway/…`, when the
    payload is an empty array, and up to 2.5.6 when the topic is unknown. To QoS 2 it answers PUBACK
    where PUBREC is due, so the client waits for ever. Otherwise the rule engine's queue is stuck.
    """
    if kind_of_failure(case, seen) != "no-puback":
        return
    first, fix = seen.first, "Publish to the device's own topic: " + mosquitto_line(case)
    if first.qos == 2:
        cause = "ThingsBoard does not know QoS 2: it answers PUBACK, and the client waits on."
        fix = "Use QoS 1: " + mosquitto_line(case, first.topic)
    elif first.topic.startswith(GATEWAY_TOPIC):
        cause = "The device is not marked as a gateway, so nobody takes gateway messages."
        fix = 'Mark the device as a gateway (device details → "Is gateway"). ' + fix
    elif case.options.payload.strip() == b"[]":
        cause = "The payload is an empty array: ThingsBoard counts no message and answers none."
    else:
        cause = "The server took the message and did not finish with it: its queue is stuck."
        fix = "Look at the server's log and its queue (Kafka, in-memory), then: " + check_line(case)
    waited = first.elapsed_ms / 1000
    yield Fault(
        f"No PUBACK for {first.topic} within {waited:.1f} s; the connection stayed open.",
        cause,
        fix,
        subject=first.topic,
    )


@rule(
    "mqtt.publish-closed",
    stage=_STAGE,
    needs=PublishEvidence,
    reference="ThingsBoard, Rate limits and API usage",
    consequence_of=(*_ENDED, "mqtt.quota-exceeded"),
)
def publish_closed(case: Case, seen: PublishEvidence) -> Iterable[Fault]:
    """The server closed the connection on the message, although its JSON is valid.

    ThingsBoard closes without PUBACK (in MQTT 5 with DISCONNECT 0x83) when a rate limit or the API
    usage limit is exceeded, or its queue fails. The message is not at fault: `v2/t/j` is refused
    too. Repair: look at the tenant's limits and API usage.
    """
    if kind_of_failure(case, seen) != "closed":
        return
    first = seen.first
    yield Fault(
        f"PUBLISH to {first.topic}: {answer(first)}.",
        "The payload is valid, so the server refuses the device's messages as such: a rate limit "
        "or the API usage limit is exceeded, or its queue fails.",
        "Look at the API usage page and the tenant profile's rate limits, wait a minute, then: "
        + check_line(case),
        subject=first.topic,
    )


@rule(
    "mqtt.publish-refused",
    stage=_STAGE,
    needs=PublishEvidence,
    reference=PUBACK_REFERENCE,
    consequence_of=(*_ENDED, "mqtt.quota-exceeded"),
)
def publish_refused(case: Case, seen: PublishEvidence) -> Iterable[Fault]:
    """The server refused the message for a reason of its own.

    The Reason Code of the PUBACK names it: 0x80 and 0x83 unspecified, 0x97 a quota. Repair: by
    the reason; the server's log has more.
    """
    if kind_of_failure(case, seen) == "refused":
        yield Fault(
            f"PUBLISH to {seen.first.topic}: {answer(seen.first)}.",
            "The server accepted the session and not this message.",
            "Look for the reason in the server's log at this moment, then: " + check_line(case),
            subject=seen.first.topic,
        )


@rule(
    "mqtt.publish-unproven",
    stage=_STAGE,
    needs=PublishEvidence,
    severity=Severity.INFO,
    reference="MQTT 3.1.1 section 3.4; ThingsBoard, MQTT Device API",
)
def publish_unproven(case: Case, seen: PublishEvidence) -> Iterable[Fault]:
    """The acknowledgement does not prove that anything was stored.

    In MQTT 3.1.1 PUBACK has no code: ThingsBoard acknowledges a message for an unknown topic and
    drops it. In any version PUBACK comes when the message is queued, before the rule chain sees it.
    QoS 0 has no answer at all. Repair: `--round-trip` writes a client attribute and reads it back.
    """
    first, proof = seen.first, check_line(case, "--round-trip")
    if seen.round_trip is False:
        yield Fault(
            "The client attribute `tbdiag` was acknowledged, but could not be read back.",
            "The message was queued, and the rule chain did not store it in time.",
            "Look at the root rule chain (Save attributes, Save timeseries) and its debug events.",
            subject=first.topic,
            severity=Severity.WARNING,
        )
    elif seen.round_trip or not (seen.delivered or first.outcome == "sent"):
        return
    elif first.qos == 0:
        cause = "QoS 0 has no acknowledgement."
        yield Fault(_sent(first), cause, f"Prove it end to end: {proof}", subject=first.topic)
    elif seen.version != "5":
        cause = f"PUBACK has no code in MQTT {seen.version}: ThingsBoard sends it for topics too "
        cause += "whose messages it drops."
        yield Fault(_sent(first), cause, f"Prove it end to end: {proof}", subject=first.topic)
    elif first.code == NO_MATCHING_SUBSCRIBERS:
        cause = "PUBACK Reason Code 0x10: nobody is subscribed to this topic on this broker."
        fix = "If this is meant to be ThingsBoard, use the host and port of its MQTT transport."
        yield Fault(_sent(first), cause, fix, subject=first.topic)


def _sent(first: PublishAttempt) -> str:
    taken = "sent" if first.qos == 0 else "acknowledged"
    return f"The message to {first.topic} was {taken}; that it was stored is not proven."


@rule(
    "mqtt.attributes-no-response",
    stage="mqtt.attributes",
    needs=AttributesEvidence,
    severity=Severity.WARNING,
    reference="ThingsBoard, MQTT Device API: Request attribute values from the server",
)
def attributes_no_response(case: Case, seen: AttributesEvidence) -> Iterable[Fault]:
    """The attribute request was not answered.

    ThingsBoard answers every device, with `{}` where it has no attributes. Silence means another
    MQTT broker, a device profile with another payload type, or a server that is overloaded. The
    connection itself works. Repair: see that host and port are those of ThingsBoard.
    """
    if seen.answered:
        return
    code = seen.puback_code or 0
    fix = "See that this is ThingsBoard's MQTT transport (another broker on the port?): "
    if seen.outcome == "closed":
        cause = f"The server ended the session on the request: {seen.detail}."
    elif code == NO_MATCHING_SUBSCRIBERS:
        cause = "This is a general MQTT broker: it says (0x10) that nobody listens to requests."
    elif code >= 0x80:
        cause = f"The server refused the request with 0x{code:02X}: the device profile expects "
        cause += "another payload than JSON." if code == 0x99 else "something else."
        fix = "Set the device profile's Payload type to JSON, then: "
    elif seen.subscribe_code == 2:
        cause = "This is a general MQTT broker: it grants QoS 2, which ThingsBoard never does."
    elif seen.outcome == "subscribe-refused":
        cause = f"The server refused the subscription for responses (0x{seen.subscribe_code:02X})."
    else:
        cause = "Another MQTT broker listens here, or ThingsBoard is too busy to answer."
    waited = f" within {seen.elapsed_ms / 1000:.1f} s" if seen.elapsed_ms >= 200 else ""
    yield Fault(
        f"No response to the attribute request{waited}.",
        cause,
        fix + check_line(case),
        subject=f"v1/devices/me/attributes/request/{seen.request_id}",
    )
