"""The test message, and the probes that tell why it was not taken."""

from __future__ import annotations

import json
import secrets
import time

from tbdiag.checks._mqtt_session import Link, Session
from tbdiag.checks._payload import json_fault
from tbdiag.deadline import Deadline
from tbdiag.errors import UsageError
from tbdiag.evidence import PublishAttempt, PublishEvidence
from tbdiag.model import Options
from tbdiag.protocol.mqtt import PacketType, Version, code_name

PROBE_TOPIC = "v2/t/j"
"""Telemetry as JSON whatever the device profile's topic filter and payload type say (≥ 3.3.2)."""
ATTRIBUTES_TOPIC = "v1/devices/me/attributes"
RESPONSE = "v1/devices/me/attributes/response"
ROUND_TRIP_KEY = "tbdiag"
ROUND_TRIP_PAUSE = 0.2
"""Seconds between two reads: the attribute is stored by the rule engine, after its PUBACK."""
SESSION_TAKEN_OVER = 0x8E
PING_WAIT = 2.0
"""Seconds to watch whether a session without a message stays open."""
LARGEST = 65536
"""ThingsBoard's default limit of a packet, NETTY_MAX_PAYLOAD_SIZE, in bytes."""


def publish_and_probe(link: Link, options: Options, deadline: Deadline) -> PublishEvidence:
    """Publish the message asked for and, when it was not taken, find out what differs.

    Raises UsageError for a topic or QoS that cannot be published to.
    """
    session = link.session
    first = publish_once(session, options.topic, options.payload, options.qos, deadline)
    attempts, unprovoked = [first], False
    if first.outcome == "closed":
        attempts, unprovoked = _after_close(link, options, first, deadline)
    elif first.outcome == "refused" and _worth_probing(options):
        attempts.append(publish_once(session, PROBE_TOPIC, options.payload, 1, deadline))
    delivered = any(a.outcome == "acknowledged" and a.topic == first.topic for a in attempts)
    stored = round_trip(link, deadline) if options.round_trip and delivered else None
    return PublishEvidence(
        session.version.label,
        tuple(attempts),
        delivered,
        stored,
        json_error=json_fault(options.payload),
        unprovoked=unprovoked,
    )


def publish_once(
    session: Session, topic: str, payload: bytes, qos: int, deadline: Deadline
) -> PublishAttempt:
    """One PUBLISH and what answered it; at QoS 0 a ping shows that the session outlived it."""
    started = time.monotonic()
    try:
        packet_id = session.publish(topic, payload, qos)
    except ValueError as error:
        raise UsageError(f"cannot publish to {topic!r} with QoS {qos}: {error}") from error
    if qos:
        session.wait(lambda: packet_id in session.tap.acks, deadline)
    else:
        session.ping(deadline)
    return _attempt(session, topic, payload, qos, packet_id, started)


def _attempt(
    session: Session, topic: str, payload: bytes, qos: int, packet_id: int, started: float
) -> PublishAttempt:
    ack = session.tap.acks.get(packet_id) if qos else None
    outcome, code, detail = "no-puback", None, ""
    if ack and qos == 2 and ack.packet_type is PacketType.PUBACK:
        detail = "PUBACK where PUBREC is due"
    elif ack:
        outcome = "refused" if ack.puback.code >= 0x80 else "acknowledged"
        code = ack.puback.code if session.version is Version.V5 else None
    elif session.over:
        outcome, detail = "closed", session.how_it_ended
    elif qos == 0:
        outcome = "sent"
    return PublishAttempt(
        topic,
        qos,
        len(payload),
        outcome,
        code,
        code_name(code, PacketType.PUBACK, Version.V5) if code is not None else None,
        ack.puback.reason_string if ack else None,
        session.disconnect_code,
        detail,
        round((time.monotonic() - started) * 1000, 3),
    )


def _after_close(
    link: Link, options: Options, first: PublishAttempt, deadline: Deadline
) -> tuple[list[PublishAttempt], bool]:
    """The attempts after the session was closed, and whether it closes without a message too.

    A close may have another reason than the message, so only one that repeats is its fault.
    """
    if first.disconnect_code == SESSION_TAKEN_OVER:
        return [first], True  # reconnecting would close the other client's session in turn
    fresh = link.again(link.session, deadline)
    if fresh is None:
        return [first], False
    if not fresh.ping(deadline.sooner(PING_WAIT)) and fresh.over:
        return [first], True
    attempts = [first]
    if _worth_probing(options):
        attempts.append(publish_once(fresh, PROBE_TOPIC, options.payload, 1, deadline))
    if not fresh.over:
        again = publish_once(fresh, options.topic, options.payload, options.qos, deadline)
        attempts.append(again)
    return attempts, attempts[-1].topic == first.topic and attempts[-1].outcome == "acknowledged"


def _worth_probing(options: Options) -> bool:
    """Whether `v2/t/j` can tell more: it takes JSON only, and what is too large stays so."""
    looks_like_json = options.payload.lstrip()[:1] in (b"{", b"[")
    return looks_like_json and len(options.payload) < LARGEST and options.topic != PROBE_TOPIC


def round_trip(link: Link, deadline: Deadline) -> bool:
    """Write the client attribute `tbdiag` and read it back until it shows or time is up."""
    session, nonce = link.session, secrets.token_hex(8)
    link.subscription(session, f"{RESPONSE}/+")
    payload = json.dumps({ROUND_TRIP_KEY: nonce}).encode()
    written = session.publish(ATTRIBUTES_TOPIC, payload, 1)
    session.wait(lambda: written in session.tap.acks, deadline)
    for request_id in range(2, 1000):
        if _reads(session, request_id, nonce, deadline):
            return True
        if session.over or deadline.passed:
            return False
        session.wait(lambda: False, deadline.sooner(ROUND_TRIP_PAUSE))
    return False


def _reads(session: Session, request_id: int, nonce: str, deadline: Deadline) -> bool:
    request = json.dumps({"clientKeys": ROUND_TRIP_KEY}).encode()
    topic = f"{RESPONSE}/{request_id}"
    session.publish(f"{ATTRIBUTES_TOPIC}/request/{request_id}", request, 1)
    session.wait(lambda: topic in session.tap.messages, deadline.sooner(2))
    return nonce.encode() in session.tap.messages.get(topic, b"")
