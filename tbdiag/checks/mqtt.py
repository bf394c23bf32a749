"""The MQTT stages: CONNECT, a test PUBLISH and ThingsBoard's attribute request.

The two that follow CONNACK run side by side on one session, so together they take one round trip.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from tbdiag.checks._applies import with_credentials, with_publish
from tbdiag.checks._mqtt_spare import SLOW_MS, Spare
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import (
    AttributesEvidence,
    CaEvidence,
    ConnackAttempt,
    MqttConnectEvidence,
    PublishEvidence,
    TcpEvidence,
)
from tbdiag.fact import replace
from tbdiag.model import Credentials
from tbdiag.registry import Blocked, Observation, check

if TYPE_CHECKING:
    import socket

    from tbdiag.checks._mqtt_channel import Endpoint
    from tbdiag.checks._mqtt_session import Link, Plan, Session
    from tbdiag.protocol.mqtt import Version

RESPONSE_FILTER = "v1/devices/me/attributes/response/+"
REQUEST_ID = 1
REQUEST = b'{"clientKeys":"model"}'
QUIET = 2.0
"""Seconds to wait for the response once the request was acknowledged.

ThingsBoard acknowledges and answers from the same place, so the response follows within
milliseconds; two seconds leave room for a busy device actor. A broker that says by Reason Code 0x10
that nobody listens is not waited for at all.
"""
GENERIC_QUIET = 0.3
"""The same where the broker granted QoS 2, which ThingsBoard never does, or refused the request."""
PING_WAIT = 2.0
"""Seconds to watch whether a session on which no message is tested stays open."""
NO_MATCHING_SUBSCRIBERS = 0x10
SESSION_TAKEN_OVER = 0x8E
TAKEOVER = (
    "Connecting as this device closes the device's own MQTT session, if it has one "
    "(ThingsBoard keeps one session per device by default); --no-connect leaves that out."
)
PROVISION = "provision"
TLS_PROBE = 3.0
"""Seconds to find out whether a port that closes on plain MQTT speaks TLS."""
_SESSION = "tbdiag.checks._mqtt_session"


def _open_ahead(run: Run) -> None:
    """On a long way, dial and handshake for MQTT while the first handshake is looked at."""
    tcp = run.need(TcpEvidence)
    slow = any(a.address == tcp.connected and a.elapsed_ms > SLOW_MS for a in tcp.attempts)
    wanted = with_credentials(run.target, run.options) is None and not run.options.proxy
    if slow and wanted and run.target.transport.encrypted:
        run.keep(spare := Spare(lambda deadline: _opened(run, deadline)), spare.close)


def _opened(run: Run, deadline: Deadline) -> socket.socket:
    from tbdiag.checks._mqtt_channel import open_socket

    return open_socket(_endpoint(run), deadline)


@check(
    "mqtt.connect",
    title="MQTT connect",
    order=70,
    requires=("tcp.connect", "tls.handshake", "tls.verify"),
    after=("ca.load", "http.token"),
    timeout=12.0,
    applies=with_credentials,
    waivable=("tls.verify",),
    imports=(_SESSION,),
    prepare=_open_ahead,
    prepare_after=("ca.load", "tcp.connect"),
)
def connect(run: Run) -> Observation[MqttConnectEvidence]:
    """Open an MQTT session with the credentials and read the CONNACK.

    The connection goes to the address that answered before and verifies the server's certificate
    again with the loaded CA certificates only: the token is not sent before that. MQTT 5 is tried
    first, 3.1.1 when the server does not speak 5. The session is clean, the Client Identifier
    random unless given. Connecting with a live device's token closes that device's own session.
    """
    from tbdiag.checks._mqtt_channel import ChannelFailed
    from tbdiag.checks._mqtt_session import Link

    run.notify(TAKEOVER)
    identifier = run.target.credentials.client_id or f"tbdiag-{secrets.token_hex(6)}"
    attempts: list[ConnackAttempt] = []
    session = None
    try:
        plan = _plan(run, identifier)
        session = _first_accepted(run, plan, attempts)
        if attempts[-1].outcome == "closed" and plan.endpoint.context is None:
            attempts[-1] = _tls_port_or(attempts[-1], plan, run.deadline)
        if session:
            run.keep(link := Link(plan, session), link.close)
            _see_it_stand(run, session)
    except ChannelFailed as error:
        attempts.append(ConnackAttempt("5", error.outcome, detail=str(error)))
    evidence = _connect_evidence(run, identifier, attempts, session)
    stands = evidence.accepted and evidence.disconnected_after is None
    passed = stands and not evidence.provisioning
    return Observation(evidence, passed, _connect_summary(evidence))


def _see_it_stand(run: Run, session: Session) -> None:
    """Wait for a PINGRESP, unless the test message is to show whether the session stays open.

    Without it, an end right after CONNACK would be seen here or in a later stage, by the moment.
    """
    if with_publish(run.target, run.options) is not None:
        session.ping(run.deadline.sooner(PING_WAIT))


def _connect_evidence(
    run: Run, identifier: str, attempts: list[ConnackAttempt], session: Session | None
) -> MqttConnectEvidence:
    credentials = run.target.credentials
    tested_later = with_publish(run.target, run.options) is None
    gone = session if session and session.over and not tested_later else None
    return MqttConnectEvidence(
        tuple(attempts),
        accepted=session is not None,
        version=session.version.label if session else None,
        client_identifier=identifier,
        username_sent=credentials.mqtt_username is not None,
        credentials=_kind(credentials),
        disconnected_after=gone.how_it_ended if gone else None,
        disconnect_code=gone.disconnect_code if gone else None,
        provisioning=PROVISION in (credentials.mqtt_username, identifier),
    )


def _plan(run: Run, identifier: str) -> Plan:
    from tbdiag.checks._mqtt_session import Plan

    return Plan(_endpoint(run), identifier, run.target.credentials, run.kept(Spare))


def _endpoint(run: Run) -> Endpoint:
    from tbdiag.checks._mqtt_channel import Endpoint, reference_name, tls_context

    target = run.target
    address = run.need(TcpEvidence).connected or target.host
    encrypted = target.transport.encrypted
    context = tls_context(target, run.options, run.get(CaEvidence)) if encrypted else None
    name = reference_name(target.reference_name)
    return Endpoint(
        address, target.effective_port, name, context, run.options.proxy, run.options.family
    )


def _kind(credentials: Credentials) -> str:
    if credentials.certfile:
        return "x509"
    if credentials.token:
        return "token"
    return "basic" if credentials.present else "none"


def _first_accepted(run: Run, plan: Plan, attempts: list[ConnackAttempt]) -> Session | None:
    from tbdiag.checks._mqtt_session import open_session

    for version in _versions(run.options.mqtt_version):
        attempt, session = open_session(plan, version, run.deadline)
        attempts.append(attempt)
        if session or not _speaks_another_version(attempt):
            return session
    return None


def _tls_port_or(closed: ConnackAttempt, plan: Plan, deadline: Deadline) -> ConnackAttempt:
    """A plain CONNECT was met by a close: some TLS servers (mosquitto) send no alert before."""
    from tbdiag.checks._mqtt_channel import speaks_tls

    if not speaks_tls(plan.endpoint, deadline.sooner(TLS_PROBE)):
        return closed
    detail = "the server closes on plain MQTT and takes a TLS handshake"
    return replace(closed, outcome="tls-port", detail=detail)


def _versions(wanted: str) -> tuple[Version, ...]:
    from tbdiag.protocol.mqtt import Version

    known = {"5": (Version.V5,), "3.1.1": (Version.V311,)}
    return known.get(wanted, (Version.V5, Version.V311))


def _speaks_another_version(attempt: ConnackAttempt) -> bool:
    """Whether 3.1.1 may work: older servers close on Protocol Version 5 or answer in their form."""
    if attempt.outcome == "refused" and attempt.code is not None:
        return attempt.code == 0x84 or attempt.code < 0x80
    return attempt.outcome == "closed"


def _connect_summary(seen: MqttConnectEvidence) -> str:
    last = seen.last
    spoken = f"MQTT {last.version}"
    if seen.accepted and len(seen.attempts) > 1:
        spoken += "; the server does not speak MQTT 5"
    if last.code is None:
        return f"{last.outcome}: {last.detail} ({spoken})"
    code = f"0x{last.code:02X}" if last.version == "5" else str(last.code)
    summary = f"CONNACK {code} {last.code_name} ({spoken})"
    return f"{summary}, then {seen.disconnected_after}" if seen.disconnected_after else summary


def _link(run: Run) -> Link | None:
    from tbdiag.checks._mqtt_session import Link

    return run.kept(Link)


@check(
    "mqtt.publish",
    title="Test publish",
    order=80,
    requires=("mqtt.connect",),
    timeout=10.0,
    applies=with_publish,
)
def publish(run: Run) -> Observation[PublishEvidence] | Blocked:
    """Publish one telemetry message and wait for its PUBACK.

    When it is refused, or the server closes the session, the same payload goes to `v2/t/j` once:
    ThingsBoard takes JSON there whatever the device profile says, so the difference names the
    cause. With `--round-trip` a client attribute is written and read back, which proves storage.
    """
    from tbdiag.checks._mqtt_publish import publish_and_probe

    link = _link(run)
    if link is None:
        return Blocked("mqtt.connect", "there is no MQTT session")
    try:
        evidence = publish_and_probe(link, run.options, run.deadline)
        closed = evidence.first.outcome == "closed"
        link.closed_on_publish = closed and not evidence.delivered
    finally:
        link.publishing_ended.set()
    first = evidence.first
    passed = evidence.delivered or first.outcome == "sent"
    said = first.outcome
    if first.code is not None:
        said = f"PUBACK 0x{first.code:02X} {first.code_name}"
    elif first.outcome == "acknowledged":
        said = "PUBACK"
    summary = f"{first.topic}: {said}" + (f" ({first.detail})" if first.detail else "")
    if evidence.round_trip is not None:
        summary += ", read back" if evidence.round_trip else ", not read back"
    return Observation(evidence, passed, summary)


@check(
    "mqtt.attributes",
    title="Attributes",
    order=90,
    requires=("mqtt.connect",),
    timeout=10.0,
    applies=with_credentials,
)
def attributes(run: Run) -> Observation[AttributesEvidence] | Blocked:
    """Ask for the client attribute `model` and wait for the response; `{}` is one.

    Only ThingsBoard answers: a response proves that this is its device API and that the device is
    known. A general MQTT broker acknowledges the request and stays silent.
    """
    link = _link(run)
    if link is None:
        return Blocked("mqtt.connect", "there is no MQTT session")
    # Never on a session that the test publish has opened again: the request could close that too.
    evidence = _request(link, link.first, run.deadline)
    if with_publish(run.target, run.options) is None:
        # Both messages were under way: what became of this one must not depend on which was first.
        link.publishing_ended.wait(run.deadline.remaining())
        if link.closed_on_publish:
            reason = "the server closed the session during the test publish"
            return Blocked("mqtt.publish", reason)
        if evidence.outcome != "closed":
            return Observation(evidence, True, _attributes_summary(evidence))
        fresh = _fresh(link, evidence, run.deadline)
        evidence = _request(link, fresh, run.deadline) if fresh else evidence
    return Observation(evidence, True, _attributes_summary(evidence))


def _fresh(link: Link, closed: AttributesEvidence, deadline: Deadline) -> Session | None:
    """A session to repeat the request on; none against another client that took the first over."""
    if not link.session.over:
        return link.session
    taken_over = closed.disconnect_code == SESSION_TAKEN_OVER
    return None if taken_over else link.again(link.session, deadline)


def _request(link: Link, session: Session, deadline: Deadline) -> AttributesEvidence:
    started = time.monotonic()
    subscription = link.subscription(session, RESPONSE_FILTER)
    request = session.publish(f"v1/devices/me/attributes/request/{REQUEST_ID}", REQUEST, 1)
    topic = RESPONSE_FILTER.replace("+", str(REQUEST_ID))
    tap = session.tap
    answered = session.wait(lambda: topic in tap.messages or request in tap.acks, deadline)
    if answered and topic not in tap.messages:
        ack = tap.acks[request].puback.code
        session.wait(lambda: topic in tap.messages, _patience(session, ack, deadline))
    return _attributes_evidence(session, topic, request, subscription, started)


def _patience(session: Session, puback_code: int, deadline: Deadline) -> Deadline:
    if puback_code == NO_MATCHING_SUBSCRIBERS:
        return deadline.sooner(0)
    if puback_code > NO_MATCHING_SUBSCRIBERS:
        return deadline.sooner(GENERIC_QUIET)
    granted = session.tap.subacks.get(session.subscription or 0, ())
    return deadline.sooner(GENERIC_QUIET if granted == (2,) else QUIET)


def _attributes_evidence(
    session: Session, topic: str, request: int, subscription: int, started: float
) -> AttributesEvidence:
    tap = session.tap
    answered = topic in tap.messages
    codes, ack = tap.subacks.get(subscription, ()), tap.acks.get(request)
    outcome = "no-response"
    if answered:
        outcome = "answered"
    elif session.over:
        outcome = "closed"
    elif any(code >= 0x80 for code in codes):
        outcome = "subscribe-refused"
    return AttributesEvidence(
        REQUEST_ID,
        REQUEST.decode(),
        answered,
        tap.messages.get(topic, b""),
        outcome,
        codes[0] if codes else None,
        ack.puback.code if ack else None,
        session.disconnect_code if outcome == "closed" else None,
        session.how_it_ended if outcome == "closed" else "",
        round((time.monotonic() - started) * 1000, 3),
    )


def _attributes_summary(seen: AttributesEvidence) -> str:
    if seen.answered:
        text = seen.response.decode("utf-8", "replace")
        return f"response/{seen.request_id}: {text if len(text) <= 60 else text[:59] + '…'}"
    why = "" if seen.outcome == "no-response" else f" ({seen.outcome})"
    return f"no response to the attribute request{why}"
