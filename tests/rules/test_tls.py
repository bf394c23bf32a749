"""tls.*: every way in which a handshake ends has exactly one explanation."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tbdiag import registry
from tbdiag.context import Case
from tbdiag.evidence import (
    Alert,
    Certificate,
    ClientDecision,
    HandshakeEvidence,
    NameMatch,
    VerifyEvidence,
)
from tbdiag.model import Credentials, Finding, Options, Severity, Target
from tbdiag.pipeline import primary_of
from tbdiag.protocol.tls_names import ALERTS
from tbdiag.protocol.x509 import parse_certificate
from tbdiag.rules._handshake import fault_of
from tbdiag.sandbox.authority import Authority

registry.load("rules")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
RULES = [r for r in registry.RULES.values() if r.id.startswith(("tls.", "tcp.reset"))]
TARGET = Target("broker.example", credentials=Credentials(certfile="my cert.pem", keyfile="k.pem"))
OUTCOMES = (
    *("not-tls", "closed", "reset", "timeout", "alert", "late-alert", "late-close"),
    *("protocol-error", "client-key-mismatch", "client-certificate-unreadable", "something-new"),
)


def certificate(name: str = "broker.example", **options: object) -> Certificate:
    issued = Authority.root("R", now=NOW).issue_server(name, **options)  # type: ignore[arg-type]
    return parse_certificate(issued.certificate.public_bytes(Encoding.DER))


SERVER = certificate()


def evidence(outcome: str, **fields: object) -> HandshakeEvidence:
    return HandshakeEvidence(
        "broker.example", established=outcome == "established", outcome=outcome, **fields
    )  # type: ignore[arg-type]


def received(code: int) -> tuple[Alert, ...]:
    return (Alert("received", "fatal", code, ALERTS[code]),)


def sent(code: int) -> tuple[Alert, ...]:
    return (Alert("sent", "fatal", code, ALERTS[code]),)


def judged(*things: object, target: Target = TARGET, **options: object) -> list[Finding]:
    given = Options(**options)  # type: ignore[arg-type]
    case = Case(target, given, NOW, {type(thing): thing for thing in things})
    return [finding for rule in RULES for finding in rule.findings(case)]


def only(thing: object, target: Target = TARGET) -> Finding:
    (finding,) = judged(thing, target=target)
    return finding


def test_an_established_handshake_has_none() -> None:
    """A handshake that stands gives no finding."""
    assert judged(evidence("established")) == []


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_end_has_exactly_one_error(outcome: str) -> None:
    """Whatever else was seen, one rule and only one explains the end."""
    for alerts, speaks, unprovoked, requested, proved, chain in itertools.product(
        [(), *(received(code) for code in ALERTS), sent(70), sent(50)],
        [None, "mqtt", "http", "unknown"],
        [None, "reset", "closed", "silent"],
        [False, True],
        [False, True],
        [(), (SERVER,)],
    ):
        seen = evidence(
            outcome,
            alerts=alerts,
            speaks=speaks,
            unprovoked=unprovoked,
            certificate_requested=requested,
            client_certificate_sent=proved,
            certificate_list=chain,
        )
        finding = only(seen)
        assert (finding.rule, finding.severity) == (fault_of(seen), Severity.ERROR)
        assert finding.message
        assert finding.cause
        assert finding.fix


@pytest.mark.parametrize(
    ("code", "requested", "proved", "rule"),
    [
        (116, True, False, "tls.client-certificate-required"),
        (40, True, False, "tls.client-certificate-required"),
        (42, True, False, "tls.client-certificate-required"),
        (48, True, True, "tls.client-certificate-refused"),
        (46, True, True, "tls.client-certificate-refused"),
        (45, True, True, "tls.client-certificate-refused"),
        (80, True, True, "tls.alert"),
        (48, False, False, "tls.alert"),
    ],
)
def test_alerts_after_a_certificate_request(
    code: int, requested: bool, proved: bool, rule: str
) -> None:
    """An alert about certificates is about the client's own once it was asked for one."""
    seen = evidence(
        "late-alert",
        alerts=received(code),
        certificate_requested=requested,
        client_certificate_sent=proved,
        certificate_list=(SERVER,),
    )
    finding = only(seen)
    assert finding.rule == rule
    assert f"{ALERTS[code]} ({code})" in finding.message


def test_a_silent_refusal_after_the_request() -> None:
    """A server that asks for a certificate and closes refuses, even without an alert."""
    assert only(evidence("late-close", certificate_requested=True)).rule == (
        "tls.client-certificate-required"
    )
    assert only(evidence("late-close")).rule == "tls.closed-in-handshake"


def test_the_accepted_issuers_are_named() -> None:
    """The certificate_authorities of the CertificateRequest are in the message."""
    seen = evidence(
        "late-alert",
        alerts=received(116),
        certificate_requested=True,
        certificate_request_names=("CN=Devices",),
    )
    assert "issued by CN=Devices" in only(seen).message


def test_an_expired_client_certificate_is_the_cause() -> None:
    """A refused client certificate that has expired was refused for that."""
    expired = certificate("sensor-7", not_after=NOW - timedelta(days=3))
    seen = evidence(
        "alert",
        alerts=received(45),
        certificate_requested=True,
        client_certificate_sent=True,
        client_chain=(expired,),
    )
    found = judged(seen)
    assert primary_of(found) == "tls.client-certificate-expired"
    assert found[0].cause == "The client certificate sensor-7 expired on 2026-02-26."
    assert found[1].message == (
        "The client certificate sensor-7 expired on 2026-02-26 (3 days ago)."
    )
    assert all("'my cert.pem'" in finding.fix for finding in found)


def test_a_client_certificate_that_nobody_asked_for() -> None:
    """Where TLS ends before ThingsBoard an X.509 device cannot prove itself: that is the cause."""
    seen = evidence("established", client_chain=(certificate("sensor-7"),))
    finding = only(seen)
    assert finding.rule == "tls.client-certificate-not-requested"
    assert "load balancer" in finding.cause


@pytest.mark.parametrize(
    ("offered", "message", "fix"),
    [
        (("mqtt", "x"), "refused 'mqtt' and 'x' with", "without ALPN: tbdiag check"),
        ((), "refused a ClientHello without ALPN", "--alpn mqtt"),
    ],
)
def test_a_refused_alpn_is_named(offered: tuple[str, ...], message: str, fix: str) -> None:
    """The alert 120 names what was offered, and the command differs by whether anything was."""
    (finding,) = judged(evidence("alert", alerts=received(120)), alpn=offered)
    assert finding.rule == "tls.no-application-protocol"
    assert message in finding.message
    assert fix in finding.fix


def test_plain_mqtt_is_repaired_on_the_server() -> None:
    """Plain MQTT behind the TLS port names the setting that is missing."""
    finding = only(evidence("closed", speaks="mqtt", first_bytes=b"\x20\x02\x00\x05"))
    assert finding.rule == "tls.plaintext-port"
    assert "sent without token" in finding.message
    assert "MQTT_SSL_ENABLED=true" in finding.fix


@pytest.mark.parametrize(
    ("port", "fix"), [(22, "mqtts://broker.example:8883"), (None, "ss -lntup")]
)
def test_another_protocol_is_named(port: int | None, fix: str) -> None:
    """Another protocol is named, and the repair depends on the port."""
    target = Target("broker.example", port)
    seen = evidence("not-tls", speaks="ssh", first_bytes=b"SSH-2.0-x\x1b[2J\r\n")
    finding = only(seen, target)
    assert (finding.rule, "SSH" in finding.cause, fix in finding.fix) == ("tls.not-tls", True, True)
    assert "\x1b" not in finding.message


def test_the_old_version_is_named() -> None:
    """A server that chose TLS 1.0 is told from one that refused."""
    old = evidence("protocol-error", alerts=sent(70), version="TLSv1")
    assert "chose TLSv1" in only(old).message
    assert "protocol_version (70)" in only(evidence("alert", alerts=received(70))).message


@pytest.mark.parametrize(
    ("unprovoked", "rule", "words"),
    [
        ("reset", "tcp.reset", "before anything was sent"),
        ("closed", "tls.closed-in-handshake", "closes every connection"),
        ("silent", "tls.closed-in-handshake", "on ClientHello"),
        (None, "tls.closed-in-handshake", "on ClientHello"),
    ],
)
def test_a_close_is_explained_by_the_second_look(
    unprovoked: str | None, rule: str, words: str
) -> None:
    """A server that ends every connection is told from one that ends on TLS."""
    finding = only(evidence("reset", unprovoked=unprovoked))
    assert (finding.rule, words in finding.message) == (rule, True)


@pytest.mark.parametrize(("received_bytes", "word"), [(0, "does not answer TLS"), (900, "stalled")])
def test_a_timeout_tells_how_far_it_got(received_bytes: int, word: str) -> None:
    """No byte at all and a stall half-way have different causes."""
    assert word in only(evidence("timeout", bytes_received=received_bytes)).cause


def test_an_encrypted_key_is_decrypted() -> None:
    """The repair of an encrypted key is the command that decrypts it."""
    seen = evidence("client-certificate-unreadable", detail="the private key in k.pem is encrypted")
    assert only(seen).fix == "Decrypt the key: openssl pkey -in k.pem -out device.key"


@pytest.mark.parametrize(
    ("host", "argument"),
    [("broker.example", "-servername broker.example"), ("2001:db8::1", "[2001:db8::1]:8883")],
)
def test_commands_fit_the_target(host: str, argument: str) -> None:
    """The openssl command carries the address and name of this target."""
    name = None if ":" in host else host
    seen = HandshakeEvidence(name, established=False, outcome="alert", alerts=received(80))
    assert argument in only(seen, Target(host)).fix


def verified(*, insecure: bool, verdict: str) -> VerifyEvidence:
    decision = ClientDecision("openssl", verdict, "unable to get local issuer certificate")
    name = NameMatch("broker.example", ("DNS:broker.example",), matches=True)
    return VerifyEvidence(NOW, name, "openssl", (decision,), insecure=insecure)


@pytest.mark.parametrize(
    ("verdict", "words"), [("accept", "is not needed"), ("reject", "unable to get local issuer")]
)
def test_insecure_is_loud(verdict: str, words: str) -> None:
    """--insecure earns a warning, and says whether it was needed."""
    finding = only(verified(insecure=True, verdict=verdict))
    assert (finding.rule, finding.severity) == ("tls.verification-disabled", Severity.WARNING)
    assert words in finding.message


def test_verification_as_usual_has_no_finding() -> None:
    """Without --insecure nothing is said."""
    assert judged(verified(insecure=False, verdict="reject")) == []
