"""coap.*: which rule, and which words, for what a CoAP device meets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tbdiag import registry
from tbdiag.context import Case
from tbdiag.evidence import HandshakeEvidence
from tbdiag.evidence.devices import (
    CoapAttributesEvidence,
    CoapConnectEvidence,
    CoapTelemetryEvidence,
)
from tbdiag.judgement import all_findings
from tbdiag.model import Credentials, Finding, Options, Secret, Severity, Target, Transport
from tbdiag.pipeline import primary_of

registry.load("rules")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
TOKEN = "CanaryToken7f3a0001"
PATH = "/api/v1/***/telemetry"


def target(transport: Transport = Transport.COAPS, token: str | None = TOKEN) -> Target:
    credentials = Credentials(token=Secret(token) if token else None, certfile="device.pem")
    return Target("things.example", None, transport, credentials=credentials)


def judged(*evidence: Any, device: Target | None = None) -> list[Finding]:
    """The findings of every rule, in no particular order."""
    device = device or target()
    case = Case(device, Options(), NOW, {Target: device, **{type(e): e for e in evidence}})
    return list(all_findings(case))


def posted(code: str | None, outcome: str = "response", **fields: Any) -> CoapTelemetryEvidence:
    return CoapTelemetryEvidence("POST", PATH, outcome, code, size=18, transmissions=3, **fields)


@pytest.mark.parametrize(
    ("code", "outcome", "rule", "words"),
    [
        ("4.01", "response", "coap.unauthorized", "No device of this installation has this access"),
        ("4.03", "response", "coap.unauthorized", "access token"),
        ("4.00", "response", "coap.bad-request", "Protobuf"),
        ("5.00", "response", "coap.refused", "transport type is neither Default nor CoAP"),
        ("5.03", "response", "coap.refused", "limit"),
        ("4.04", "response", "coap.not-thingsboard", "Another server"),
        ("4.05", "response", "coap.not-thingsboard", "Another server"),
        ("4.13", "response", "coap.too-large", "one CoAP message"),
        (None, "too-large", "coap.too-large", "one CoAP message"),
        (None, "reset", "coap.not-thingsboard", "Another server"),
        (None, "not-coap", "coap.not-thingsboard", "Another server"),
        (None, "silent", "coap.no-response", "queue is stuck"),
        (None, "acknowledged", "coap.no-response", "queue is stuck"),
        (None, "refused", "coap.no-response", "queue is stuck"),
    ],
)
def test_every_response_has_one_rule_and_its_words(
    code: str | None, outcome: str, rule: str, words: str
) -> None:
    """One finding for one answer: its rule and its cause; never the token."""
    (finding,) = judged(posted(code, outcome))
    assert (finding.rule, finding.stage) == (rule, "coap.telemetry")
    assert words in finding.cause
    assert finding.severity is Severity.ERROR
    assert TOKEN not in finding.message + finding.cause + finding.fix


@pytest.mark.parametrize("code", ["2.01", "2.04", "2.05"])
def test_a_success_has_no_finding(code: str) -> None:
    """Class 2 is what ThingsBoard answers, and nothing is wrong with it."""
    assert judged(posted(code)) == []


def test_broken_json_is_named_as_the_cause() -> None:
    """4.00 and a payload that is no JSON: the message says where it breaks."""
    (finding,) = judged(posted("4.00", json_error="Expecting value: line 1"))
    assert finding.cause.endswith("Expecting value: line 1.")


def test_a_diagnostic_payload_is_quoted_on_one_line() -> None:
    """The server's own words are part of the message (RFC 7252 section 5.5.2)."""
    (finding,) = judged(posted("5.00", payload="it\nfailed"))
    assert 'and said "it failed"' in finding.message


def test_an_x509_device_hears_of_its_certificate() -> None:
    """4.01 without a token in the path is about the client certificate."""
    (finding,) = judged(posted("4.01"), device=target(token=None))
    assert "client certificate" in finding.cause
    assert "X.509 credentials" in finding.fix


@pytest.mark.parametrize("outcome", ["silent", "refused", "acknowledged"])
@pytest.mark.parametrize("transport", [Transport.COAP, Transport.COAPS])
def test_no_answer_to_a_ping_is_about_udp(outcome: str, transport: Transport) -> None:
    """The fix names the setting, the UDP port, and Docker's way to publish it."""
    (finding,) = judged(CoapConnectEvidence(outcome, "192.0.2.1"), device=target(transport))
    assert (finding.rule, finding.stage) == ("coap.no-response", "coap.connect")
    assert f"{transport.default_port}/udp" in finding.fix
    assert ("COAP_DTLS_ENABLED=true" in finding.fix) is transport.encrypted


@pytest.mark.parametrize("outcome", ["no-answer", "refused"])
def test_no_answer_to_a_client_hello_is_about_dtls(outcome: str) -> None:
    """ThingsBoard's DTLS is off by default: the fix switches it on."""
    seen = HandshakeEvidence("things.example", established=False, outcome=outcome)
    (finding,) = judged(seen)
    assert (finding.rule, finding.stage) == ("coap.no-response", "tls.handshake")
    assert "COAP_DTLS_ENABLED=true" in finding.fix


def test_plain_coap_on_the_dtls_port_is_told_apart() -> None:
    """A port that answers a plain ping has no DTLS: coap:// is offered, with its price."""
    seen = HandshakeEvidence(None, established=False, outcome="no-answer", speaks="coap")
    (finding,) = judged(seen)
    assert finding.rule == "coap.plaintext-port"
    assert "tbdiag check coap://things.example:5684" in finding.fix


def test_bytes_that_are_no_coap_are_shown() -> None:
    """What answered the ping is in the message."""
    (finding,) = judged(CoapConnectEvidence("not-coap", first_bytes=b"SSH-2.0-x"))
    assert finding.rule == "coap.not-thingsboard"
    assert "SSH-2.0-x" in finding.message


def test_refused_attributes_are_found_in_their_own_stage() -> None:
    """Without a test publish the attributes are what shows the unknown token."""
    (finding,) = judged(CoapAttributesEvidence("GET", PATH, "response", "4.01"))
    assert (finding.rule, finding.stage) == ("coap.unauthorized", "coap.attributes")


def test_a_placeholder_is_the_cause_of_the_refusal() -> None:
    """4.01 for a token that is a placeholder: the placeholder is what is wrong."""
    found = judged(posted("4.01"), device=target(token="$ACCESS_TOKEN"))
    assert primary_of(found) == "token.malformed"
    assert {f.stage for f in found} == {"coap.telemetry"}


def test_the_fix_is_the_documentations_command() -> None:
    """coap-client with the token left to the shell, -R only where there is a certificate."""
    (finding,) = judged(posted("4.01"))
    assert "coap-client-openssl -v 6 -m POST -R " in finding.fix
    assert "coaps://things.example/api/v1/$TBDIAG_TOKEN/telemetry" in finding.fix
    (finding,) = judged(posted("4.01"), device=target(Transport.COAP))
    assert "-m POST -t application/json" in finding.fix


def test_in_clear_is_said_where_the_token_was_sent() -> None:
    """coap:// earns an information once the token has travelled, and coaps:// none."""
    connect, plain = CoapConnectEvidence("reset", "192.0.2.1"), target(Transport.COAP)
    assert [f.rule for f in judged(connect, posted("2.01"), device=plain)] == [
        "coap.token-in-clear"
    ]
    assert judged(connect, device=plain) == []
    assert judged(connect, posted("2.01")) == []
