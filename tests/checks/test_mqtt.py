"""The MQTT checks against the sandbox's broker, mosquitto, and servers that misbehave."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tbdiag import Options, Report, Secret, Target, Transport, check
from tbdiag.checks import mqtt as checks
from tbdiag.checks._mqtt_session import Link
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import (
    AttributesEvidence,
    CaEvidence,
    CaSource,
    MqttConnectEvidence,
    PublishEvidence,
    TcpEvidence,
)
from tbdiag.fact import replace
from tbdiag.model import Credentials
from tbdiag.protocol.x509 import parse_certificate
from tbdiag.registry import Blocked, Observation
from tbdiag.sandbox import knobs
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.faults import Banner, Closing, Dripping, Resetting, Silent
from tbdiag.sandbox.profile import DEFAULT_TOKEN, PROFILES, Device
from tests.brokers import Mosquitto

VERSIONS = ["5", "3.1.1"]


def plain(port: int, token: str = DEFAULT_TOKEN, **changes: object) -> Target:
    credentials = Credentials(token=Secret(token))
    target = Target("127.0.0.1", port, Transport.MQTT, credentials=credentials)
    return replace(target, **changes)  # type: ignore[arg-type]


def anchors(*authorities: Authority) -> CaEvidence:
    found = tuple(parse_certificate(a.certificate.public_bytes(_DER)) for a in authorities)
    return CaEvidence((CaSource("ca.pem", "file", "ca.pem", certificates=found),))


def _der() -> object:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER


_DER = _der()


@contextmanager
def running(
    target: Target, ca: CaEvidence | None = None, seconds: float = 10, **options: object
) -> Iterator[Run]:
    """A run whose TCP stage connected to 127.0.0.1; closed in the end."""
    run = Run(target, Options(**options), datetime.now(UTC), Deadline.after(seconds))  # type: ignore[arg-type]
    run._evidence[TcpEvidence] = TcpEvidence((), "127.0.0.1")
    if ca:
        run._evidence[CaEvidence] = ca
    try:
        yield run
    finally:
        run.close()


def connect(run: Run) -> MqttConnectEvidence:
    seen = checks.connect(run)
    assert isinstance(seen, Observation)
    return seen.evidence


def publish(run: Run) -> PublishEvidence:
    seen = checks.publish(run)
    assert isinstance(seen, Observation)
    return seen.evidence


def attributes(run: Run) -> AttributesEvidence:
    seen = checks.attributes(run)
    assert isinstance(seen, Observation)
    return seen.evidence


def diagnose(target: Target, **options: object) -> Report:
    return check(target, Options(**{"compare_web": False, "timeout": 15.0, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_healthy_broker_accepts_takes_and_answers(version: str) -> None:
    """With 5 and with 3.1.1 the session opens, the message is acknowledged, `{}` comes back."""
    with Broker() as broker, running(plain(broker.port), mqtt_version=version) as run:
        seen = connect(run)
        assert (seen.accepted, seen.version, seen.last.outcome) == (True, version, "accepted")
        assert publish(run).delivered
        assert attributes(run).response == b"{}"


def test_the_session_is_clean_and_its_identifier_random() -> None:
    """CONNECT asks for a clean session under an identifier that no device has."""
    with Broker() as broker:
        for _ in range(2):
            with running(plain(broker.port)) as run:
                connect(run)
        first, second = broker.connects
    assert first.clean_session
    assert second.clean_session
    assert first.client_id != second.client_id
    assert first.client_id.startswith("tbdiag-")
    assert (first.username, first.password) == (DEFAULT_TOKEN, None)


def test_the_session_ends_with_disconnect() -> None:
    """Leaving says DISCONNECT, so that the server sees no fault."""
    with Broker() as broker:
        with running(plain(broker.port)) as run:
            connect(run)
        broker.wait_for("disconnect")


@pytest.mark.parametrize("fault", [None, knobs.Version5Refused(), knobs.ForcedConnack(None, 0x84)])
def test_an_older_server_is_spoken_to_in_3_1_1(fault: knobs.Fault | None) -> None:
    """A close, Return code 1 and Reason Code 0x84 all lead to 3.1.1; the report has both."""
    generation = "3.4" if fault is None else "4.x"
    faults = (fault,) if fault else ()
    with Broker(generation=generation, faults=faults) as broker, running(plain(broker.port)) as run:
        seen = connect(run)
    assert [a.version for a in seen.attempts] == ["5", "3.1.1"]
    assert seen.version == "3.1.1"


def test_an_explicit_version_is_the_only_one_tried() -> None:
    """`--mqtt-version 5` does not fall back."""
    with Broker(generation="3.4") as broker, running(plain(broker.port), mqtt_version="5") as run:
        seen = connect(run)
    assert [a.outcome for a in seen.attempts] == ["closed"]


def test_connack_arrives_late_and_byte_by_byte() -> None:
    """A CONNACK after a second, one byte at a time, is still a CONNACK."""
    faults = (knobs.DelayedConnack(1), knobs.ByteByByte())
    with Broker(faults=faults) as broker, running(plain(broker.port)) as run:
        seen = connect(run)
        assert seen.accepted
        assert seen.last.elapsed_ms >= 1000
        assert publish(run).delivered
        assert attributes(run).answered


def test_reason_string_and_properties_are_kept() -> None:
    """What paho hides is in the evidence: the reason string and the properties of CONNACK."""
    fault = knobs.ReasonString("not you", {"server_reference": "other:1883"})
    with Broker([], faults=(fault,)) as broker, running(plain(broker.port)) as run:
        last = connect(run).last
    assert (last.outcome, last.code, last.reason_string) == ("refused", 0x86, "not you")
    assert last.properties["server_reference"] == "other:1883"


def test_an_unknown_reason_code_is_reported_as_it_came() -> None:
    """A code that no specification has neither raises nor becomes another one."""
    fault = knobs.ForcedConnack(reason_code=0xF3)
    with Broker(faults=(fault,)) as broker, running(plain(broker.port)) as run:
        last = connect(run).last
    assert (last.code, last.code_name) == (0xF3, "unknown code 0xF3")


def test_session_present_on_a_refusal_is_read() -> None:
    """ThingsBoard sets session present on refusals, against the specification."""
    with (
        Broker([], faults=(knobs.SessionPresent(),)) as broker,
        running(plain(broker.port), mqtt_version="3.1.1") as run,
    ):
        last = connect(run).last
    assert (last.code, last.session_present) == (5, True)


@pytest.mark.parametrize("reset", [False, True])
def test_close_and_reset_before_connack_are_one_outcome(reset: bool) -> None:
    """Which of the two the client sees is a race, so both are `closed`, twenty times of twenty."""
    with Broker(faults=(knobs.ClosedBeforeConnack(reset),)) as broker:
        for _ in range(20):
            with running(plain(broker.port)) as run:
                assert [a.outcome for a in connect(run).attempts] == ["closed", "closed"]


def test_a_silent_server_ends_with_the_deadline() -> None:
    """Never a CONNACK: `no-connack`, when the stage's time is up and not later."""
    with Silent() as server, running(plain(server.port), seconds=0.5) as run:
        started = time.monotonic()
        assert connect(run).last.outcome == "no-connack"
        assert time.monotonic() - started < 1.0


def test_a_dripping_server_ends_with_the_deadline() -> None:
    """One byte now and then does not prolong the stage."""
    with (
        Dripping(data=b"\x20\x7f", seconds=0.1) as server,
        running(plain(server.port), seconds=0.8) as run,
    ):
        started = time.monotonic()
        assert connect(run).last.outcome == "no-connack"
        assert time.monotonic() - started < 1.4


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not-mqtt"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not-mqtt"),
        (b"220 mail ESMTP\r\n", "not-mqtt"),
        (b"\x20\x02\xff\xff", "not-mqtt"),
        (b"\x15\x03\x03\x00\x02\x02\x0a", "tls-port"),
    ],
)
def test_the_first_bytes_tell_what_it_is(data: bytes, outcome: str) -> None:
    """HTTP, SSH, SMTP, garbage and a TLS alert are told apart from a CONNACK at once."""
    with Banner(data) as server, running(plain(server.port)) as run:
        last = connect(run).last
    assert last.outcome == outcome
    assert last.first_bytes == data[:64]


@pytest.mark.parametrize("server", [Closing, Resetting])
def test_a_server_that_closes_at_once(server: type[Closing]) -> None:
    """A close before CONNECT was read is the same outcome as one after it."""
    with server() as raw, running(plain(raw.port)) as run:
        assert connect(run).last.outcome == "closed"


def test_a_plain_client_meets_a_tls_port(root: Authority) -> None:
    """The TLS server's alert shows what the port is."""
    with Broker(tls=Tls(root.issue_server())) as broker, running(plain(broker.port)) as run:
        assert connect(run).last.outcome == "tls-port"


def test_the_channel_verifies_again_with_the_ca_file_only(root: Authority) -> None:
    """With other trust anchors the channel that carries the token does not come about."""
    stranger = Authority.root("stranger")
    with Broker(tls=Tls(root.issue_server())) as broker:
        target = plain(broker.port, host="localhost", transport=Transport.MQTTS)
        with running(target, anchors(root)) as run:
            assert connect(run).accepted
        before = broker.received_bytes().count(DEFAULT_TOKEN.encode())
        with running(target, anchors(stranger)) as run:
            last = connect(run).last
        assert broker.received_bytes().count(DEFAULT_TOKEN.encode()) == before
    assert last.outcome == "tls-failed"
    assert "certificate verify failed" in last.detail


def test_the_channel_checks_the_reference_name(root: Authority) -> None:
    """The right CA and the wrong name: the token is not sent."""
    with Broker(tls=Tls(root.issue_server("other.example"))) as broker:
        target = plain(broker.port, host="localhost", transport=Transport.MQTTS)
        with running(target, anchors(root)) as run:
            assert connect(run).last.outcome == "tls-failed"
        with running(replace(target, server_name="other.example"), anchors(root)) as run:
            assert connect(run).accepted
        assert broker.received_bytes().count(DEFAULT_TOKEN.encode()) == 1


@pytest.mark.parametrize("name", ["localhost.", "LOCALHOST"])
def test_a_final_dot_and_case_do_not_matter(root: Authority, name: str) -> None:
    """`localhost.` is the same name as `localhost` (RFC 9525 section 6.3)."""
    with Broker(tls=Tls(root.issue_server())) as broker:
        target = plain(broker.port, host=name, transport=Transport.MQTTS)
        with running(target, anchors(root)) as run:
            assert connect(run).accepted


def test_insecure_connects_without_verification(root: Authority) -> None:
    """`--insecure` goes on although no trust anchor fits."""
    with Broker(tls=Tls(root.issue_server())) as broker:
        target = plain(broker.port, transport=Transport.MQTTS)
        with running(target, anchors(Authority.root("stranger")), insecure=True) as run:
            assert connect(run).accepted


def test_an_intermediate_is_an_anchor_only_for_stacks_that_take_it(root: Authority) -> None:
    """A partial chain is accepted when the deciding client accepts one, and not otherwise."""
    middle = root.intermediate("middle")
    with Broker(tls=Tls(middle.issue_server())) as broker:
        target = plain(broker.port, host="localhost", transport=Transport.MQTTS)
        with running(target, anchors(middle), client="openssl") as run:
            assert connect(run).last.outcome == "tls-failed"
        with running(target, anchors(middle), client="mbedtls") as run:
            assert connect(run).accepted


def test_an_unreadable_client_key_is_a_fact_not_an_exception(
    root: Authority, tmp_path: Path
) -> None:
    """A client key that cannot be loaded is the attempt's outcome; nothing is sent."""
    (tmp_path / "c.pem").write_bytes(root.issue_client().pem())
    (tmp_path / "k.pem").write_text("no key")
    files = {"certfile": str(tmp_path / "c.pem"), "keyfile": str(tmp_path / "k.pem")}
    credentials = Credentials(token=Secret(DEFAULT_TOKEN), **files)  # type: ignore[arg-type]
    with Broker(tls=Tls(root.issue_server())) as broker:
        target = plain(broker.port, transport=Transport.MQTTS, credentials=credentials)
        with running(target, anchors(root)) as run:
            assert connect(run).last.outcome == "tls-failed"
        assert broker.log == ()


def test_the_user_is_told_before_connecting() -> None:
    """The live device's session is at stake: one sentence goes out before CONNECT does."""
    told: list[str] = []
    with Broker() as broker, running(plain(broker.port)) as run:
        run.notify = told.append
        connect(run)
    assert len(told) == 1
    assert "--no-connect" in told[0]


def test_no_connect_leaves_every_mqtt_stage_out() -> None:
    """`--no-connect` opens no session at all."""
    with Broker() as broker:
        report = diagnose(plain(broker.port), connect=False)
        assert broker.connects == ()
    assert {report.stage(f"mqtt.{s}").status for s in ("connect", "publish", "attributes")} == {
        "not-applicable"
    }


def test_everything_after_connack_takes_one_flight() -> None:
    """SUBSCRIBE, the attribute request and the test message leave without waiting for each other.

    The broker answers no PUBACK, so a stage that waited for one would never send the next packet.
    """
    with Broker(faults=(knobs.NoPuback(),)) as broker:
        report = diagnose(plain(broker.port), timeout=3.0)
        assert len(broker.publishes) == 2
    assert report.stage("mqtt.attributes").status == "ok"
    assert report.primary == "mqtt.publish-no-puback"


@pytest.mark.parametrize("version", VERSIONS)
def test_round_trip_reads_back_what_it_wrote(version: str) -> None:
    """`--round-trip` proves storage with a client attribute of its own."""
    with Broker() as broker:
        with running(plain(broker.port), mqtt_version=version, round_trip=True) as run:
            connect(run)
            assert publish(run).round_trip is True
        topics = [p.topic for p in broker.publishes]
    assert "v1/devices/me/attributes" in topics


def test_round_trip_says_when_nothing_comes_back() -> None:
    """An attribute that cannot be read back is not called stored."""
    with (
        Broker(faults=(knobs.NoAttributeResponse(),)) as broker,
        running(plain(broker.port), seconds=1, round_trip=True) as run,
    ):
        connect(run)
        assert publish(run).round_trip is False


@pytest.mark.parametrize("version", VERSIONS)
def test_the_probe_tells_a_protobuf_profile(version: str) -> None:
    """What v1 refuses and v2/t/j takes, twice over one reconnection at most, is the profile."""
    with Broker(profile="protobuf") as broker:
        for _ in range(5):
            report = diagnose(plain(broker.port), mqtt_version=version)
            assert report.primary == "mqtt.publish-payload-rejected"
            root_cause = report.root_cause
            assert root_cause
            assert "Protobuf" in root_cause.cause
        assert len(broker.connects) <= 10


@pytest.mark.parametrize("version", VERSIONS)
def test_a_late_request_stays_off_the_session_that_the_test_publish_reopened(version: str) -> None:
    """The request alone can close a session, so on a reopened one it could pass for the probe."""
    with (
        Broker(profile="protobuf") as broker,
        running(plain(broker.port), mqtt_version=version) as run,
    ):
        connect(run)
        link = run.kept(Link)
        assert link
        fresh = link.again(link.session, run.deadline)
        assert fresh
        link.closed_on_publish = True
        link.publishing_ended.set()
        assert isinstance(checks.attributes(run), Blocked)
        assert fresh.ping(run.deadline)
        assert broker.publishes == ()


def test_a_closed_session_is_opened_again_once_only() -> None:
    """A server that closes on every message sees two CONNECTs."""
    with Broker(faults=(knobs.ClosedOnPublish(),)) as broker:
        report = diagnose(plain(broker.port))
        assert len(broker.connects) == 2
    assert report.primary == "mqtt.publish-closed"
    assert report.stage("mqtt.attributes").blocked_by == "mqtt.publish"


@pytest.mark.parametrize("code", [0x8E, None])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_takeover_is_the_same_every_time(code: int | None, version: str) -> None:
    """Whenever the close is noticed, before or after the message left, the primary is one."""
    with Broker(faults=(knobs.DisconnectedAfterConnack(code),)) as broker:
        for _ in range(10):
            report = diagnose(plain(broker.port), mqtt_version=version)
            assert report.primary == "mqtt.session-takeover"
            assert "tbdiag.unexplained" not in {f.rule for f in report.findings}


def test_a_broker_that_closes_on_the_request_alone_delivers() -> None:
    """A broker that drops whoever asks for attributes has still taken the message."""

    class DropsRequests(knobs.Fault):
        def publish(self, session: object, publish: object) -> bool:
            if "/request/" in publish.topic:  # type: ignore[attr-defined]
                session.end()  # type: ignore[attr-defined]
                return True
            return False

    with Broker(faults=(DropsRequests(),)) as broker:
        for _ in range(5):
            report = diagnose(plain(broker.port))
            assert report.primary is None
            assert {"mqtt.attributes-no-response"} <= {f.rule for f in report.findings}
            assert report.stage("mqtt.publish").status == "ok"


def test_qos_0_waits_for_a_ping_only() -> None:
    """QoS 0 has no PUBACK: the message counts as sent when the session outlived it."""
    with Broker() as broker, running(plain(broker.port), qos=0) as run:
        connect(run)
        seen = publish(run)
        assert (seen.first.outcome, seen.delivered) == ("sent", False)
        assert [p.qos for p in broker.publishes] == [0]


def test_qos_2_is_not_finished_by_thingsboard() -> None:
    """ThingsBoard answers QoS 2 with PUBACK, where every client waits for PUBREC."""
    with Broker() as broker:
        report = diagnose(plain(broker.port), qos=2)
    assert report.primary == "mqtt.publish-no-puback"
    assert report.root_cause
    assert "QoS 2" in report.root_cause.cause


def test_a_topic_that_cannot_be_published_to_is_a_usage_error() -> None:
    """A wildcard in `--topic` is the user's slip, not the server's fault."""
    from tbdiag.errors import UsageError

    with Broker() as broker, running(plain(broker.port), topic="a/#") as run:
        connect(run)
        with pytest.raises(UsageError, match="a/#"):
            checks.publish(run)


def test_mqtt_basic_credentials() -> None:
    """Client Identifier, username and password are sent as they were given."""
    device = Device(client_id="dev-1", username="user", password="a-password")
    credentials = Credentials(username="user", password=Secret("a-password"), client_id="dev-1")
    with Broker([device]) as broker, running(plain(broker.port, credentials=credentials)) as run:
        seen = connect(run)
    assert (seen.accepted, seen.credentials, seen.client_identifier) == (True, "basic", "dev-1")


def test_stages_without_a_session_are_blocked() -> None:
    """Publish and attributes have nothing to work with when no session was kept."""
    with Broker([]) as broker, running(plain(broker.port)) as run:
        connect(run)
        assert checks.publish(run) == Blocked("mqtt.connect", "there is no MQTT session")
        assert checks.attributes(run) == Blocked("mqtt.connect", "there is no MQTT session")


def test_the_token_is_not_sent_when_the_server_is_not_verified(
    root: Authority, tmp_path: Path
) -> None:
    """End to end: a wrong CA file, and the token is nowhere in what the server received."""
    (tmp_path / "ca.pem").write_bytes(Authority.root("stranger").pem())
    with Broker(tls=Tls(root.issue_server())) as broker:
        target = plain(broker.port, transport=Transport.MQTTS, cafile=(str(tmp_path / "ca.pem"),))
        report = diagnose(target)
        assert DEFAULT_TOKEN.encode() not in broker.received_bytes()
        assert broker.connects == ()
    assert report.stage("mqtt.connect").blocked_by == "tls.verify"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("registered", [False, True])
def test_an_x509_device(root: Authority, tmp_path: Path, version: str, registered: bool) -> None:
    """A client certificate that is not registered is refused, and the text is about it."""
    client = root.issue_client()
    (tmp_path / "ca.pem").write_bytes(root.pem())
    (tmp_path / "c.pem").write_bytes(client.pem())
    (tmp_path / "k.pem").write_bytes(client.key_pem())
    device = Device(fingerprint=client.fingerprint if registered else "00")
    credentials = Credentials(certfile=str(tmp_path / "c.pem"), keyfile=str(tmp_path / "k.pem"))
    with Broker([device], tls=Tls(root.issue_server())) as broker:
        cafile = (str(tmp_path / "ca.pem"),)
        target = Target("localhost", broker.port, credentials=credentials, cafile=cafile)
        report = diagnose(target, mqtt_version=version)
    assert report.primary == (None if registered else "mqtt.not-authorized")
    if report.root_cause:
        assert "client certificate" in report.root_cause.cause


CODES = [
    ("3.1.1", 1, "mqtt.protocol-version"),
    ("3.1.1", 2, "mqtt.identifier-rejected"),
    ("3.1.1", 3, "mqtt.server-unavailable"),
    ("3.1.1", 4, "mqtt.bad-credentials"),
    ("3.1.1", 5, "mqtt.not-authorized"),
    ("5", 0x84, "mqtt.protocol-version"),
    ("5", 0x85, "mqtt.identifier-rejected"),
    ("5", 0x86, "mqtt.bad-credentials"),
    ("5", 0x87, "mqtt.not-authorized"),
    ("5", 0x88, "mqtt.server-unavailable"),
    ("5", 0x89, "mqtt.server-unavailable"),
    ("5", 0x8A, "mqtt.banned"),
    ("5", 0x97, "mqtt.quota-exceeded"),
    ("5", 0x9F, "mqtt.quota-exceeded"),
]


@pytest.mark.parametrize(("version", "code", "rule"), CODES)
def test_every_connack_code(version: str, code: int, rule: str) -> None:
    """Each Return code and Reason Code of CONNACK has its rule, and exactly one error."""
    fault = knobs.ForcedConnack(code if version == "3.1.1" else None, code)
    with Broker(faults=(fault,)) as broker:
        report = diagnose(plain(broker.port), mqtt_version=version)
    assert [f.rule for f in report.findings if f.severity == "error"] == [rule]
    assert report.root_cause
    number = f"0x{code:02X}" if code >= 0x80 else f"Return code {code}"
    assert number in report.root_cause.message


def test_a_profile_that_acknowledges_invalid_payloads_proves_nothing() -> None:
    """With "Send PUBACK on validation failure" 3.1.1 acknowledges garbage: unproven, not ok."""
    profile = replace(PROFILES["default"], ack_invalid=True)
    with Broker([Device(token=DEFAULT_TOKEN, profile=profile)]) as broker:
        report = diagnose(plain(broker.port), mqtt_version="3.1.1", payload=b"hello")
    assert report.primary is None
    assert "mqtt.publish-unproven" in {f.rule for f in report.findings}


@pytest.mark.parametrize("version", ["auto", "5", "3.1.1"])
def test_mosquitto_tls(mosquitto: Mosquitto, mosquitto_device: Credentials, version: str) -> None:
    """Every stage is ok but attributes: a warning that says that nobody answers."""
    target = Target(
        "localhost", mosquitto.tls_port, cafile=(mosquitto.cafile,), credentials=mosquitto_device
    )
    report = diagnose(target, mqtt_version=version)
    assert report.primary is None
    assert report.stage("mqtt.connect").status == "ok"
    assert report.stage("mqtt.publish").status == "ok"
    assert report.stage("mqtt.attributes").status == "warning"


def test_mosquitto_plain(mosquitto: Mosquitto, mosquitto_device: Credentials) -> None:
    """Plain MQTT works end to end and says that the token travels in clear."""
    report = diagnose(plain(mosquitto.port, credentials=mosquitto_device))
    assert report.verdict == "warning"
    assert "mqtt.token-in-clear" in {f.rule for f in report.findings}


def test_mosquitto_a_general_broker_is_not_waited_for(
    mosquitto: Mosquitto, mosquitto_device: Credentials
) -> None:
    """PUBACK 0x10 says that nobody will answer: the stage ends at once."""
    with running(plain(mosquitto.port, credentials=mosquitto_device), publish=False) as run:
        connect(run)
        seen = attributes(run)
    assert (seen.answered, seen.puback_code) == (False, 0x10)
    assert seen.elapsed_ms < checks.QUIET * 1000


@pytest.mark.parametrize(
    ("version", "rule"), [("5", "mqtt.not-authorized"), ("3.1.1", "mqtt.not-authorized")]
)
def test_mosquitto_a_wrong_token(mosquitto: Mosquitto, version: str, rule: str) -> None:
    """mosquitto refuses an unknown username with Return code 5 or Reason Code 0x87."""
    report = diagnose(plain(mosquitto.port, "AnotherToken12345678"), mqtt_version=version)
    assert report.primary == rule


def test_mosquitto_plain_client_on_the_tls_port(
    mosquitto: Mosquitto, mosquitto_device: Credentials
) -> None:
    """A plain CONNECT to the TLS listener is told from a broken mosquitto."""
    report = diagnose(plain(mosquitto.tls_port, credentials=mosquitto_device))
    assert report.primary == "mqtt.tls-port"
