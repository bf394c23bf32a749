"""The reference's tables of CONNECT and PUBLISH: every row, the rule it gives and what is read.

Each row is diagnosed in MQTT 3.1.1 and in 5. A row without a rule is one where nothing is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tbdiag import Options, Report, Secret, Target, Transport, check
from tbdiag.model import Credentials
from tbdiag.sandbox import knobs
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.faults import Closing
from tbdiag.sandbox.profile import DEFAULT_TOKEN, PROFILES, Device

VERSIONS = pytest.mark.parametrize("version", ["3.1.1", "5"])
TOKEN = Credentials(token=Secret(DEFAULT_TOKEN))
BASIC = Device(client_id="dev-1", username="user", password="a-password")
LENIENT = Device(
    token=DEFAULT_TOKEN, profile=PROFILES["default"].__class__(ack_invalid=True, transport="mqtt")
)


@dataclass(frozen=True)
class Row:
    """One situation: who the server knows and how it answers, what the device does, what is said.

    `said` holds, for 3.1.1 and for 5, (rule, code in the message, words of cause or fix), or None.
    """

    what: str
    old: tuple[str, str, str] | None
    new: tuple[str, str, str] | None
    server: dict[str, Any] = field(default_factory=dict)
    credentials: Credentials = TOKEN
    options: dict[str, Any] = field(default_factory=dict)
    also: str = ""
    """A rule that is found beside, in 3.1.1."""

    def __str__(self) -> str:
        return self.what


def basic(**given: Any) -> Credentials:
    return Credentials(**{"client_id": "dev-1", "username": "user", **given})


def closing_on(code: int | None) -> dict[str, Any]:
    return {"faults": (knobs.ClosedOnPublish(code),)}


REFUSED, BAD = "mqtt.not-authorized", "mqtt.bad-credentials"
NO_NAME, AWAY = "mqtt.identifier-rejected", "mqtt.server-unavailable"
PROVISION = ("mqtt.provision-session", "", "for requesting credentials and nothing else")
PROFILE = "profile's transport type is not MQTT"
UNKNOWN = "No device of this installation has this access token"
NAMELESS = "CONNECT carried no username"
PAIR = "match no MQTT Basic credentials"
CLOSED = ("mqtt.closed-before-connack", "ended the connection before CONNACK", "blocked")
CLOSED_5 = (*CLOSED[:2], "does not speak MQTT 5")

CONNECTS = [
    Row("valid token", None, None),
    Row(
        "valid token and any password",
        None,
        None,
        credentials=basic(username=DEFAULT_TOKEN, password=Secret("whatever"), client_id="any"),
    ),
    Row("valid MQTT Basic", None, None, {"devices": [BASIC]}, basic(password=Secret("a-password"))),
    Row(
        "unknown token",
        (REFUSED, "Return code 5 ", UNKNOWN),
        (BAD, "0x86", UNKNOWN),
        {"devices": []},
    ),
    Row(
        "unknown token, 3.5.1",
        (REFUSED, "Return code 5 ", UNKNOWN),
        (BAD, "0x86", UNKNOWN),
        {"devices": [], "generation": "3.5.1"},
    ),
    Row(
        "unknown token, 3.5.0",
        (BAD, "Return code 4 ", "3.5.0"),
        (BAD, "0x86", UNKNOWN),
        {"devices": [], "generation": "3.5.0"},
    ),
    Row(
        "unknown token, 3.4",
        (REFUSED, "Return code 5 ", UNKNOWN),
        CLOSED_5,
        {"devices": [], "generation": "3.4"},
    ),
    Row(
        "user and password unknown",
        (REFUSED, "Return code 5 ", PAIR),
        (BAD, "0x86", PAIR),
        {"devices": []},
        basic(password=Secret("a-password")),
    ),
    Row(
        "wrong password",
        (REFUSED, "Return code 5 ", PAIR),
        (BAD, "0x86", PAIR),
        {"devices": [BASIC]},
        basic(password=Secret("another-one")),
    ),
    Row(
        "no username",
        (NO_NAME, "Return code 2 ", NAMELESS),
        (NO_NAME, "0x85", NAMELESS),
        credentials=Credentials(client_id="dev"),
    ),
    Row(
        "no username, 3.4",
        (REFUSED, "Return code 5 ", "match no MQTT Basic"),
        CLOSED_5,
        {"generation": "3.4"},
        Credentials(client_id="dev"),
    ),
    Row(
        "no username, blank client id",
        (REFUSED, "Return code 5 ", ""),
        (REFUSED, "0x87", ""),
        credentials=Credentials(client_id=" "),
    ),
    Row(
        "empty username",
        (REFUSED, "Return code 5 ", PAIR),
        (BAD, "0x86", PAIR),
        credentials=basic(username=""),
    ),
    Row(
        "profile of CoAP",
        (AWAY, "Return code 3 ", PROFILE),
        (AWAY, "0x88", PROFILE),
        {"profile": "coap"},
    ),
    Row(
        "Sparkplug profile",
        (AWAY, "Return code 3 ", "Sparkplug"),
        (AWAY, "0x88", "Sparkplug"),
        {"profile": "sparkplug"},
    ),
    Row(
        "limit at session open",
        (AWAY, "Return code 3 ", "limit"),
        ("mqtt.quota-exceeded", "0x9F", "limit"),
        {"faults": (knobs.ForcedConnack(3, 0x9F),)},
    ),
    Row(
        "limit at session open, before 3.7",
        (AWAY, "Return code 3 ", "limit"),
        (AWAY, "0x88", "limit"),
        {"faults": (knobs.ForcedConnack(3, 0x88),)},
    ),
    Row(
        "core does not answer",
        (AWAY, "Return code 3 ", "core"),
        (AWAY, "0x88", "core"),
        {"faults": (knobs.ForcedConnack(3, 0x88),)},
    ),
    Row(
        "provision as Client Identifier",
        PROVISION,
        PROVISION,
        credentials=Credentials(token=Secret(DEFAULT_TOKEN), client_id="provision"),
    ),
    Row(
        "provision as username", PROVISION, PROVISION, credentials=Credentials(username="provision")
    ),
    Row("CONNECT does not decode", CLOSED, CLOSED_5, {"faults": (knobs.ClosedBeforeConnack(),)}),
    Row(
        "session present on a refusal",
        (REFUSED, "Return code 5 ", UNKNOWN),
        (BAD, "0x86", UNKNOWN),
        {"devices": [], "faults": (knobs.SessionPresent(),)},
    ),
    Row("session present when accepted", None, None, {"faults": (knobs.SessionPresent(),)}),
    Row("CONNACK after 3 s", None, None, {"faults": (knobs.DelayedConnack(3),)}),
    Row("byte by byte", None, None, {"faults": (knobs.ByteByByte(),)}),
    Row(
        "refusal byte by byte",
        (REFUSED, "Return code 5 ", UNKNOWN),
        (BAD, "0x86", UNKNOWN),
        {"devices": [], "faults": (knobs.ByteByByte(),)},
    ),
]

TOPIC, PAYLOAD = "mqtt.publish-topic-rejected", "mqtt.publish-payload-rejected"
SILENT, ENDED = "mqtt.publish-no-puback", "mqtt.publish-closed"
LARGE = ("mqtt.publish-too-large", "bytes", "NETTY_MAX_PAYLOAD_SIZE")
UNPROVEN = "mqtt.publish-unproven"
GATEWAY = {"topic": "v1/gateway/telemetry", "payload": b'{"A":[{"values":{"t":1}}]}'}
SHORT = {"timeout": 2.0}

PUBLISHES = [
    Row("default topic, valid JSON", None, None, also=UNPROVEN),
    Row("array of objects", None, None, options={"payload": b'[{"t":1},{"t":2}]'}, also=UNPROVEN),
    Row(
        "unknown topic",
        None,
        (TOPIC, "0x90", "is no topic of ThingsBoard's device API"),
        options={"topic": "my/topic"},
        also=UNPROVEN,
    ),
    Row(
        "custom topic filter",
        None,
        (TOPIC, "0x90", "telemetry topics of its own; v2/t/j took"),
        {"profile": "custom-topic"},
        also=UNPROVEN,
    ),
    Row(
        "v2 topic in a custom profile",
        None,
        None,
        {"profile": "custom-topic"},
        options={"topic": "v2/t/j"},
        also=UNPROVEN,
    ),
    Row(
        "not JSON",
        (PAYLOAD, "v1/devices/me/telemetry: the server closed", "not JSON"),
        (PAYLOAD, "0x99", "not JSON"),
        options={"payload": b"hello world"},
    ),
    Row(
        "not JSON, acknowledged by profile",
        None,
        (PAYLOAD, "0x99", "not JSON"),
        {"devices": [LENIENT]},
        options={"payload": b"hello world"},
        also=UNPROVEN,
    ),
    Row(
        "Protobuf profile",
        (PAYLOAD, "the server closed", "wants Protobuf: v2/t/j took"),
        (PAYLOAD, "0x99", "wants Protobuf: v2/t/j took"),
        {"profile": "protobuf"},
    ),
    Row(
        "gateway topic, no gateway",
        (SILENT, "No PUBACK", "not marked as a gateway"),
        (SILENT, "No PUBACK", "not marked as a gateway"),
        options={**GATEWAY, **SHORT},
    ),
    Row(
        "gateway topic, gateway",
        None,
        None,
        {"devices": [Device(token=DEFAULT_TOKEN, gateway=True)]},
        options=GATEWAY,
        also=UNPROVEN,
    ),
    Row(
        "empty array",
        (SILENT, "No PUBACK", "empty array"),
        (SILENT, "No PUBACK", "empty array"),
        options={"payload": b"[]", **SHORT},
    ),
    Row(
        "rate limit",
        (ENDED, "the server closed", "rate limit"),
        (ENDED, "DISCONNECT 0x83", "rate limit"),
        closing_on(0x83),
    ),
    Row(
        "queue error, before 3.7",
        (ENDED, "the server closed", "queue fails"),
        (ENDED, "the server closed", "queue fails"),
        {**closing_on(0x83), "generation": "3.5.1"},
    ),
    Row(
        "QoS 2",
        (SILENT, "No PUBACK", "does not know QoS 2"),
        (SILENT, "No PUBACK", "does not know QoS 2"),
        options={"qos": 2, **SHORT},
    ),
    Row("too large", LARGE, LARGE, options={"payload": b'{"b":"' + b"x" * 70_000 + b'"}'}),
    Row(
        "never acknowledged",
        (SILENT, "No PUBACK", "queue"),
        (SILENT, "No PUBACK", "queue"),
        {"faults": (knobs.NoPuback(),)},
        options=SHORT,
    ),
    Row(
        "quota",
        None,
        ("mqtt.quota-exceeded", "0x97", "limit"),
        {"faults": (knobs.ForcedPuback(0x97),)},
        also=UNPROVEN,
    ),
    Row(
        "access rules",
        None,
        (TOPIC, "0x87", "access rules"),
        {"faults": (knobs.ForcedPuback(0x87),)},
        also=UNPROVEN,
    ),
    Row(
        "unspecified error",
        None,
        ("mqtt.publish-refused", "0x80", "not this message"),
        {"faults": (knobs.ForcedPuback(0x80),)},
        also=UNPROVEN,
    ),
    Row("nobody subscribes", None, None, {"faults": (knobs.ForcedPuback(0x10),)}, also=UNPROVEN),
]


def diagnose(row: Row, version: str) -> Report:
    with Broker(**row.server) as broker:
        target = Target("127.0.0.1", broker.port, Transport.MQTT, credentials=row.credentials)
        options = {"compare_web": False, "timeout": 15.0, **row.options}
        return check(target, Options(mqtt_version=version, **options))


@VERSIONS
@pytest.mark.parametrize("row", CONNECTS + PUBLISHES, ids=str)
def test_every_row_of_the_reference(row: Row, version: str) -> None:
    """What ThingsBoard answers gives one root cause, which names the code and says the cause."""
    report = diagnose(row, version)
    expected = row.new if version == "5" else row.old
    found = {f.rule for f in report.findings}
    assert "tbdiag.unexplained" not in found
    if expected is None:
        assert report.primary is None, report.root_cause
    else:
        rule, seen, words = expected
        cause = report.root_cause
        assert cause is not None
        assert (cause.rule, seen in cause.message) == (rule, True), cause
        assert words in f"{cause.cause} {cause.fix}", cause
    if version == "3.1.1" and row.also:
        assert row.also in found


@VERSIONS
def test_a_healthy_server_over_tls(tmp_path: Any, version: str) -> None:
    """Every stage is ok over TLS, in both versions."""
    root = Authority.root()
    (tmp_path / "ca.pem").write_bytes(root.pem())
    with Broker(tls=Tls(root.issue_server())) as broker:
        cafile = (str(tmp_path / "ca.pem"),)
        target = Target("localhost", broker.port, cafile=cafile, credentials=TOKEN)
        report = check(target, Options(mqtt_version=version, timeout=15.0))
    assert report.primary is None
    assert {s.status for s in report.stages} == {"ok", "not-applicable"}
    assert report.stage("mqtt.connect").evidence.version == version


def test_a_blocked_address_is_met_before_tls(tmp_path: Any) -> None:
    """ThingsBoard closes on a blocked address before any byte: the TLS stage names that cause."""
    with Closing() as server:
        target = Target("localhost", server.port, cafile=("public",), credentials=TOKEN)
        report = check(target, Options(compare_web=False, timeout=5.0))
    assert report.primary == "tls.closed-in-handshake"
    assert report.root_cause
    assert "blocks this address" in report.root_cause.cause
