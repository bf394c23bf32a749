"""What an MQTT CONNECT was answered with, and what that means on a ThingsBoard."""

from __future__ import annotations

from collections.abc import Iterable, Set

from tbdiag.context import Case
from tbdiag.evidence import ConnackAttempt, MqttConnectEvidence
from tbdiag.model import Severity, Target, Transport
from tbdiag.registry import Fault, rule
from tbdiag.rules._mqtt_words import (
    CONNACK_REFERENCE,
    COPY_TOKEN,
    check_line,
    connack,
    http_status,
    mosquitto_line,
)

NOT_AUTHORIZED = frozenset({5, 0x87})
BAD_CREDENTIALS = frozenset({4, 0x86, 0x8C})
REFUSED_CREDENTIALS = NOT_AUTHORIZED | BAD_CREDENTIALS
IDENTIFIER_REJECTED = frozenset({2, 0x85})
SERVER_UNAVAILABLE = frozenset({3, 0x80, 0x83, 0x88, 0x89, 0x8B, 0x9C, 0x9D})
PROTOCOL_VERSION = frozenset({1, 0x81, 0x82, 0x84})
QUOTA = frozenset({0x95, 0x96, 0x97, 0x9F})
BANNED = 0x8A
_CERTIFICATE_RULES = ("tls.client-certificate-expired", "tls.client-certificate-not-requested")
_CREDENTIAL_RULES = (
    "token.malformed",
    "token.unknown",
    "token.other-installation",
    *_CERTIFICATE_RULES,
)
_STAGE = "mqtt.connect"


def refusal(seen: MqttConnectEvidence, codes: Set[int]) -> ConnackAttempt | None:
    """The CONNACK that refused the connection, when its code is one of `codes`."""
    last = seen.last
    return last if last.outcome == "refused" and last.code in codes else None


@rule(
    "mqtt.not-authorized",
    stage=_STAGE,
    needs=MqttConnectEvidence,
    reference=CONNACK_REFERENCE,
    consequence_of=_CREDENTIAL_RULES,
)
def not_authorized(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """The server does not accept these credentials.

    Return code 5 (3.1.1) is what ThingsBoard answers to every refused credential: an unknown or
    mistyped access token, a token of another installation, an MQTT Basic user it does not know, a
    client certificate that is not registered or has expired. In MQTT 5 it says 0x86 for names and
    0x87 for certificates and for a CONNECT without any. Once a client certificate is sent, the
    token is ignored. Repair: copy the token of this device from this installation.
    """
    last = refusal(seen, NOT_AUTHORIZED)
    if last is None or (http_status(case) == 200 and seen.credentials == "token"):
        return
    cause, fix = _credentials_advice(case, seen)
    yield Fault(connack(last), cause, fix, subject=f"{last.code}")


def _credentials_advice(case: Case, seen: MqttConnectEvidence) -> tuple[str, str]:
    if seen.credentials == "x509":
        return (
            "The client certificate is not registered for a device here, or has expired; a token "
            "sent beside it is ignored.",
            "Paste the certificate into the device's credentials (X.509 Certificate), or leave "
            f"--cert and --key out to use the token: {check_line(case)}",
        )
    if seen.credentials == "basic":
        return (
            "Client Identifier, username and password together match no MQTT Basic credentials.",
            "Compare all three with the device's credentials (Manage credentials → MQTT Basic), "
            f"then: {check_line(case, '--client-id', seen.client_identifier)}",
        )
    return (
        "No device of this installation has this access token: it is mistyped, was replaced, or "
        "belongs to another installation (Cloud, EU Cloud, another server); a device with X.509 or "
        "MQTT Basic credentials has no token that works.",
        COPY_TOKEN + mosquitto_line(case),
    )


@rule(
    "mqtt.bad-credentials",
    stage=_STAGE,
    needs=MqttConnectEvidence,
    reference=CONNACK_REFERENCE,
    consequence_of=_CREDENTIAL_RULES,
)
def bad_credentials(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """The user name (the access token) or the password is wrong.

    Reason Code 0x86 (MQTT 5) is ThingsBoard's answer to an unknown token. Return code 4 (3.1.1) is
    sent by ThingsBoard up to 3.1.1 for an empty username and by exactly 3.5.0 for a wrong token;
    every other release says 5, so a 4 may also come from another broker. Repair: copy the token
    of this device from this installation.
    """
    last = refusal(seen, BAD_CREDENTIALS)
    if last is None or (http_status(case) == 200 and seen.credentials == "token"):
        return
    cause, fix = _credentials_advice(case, seen)
    if last.code == 4:
        cause += " (Return code 4 comes from ThingsBoard up to 3.1.1 and 3.5.0, or another broker.)"
    yield Fault(connack(last), cause, fix, subject=f"{last.code}")


@rule(
    "mqtt.identifier-rejected",
    stage=_STAGE,
    needs=MqttConnectEvidence,
    reference=CONNACK_REFERENCE,
    consequence_of=("token.malformed", *_CERTIFICATE_RULES),
)
def identifier_rejected(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """The server rejected the Client Identifier; on ThingsBoard: no username was sent.

    ThingsBoard 3.5 and later answers 2 (3.1.1) or 0x85 (5.0) when CONNECT has neither username nor
    password: it then looks for a device known by its Client Identifier alone. It has nothing to
    say about the identifier of a device with a token. Repair: send the token as the username.
    """
    last = refusal(seen, IDENTIFIER_REJECTED)
    if last is None:
        return
    if seen.username_sent:
        cause = f"This broker does not accept the Client Identifier {seen.client_identifier!r}."
        fix = "Give one that it accepts: " + check_line(case, "--client-id", "device1")
    else:
        cause = "CONNECT carried no username: ThingsBoard expects the access token there."
        fix = "Put the device's token into TBDIAG_TOKEN, then: " + check_line(case)
    yield Fault(connack(last), cause, fix, subject=seen.client_identifier)


@rule(
    "mqtt.server-unavailable",
    stage=_STAGE,
    needs=MqttConnectEvidence,
    reference=CONNACK_REFERENCE,
)
def server_unavailable(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """The server says it is unavailable; on ThingsBoard this is seldom an outage.

    3 (3.1.1) or 0x88 (5.0) is ThingsBoard's answer when the token is right, but the device profile
    has another transport type (CoAP, LwM2M, SNMP), or is a Sparkplug profile and CONNECT had no
    NDEATH will, when a rate limit or the tenant's API usage is exceeded, or when the core does not
    answer the transport. Repair: look at the device profile's transport type first.
    """
    last = refusal(seen, SERVER_UNAVAILABLE)
    if last is None:
        return
    elsewhere = last.properties.get("server_reference")
    if elsewhere:
        cause = f"The server refers clients to {elsewhere}."
        yield Fault(connack(last), cause, "Connect to that server.", subject=elsewhere)
        return
    cause = (
        "On ThingsBoard: the device profile's transport type is not MQTT (or it is Sparkplug), a "
        "rate limit or the API usage limit is exceeded, or the core does not answer."
    )
    if http_status(case) == 200:
        cause = (
            "The HTTP API knows the token, so the device exists: its profile's transport type is "
            "not MQTT (or it is Sparkplug), or a limit is exceeded."
        )
    fix = (
        "Set the device profile's Transport type to Default (Profiles → Device profiles → the "
        f"profile → Transport configuration), and look at the API usage; then: {check_line(case)}"
    )
    yield Fault(connack(last), cause, fix, subject=f"{last.code}")


@rule(
    "mqtt.protocol-version",
    stage=_STAGE,
    needs=MqttConnectEvidence,
    reference="MQTT 5.0 section 3.1.2.2, MQTT 3.1.1 section 3.1.2.2",
)
def protocol_version(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """The server does not speak the MQTT version of the client.

    ThingsBoard speaks MQTT 3.1.1 in every release and MQTT 5 since 3.5. Repair: let the client
    use the other version.
    """
    last = refusal(seen, PROTOCOL_VERSION)
    if last is None:
        return
    tried = " and ".join(attempt.version for attempt in seen.attempts)
    other = "3.1.1" if last.version == "5" else "5"
    cause = f"The server accepts no CONNECT of MQTT {tried}."
    fix = "Try the other version: " + check_line(case, "--mqtt-version", other)
    if len(seen.attempts) > 1:
        fix = "Ask the operator which MQTT version this listener speaks; ThingsBoard speaks both."
    yield Fault(connack(last), cause, fix, subject=f"MQTT {last.version}")


@rule(
    "mqtt.banned",
    stage=_STAGE,
    needs=MqttConnectEvidence,
    reference=CONNACK_REFERENCE,
)
def banned(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """The server has banned this client.

    Reason Code 0x8A: an administrator, or TBMQ's list of blocked clients, excludes the client
    identifier, the username or the address. Repair: have the entry removed.
    """
    last = refusal(seen, {BANNED})
    if last:
        cause = "The server excludes this Client Identifier, username or address."
        fix = "Have the block removed (TBMQ: Blocked clients), then: " + check_line(case)
        yield Fault(connack(last), cause, fix, subject=seen.client_identifier)


@rule(
    "mqtt.provision-session",
    stage=_STAGE,
    needs=MqttConnectEvidence,
    reference="ThingsBoard, Device provisioning over MQTT",
)
def provision_session(case: Case, seen: MqttConnectEvidence) -> Iterable[Fault]:
    """The session is for provisioning only: the CONNACK proves nothing.

    ThingsBoard accepts every CONNECT whose username or Client Identifier is `provision`, right or
    wrong token. Such a session can only ask for a new device's credentials: any other message is
    refused and ends it. Repair: use another Client Identifier, and the device's token as username.
    """
    by_name = case.target.credentials.mqtt_username == "provision"
    if not seen.accepted or not seen.provisioning:
        return
    which = "username" if by_name else "Client Identifier"
    yield Fault(
        f'The server accepted a session whose {which} is "provision".',
        "ThingsBoard accepts anyone by that name, for requesting credentials and nothing else.",
        "Use the device's token and another Client Identifier: "
        + check_line(case, "--client-id", "device1"),
        subject=which,
    )


@rule(
    "mqtt.token-in-clear",
    stage=_STAGE,
    needs=Target,
    severity=Severity.INFO,
    reference="MQTT 5.0 section 5.4.2",
)
def token_in_clear(case: Case, target: Target) -> Iterable[Fault]:
    """The token travels in clear: the port is plain MQTT.

    Whoever can read the network between device and server can take the token and be the device.
    Repair: use MQTT over TLS (port 8883) where the server offers it.
    """
    plain = target.transport is Transport.MQTT
    if plain and target.credentials.present and case.options.connect:
        yield Fault(
            f"{target.address} is plain MQTT: the credentials travel in clear.",
            "The target was given as mqtt://, so nothing encrypts or authenticates the server.",
            "Where the server offers TLS: " + check_line(case, scheme="mqtts", port=8883),
            subject=target.address,
        )
