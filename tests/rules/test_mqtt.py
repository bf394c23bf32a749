"""The mqtt.* rules on evidence written by hand: what a user reads, and that one rule speaks."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tbdiag import Options, Secret, Severity, Target, Transport
from tbdiag.context import Case
from tbdiag.evidence import (
    AttributesEvidence,
    CaEvidence,
    CaSource,
    ConnackAttempt,
    HandshakeEvidence,
    HttpTokenEvidence,
    MqttConnectEvidence,
    PublishAttempt,
    PublishEvidence,
)
from tbdiag.model import Credentials, Finding
from tbdiag.pipeline import primary_of
from tbdiag.protocol.x509 import parse_certificate
from tbdiag.registry import RULES, load
from tbdiag.sandbox.authority import Authority

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "CanaryToken123456789"
TELEMETRY = "v1/devices/me/telemetry"
load("rules")


def case(*evidence: object, target: Target | None = None, **options: Any) -> Case:
    target = target or Target("tb.example", credentials=Credentials(token=Secret(TOKEN)))
    found: dict[type[Any], Any] = {type(e): e for e in evidence}
    return Case(target, Options(**options), NOW, {Target: target, **found})


def findings(case: Case) -> list[Finding]:
    mine = ("mqtt.", "token.", "http.")
    return [f for rule in RULES.values() if rule.id.startswith(mine) for f in rule.findings(case)]


def ids(case: Case) -> list[str]:
    return [f.rule for f in findings(case)]


def refused(code: int, version: str = "5", **fields: Any) -> MqttConnectEvidence:
    attempt = ConnackAttempt(version, "refused", code, "Some Name", **fields)
    return MqttConnectEvidence((attempt,), accepted=False, version=None, username_sent=True)


def failed(outcome: str, **fields: Any) -> MqttConnectEvidence:
    attempt = ConnackAttempt("5", outcome, detail="what happened", **fields)
    return MqttConnectEvidence((attempt,), accepted=False, version=None, username_sent=True)


def accepted(version: str = "5", **fields: Any) -> MqttConnectEvidence:
    attempt = ConnackAttempt(version, "accepted", 0, "Success")
    return MqttConnectEvidence((attempt,), accepted=True, version=version, **fields)


def attempt(outcome: str, code: int | None = None, **fields: Any) -> PublishAttempt:
    given = {"topic": TELEMETRY, "qos": 1, "size": 18, **fields}
    return PublishAttempt(outcome=outcome, code=code, code_name="Some Name", **given)


def published(*attempts: PublishAttempt, version: str = "5", **fields: Any) -> PublishEvidence:
    taken = any(a.outcome == "acknowledged" and a.topic == attempts[0].topic for a in attempts)
    return PublishEvidence(version, attempts, taken, **fields)


HTTP_200 = HttpTokenEvidence("https://tb.example", 200)
HTTP_401 = HttpTokenEvidence("https://tb.example", 401)
PROBE_TAKEN = attempt("acknowledged", 0, topic="v2/t/j")


@pytest.mark.parametrize(
    ("evidence", "rule", "word"),
    [
        (refused(5, "3.1.1"), "mqtt.not-authorized", "another installation"),
        (refused(0x87), "mqtt.not-authorized", "access token"),
        (refused(4, "3.1.1"), "mqtt.bad-credentials", "3.5.0"),
        (refused(0x86), "mqtt.bad-credentials", "access token"),
        (refused(0x8C), "mqtt.bad-credentials", "access token"),
        (refused(2, "3.1.1"), "mqtt.identifier-rejected", "Client Identifier"),
        (refused(0x85), "mqtt.identifier-rejected", "Client Identifier"),
        (refused(3, "3.1.1"), "mqtt.server-unavailable", "transport type"),
        (refused(0x88), "mqtt.server-unavailable", "Sparkplug"),
        (refused(0x9D), "mqtt.server-unavailable", "core"),
        (refused(1, "3.1.1"), "mqtt.protocol-version", "3.1.1"),
        (refused(0x84), "mqtt.protocol-version", "MQTT 5"),
        (refused(0x8A), "mqtt.banned", "excludes"),
        (refused(0x97), "mqtt.quota-exceeded", "limit"),
        (refused(0x9F), "mqtt.quota-exceeded", "API usage"),
        (failed("no-connack"), "mqtt.no-connack", "overloaded"),
        (failed("closed"), "mqtt.closed-before-connack", "blocked"),
        (failed("tls-failed"), "mqtt.closed-before-connack", "drops"),
        (failed("tcp-failed"), "mqtt.closed-before-connack", "drops"),
        (failed("not-mqtt", first_bytes=b"HTTP/1.1 400"), "mqtt.not-mqtt", "HTTP server"),
        (failed("tls-port", first_bytes=b"\x15\x03\x03"), "mqtt.tls-port", "speaks TLS"),
    ],
)
def test_every_connect_outcome_has_one_rule(
    evidence: MqttConnectEvidence, rule: str, word: str
) -> None:
    """Each outcome of CONNECT gives exactly one error, with its cause and a command."""
    found = findings(case(evidence))
    assert [f.rule for f in found] == [rule]
    assert word in found[0].cause
    assert found[0].severity is Severity.ERROR
    assert found[0].fix
    assert found[0].reference


@pytest.mark.parametrize(
    ("evidence", "rule", "word"),
    [
        (published(attempt("refused", 0x90), PROBE_TAKEN), "topic-rejected", "topics of its own"),
        (published(attempt("refused", 0x90, topic="x")), "topic-rejected", "no topic"),
        (published(attempt("refused", 0x87)), "topic-rejected", "access rules"),
        (published(attempt("refused", 0x99), PROBE_TAKEN), "payload-rejected", "Protobuf"),
        (published(attempt("refused", 0x99), json_error="bad"), "payload-rejected", "bad"),
        (published(attempt("closed"), json_error="bad"), "payload-rejected", "not JSON"),
        (published(attempt("closed"), PROBE_TAKEN, attempt("closed")), "payload-rejected", "Proto"),
        (published(attempt("closed", size=70_000)), "too-large", "65536"),
        (published(attempt("refused", 0x95)), "too-large", "larger"),
        (published(attempt("closed", disconnect_code=0x83)), "closed", "rate limit"),
        (published(attempt("closed"), attempt("closed", topic="v2/t/j")), "closed", "limit"),
        (published(attempt("no-puback")), "no-puback", "queue"),
        (published(attempt("no-puback", qos=2)), "no-puback", "QoS 2"),
        (published(attempt("no-puback", topic="v1/gateway/telemetry")), "no-puback", "gateway"),
        (published(attempt("refused", 0x80)), "refused", "not this message"),
    ],
)
def test_every_publish_outcome_has_one_rule(
    evidence: PublishEvidence, rule: str, word: str
) -> None:
    """Each fate of the test message gives exactly one error, with its cause."""
    found = findings(case(accepted(), evidence))
    assert [f.rule for f in found] == [f"mqtt.publish-{rule}"]
    assert word in found[0].cause


@pytest.mark.parametrize(
    ("evidence", "severity"),
    [
        (published(attempt("acknowledged"), version="3.1.1"), "info"),
        (published(attempt("sent", qos=0)), "info"),
        (published(attempt("acknowledged", 0x10)), "info"),
        (published(attempt("acknowledged", 0), round_trip=False), "warning"),
    ],
)
def test_what_is_not_proven_is_said(evidence: PublishEvidence, severity: str) -> None:
    """A PUBACK of 3.1.1, QoS 0, 0x10 and a failed round trip prove no storage."""
    found = findings(case(accepted(), evidence))
    assert [(f.rule, f.severity.value) for f in found] == [("mqtt.publish-unproven", severity)]


@pytest.mark.parametrize(
    "evidence",
    [
        published(attempt("acknowledged", 0)),
        published(attempt("acknowledged"), version="3.1.1", round_trip=True),
    ],
)
def test_what_is_proven_needs_no_words(evidence: PublishEvidence) -> None:
    """PUBACK 0x00 of MQTT 5, and an attribute read back, earn no finding."""
    assert findings(case(accepted(), evidence)) == []


def test_a_quota_in_the_puback_is_the_cause() -> None:
    """PUBACK 0x97: the quota is primary, the refused message its consequence."""
    found = findings(case(accepted(), published(attempt("refused", 0x97))))
    assert {f.rule for f in found} == {"mqtt.quota-exceeded", "mqtt.publish-refused"}
    assert primary_of(found) == "mqtt.quota-exceeded"


@pytest.mark.parametrize(("code", "rule"), [(0x8E, "session-takeover"), (0x98, "disconnected")])
def test_an_ended_session_is_one_cause_wherever_it_is_noticed(code: int, rule: str) -> None:
    """Right after CONNACK, during the message or the request: the primary is the same."""
    at_once = case(accepted(disconnected_after="gone", disconnect_code=code))
    closed = attempt("closed", disconnect_code=code, detail="gone")
    later = case(accepted(), published(closed, unprovoked=True))
    asked = AttributesEvidence(1, "", False, outcome="closed", disconnect_code=code, detail="gone")
    assert primary_of(findings(at_once)) == f"mqtt.{rule}"
    assert primary_of(findings(later)) == f"mqtt.{rule}"
    assert f"mqtt.{rule}" in ids(case(accepted(), asked))


def test_a_takeover_after_delivery_is_a_warning() -> None:
    """When the message went through all the same, the second client is a warning."""
    taken = published(attempt("closed"), attempt("acknowledged"), version="3.1.1", unprovoked=True)
    found = [f for f in findings(case(accepted(), taken)) if f.rule == "mqtt.session-takeover"]
    assert [f.severity for f in found] == [Severity.WARNING]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"puback_code": 0x10}, "general MQTT broker"),
        ({"puback_code": 0x99}, "payload"),
        ({"subscribe_code": 2}, "QoS 2"),
        ({"subscribe_code": 0x80, "outcome": "subscribe-refused"}, "0x80"),
        ({"outcome": "closed", "detail": "gone"}, "gone"),
        ({}, "too busy"),
    ],
)
def test_silence_is_a_warning_with_its_reason(fields: dict[str, Any], word: str) -> None:
    """No response is never an error, and each reason has its words."""
    fields = {"outcome": "no-response", **fields}
    found = findings(case(accepted(), AttributesEvidence(1, "{}", False, **fields)))
    assert [(f.rule, f.severity) for f in found] == [
        ("mqtt.attributes-no-response", Severity.WARNING)
    ]
    assert word in found[0].cause


def test_http_200_and_a_refusal_are_two_installations() -> None:
    """The HTTP API knows the token and MQTT does not: one error that says so."""
    assert ids(case(refused(5, "3.1.1"), HTTP_200)) == ["token.other-installation"]
    assert ids(case(refused(0x86), HTTP_200)) == ["token.other-installation"]


def test_http_200_and_unavailable_is_the_profile() -> None:
    """HTTP 200 and Return code 3: the device exists, so its profile is of another transport."""
    found = findings(case(refused(3, "3.1.1"), HTTP_200))
    assert [f.rule for f in found] == ["mqtt.server-unavailable"]
    assert "profile's transport type" in found[0].cause


def test_http_401_is_the_cause_of_the_refusal() -> None:
    """HTTP 401 and a refusal: the token is unknown, the refusal its consequence."""
    found = findings(case(refused(5, "3.1.1"), HTTP_401))
    assert {f.rule for f in found} == {"token.unknown", "mqtt.not-authorized"}
    assert primary_of(found) == "token.unknown"


def test_an_x509_device_is_told_about_its_certificate() -> None:
    """With a client certificate the refusal is about the certificate, not about the token."""
    attempt_5 = ConnackAttempt("3.1.1", "refused", 5, "not authorized")
    seen = MqttConnectEvidence((attempt_5,), False, None, credentials="x509")
    cause = findings(case(seen))[0].cause
    assert "certificate is not registered" in cause


@pytest.mark.parametrize(
    ("names", "detail", "wanted"),
    [
        (("CN=Device CA",), "the server closed the connection", True),
        ((), "the server closed the connection", True),
        (("CN=tb.example",), "the server closed the connection", False),
        (("CN=tb.example",), "tlsv13 alert certificate required", True),
    ],
    ids=["its own CA", "anybody", "ThingsBoard's own", "the alert says so"],
)
def test_a_close_after_a_certificate_request(
    names: tuple[str, ...], detail: str, wanted: bool
) -> None:
    """A close by who asked for a client certificate is about it, unless it is ThingsBoard's own."""
    leaf = parse_certificate(
        Authority.root(now=NOW)
        .issue_server("tb.example", now=NOW)
        .certificate.public_bytes(Encoding.DER)
    )
    tls = HandshakeEvidence(
        "tb.example",
        established=True,
        outcome="established",
        certificate_list=(leaf,),
        certificate_requested=True,
        certificate_request_names=names,
    )
    attempt_5 = ConnackAttempt("5", "closed", detail=detail)
    (found,) = findings(case(tls, MqttConnectEvidence((attempt_5,), False, None)))
    assert found.rule == "mqtt.closed-before-connack"
    assert ("asked for a client certificate" in found.cause) is wanted
    assert ("--cert device.pem" in found.fix) is wanted


def test_a_missing_username_is_named() -> None:
    """Return code 2 without a username is not about the Client Identifier."""
    attempt_2 = ConnackAttempt("3.1.1", "refused", 2, "identifier rejected")
    seen = MqttConnectEvidence((attempt_2,), False, None, username_sent=False)
    assert "no username" in findings(case(seen))[0].cause


def test_plain_mqtt_says_that_the_token_is_in_clear() -> None:
    """One info line on a plain target, none on TLS, none where nothing is sent."""
    plain = Target("h", 1883, Transport.MQTT, credentials=Credentials(token=Secret(TOKEN)))
    assert ids(case(target=plain)) == ["mqtt.token-in-clear"]
    assert ids(case(target=plain, connect=False)) == []
    assert ids(case()) == []


@pytest.mark.parametrize("code", [2, 3, 4, 5, 0x84, 0x86, 0x88, 0x8A, 0x97])
def test_commands_are_quoted_and_hold_no_token(code: int) -> None:
    """A host or path with odd characters stays one word, and the token is a variable."""
    target = Target("ho st;rm", 8883, credentials=Credentials(token=Secret(TOKEN)))
    ca = CaEvidence((CaSource("my ca.pem", "file", "my ca.pem"),))
    for finding in findings(case(refused(code), ca, target=target)):
        assert TOKEN not in f"{finding.message}{finding.cause}{finding.fix}"
        if "mosquitto_pub" in finding.fix:
            words = shlex.split("mosquitto_pub" + finding.fix.split("mosquitto_pub", 1)[1])
            assert words[words.index("-h") + 1] == "ho st;rm"
            assert words[words.index("--cafile") + 1] == "my ca.pem"
            assert words[-1] == "$TBDIAG_TOKEN"


def test_every_mqtt_rule_is_published() -> None:
    """Each rule has a title, an explanation with its repair, and a reference."""
    for rule in RULES.values():
        if rule.id.startswith(("mqtt.", "token.", "http.")):
            assert rule.title, rule.id
            assert len(rule.doc) > 80, rule.id
            assert rule.reference, rule.id
