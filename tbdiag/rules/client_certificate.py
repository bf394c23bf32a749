"""Judge the client's own certificate: demanded, refused, or unusable before anything is sent."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tbdiag.context import Case
from tbdiag.evidence import Certificate, HandshakeEvidence, MqttConnectEvidence
from tbdiag.model import Severity
from tbdiag.registry import Fault, rule
from tbdiag.rules._expiry import expiry_severity, in_words
from tbdiag.rules._handshake import alert_of, broken_off, fault_of

_RENEW = (
    "Issue a new certificate for the device's key, register it in ThingsBoard (the device → Manage"
    " credentials → X.509), and put it on the device; see the old one with: "
)


@rule(
    "tls.client-certificate-required",
    stage="tls.handshake",
    needs=HandshakeEvidence,
    reference="RFC 8446 section 4.4.2.4",
    when=broken_off,
)
def client_certificate_required(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The server demands a client certificate, and none was sent.

    TLS 1.3 servers say so only after the handshake (certificate_required), TLS 1.2 servers with
    handshake_failure or bad_certificate right after the CertificateRequest; some just close.
    ThingsBoard itself asks but does not insist, so a proxy, TBMQ or mosquitto with
    require_certificate does.
    """
    if fault_of(tls) != "tls.client-certificate-required":
        return
    names = ", ".join(tls.certificate_request_names[:3])
    issued = f" It accepts those issued by {names}." if names else ""
    given = " The one given fits nothing that it asked for." if tls.client_chain else ""
    yield Fault(
        message=f"{case.target.address} asked for a client certificate, got none and"
        f" {_refusal(tls)}.{issued}",
        cause=f"This listener accepts only devices with an X.509 client certificate.{given}",
        fix="Give the device's certificate and key: "
        f"tbdiag check {shlex.quote(case.target.address)} --cert device.pem --key device.key",
        subject=case.target.address,
    )


def _refusal(tls: HandshakeEvidence) -> str:
    alert = alert_of(tls)
    return f"sent the alert {alert.name} ({alert.code})" if alert else "closed the connection"


@rule(
    "tls.client-certificate-refused",
    stage="tls.handshake",
    needs=HandshakeEvidence,
    consequence_of=("tls.client-certificate-expired",),
    when=broken_off,
)
def client_certificate_refused(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The server refuses the client certificate.

    The alert is about the certificate that this client sent, not about the server's. ThingsBoard
    up to 3.4.4 refuses an unregistered certificate in the handshake (certificate_unknown, "Invalid
    Device Certificate" in its log); later versions answer CONNACK 5. unknown_ca means that the
    server does not trust the client certificate's issuer.
    """
    if fault_of(tls) != "tls.client-certificate-refused":
        return
    client = tls.client_chain[0] if tls.client_chain else None
    subject = client.name if client else "the client certificate"
    alert = alert_of(tls)
    cause = f"The server does not accept the client certificate {subject}."
    if client and alert and alert.name == "unknown_ca":
        cause = f"The server does not trust the issuer of the client certificate: {client.issuer}."
    elif client and client.expired(case.now):
        cause = f"The client certificate {subject} expired on {client.not_after:%Y-%m-%d}."
    certfile = shlex.quote(case.target.credentials.certfile or "device.pem")
    yield Fault(
        message=f"{case.target.address} got the client certificate {subject} and {_refusal(tls)}.",
        cause=cause,
        fix="Register exactly this certificate as the device's X.509 credentials, or have it issued"
        " by a CA that the server trusts; see it with: "
        f"openssl x509 -in {certfile} -noout -subject -issuer -dates",
        subject=subject,
    )


def _own(tls: HandshakeEvidence) -> Certificate | None:
    return tls.client_chain[0] if tls.client_chain else None


def _accepted(case: Case) -> bool:
    connect = case.get(MqttConnectEvidence)
    return connect is not None and connect.accepted


def _openssl(case: Case) -> str:
    certfile = shlex.quote(case.target.credentials.certfile or "device.pem")
    return f"openssl x509 -in {certfile} -noout -subject -dates"


@rule(
    "tls.client-certificate-expired",
    stage="tls.handshake",
    needs=HandshakeEvidence,
    reference="RFC 5280 section 4.1.2.5",
)
def client_certificate_expired(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The device's own certificate has expired, or is not valid yet.

    It is read from the file: no server is needed to say so. ThingsBoard refuses it with CONNACK 5
    (0x87 in MQTT 5), unless MQTT_SSL_SKIP_VALIDITY_CHECK_FOR_CLIENT_CERT is true; then it is only
    a warning. Repair: issue and register a new one.
    """
    client = _own(tls)
    if client is None or not (client.expired(case.now) or client.not_yet_valid(case.now)):
        return
    seen = f"expired {in_words(client, case.now)}"
    if not client.expired(case.now):
        seen = f"is not valid before {client.not_before:%Y-%m-%d %H:%M} UTC"
    yield Fault(
        message=f"The client certificate {client.name} {seen}.",
        cause="The server compares the device's certificate with its own clock and refuses it.",
        fix=_RENEW + _openssl(case),
        subject=client.name,
        severity=Severity.WARNING if _accepted(case) else None,
    )


@rule(
    "tls.client-certificate-expiring",
    stage="tls.handshake",
    needs=HandshakeEvidence,
    severity=Severity.WARNING,
    reference="RFC 5280 section 4.1.2.5",
)
def client_certificate_expiring(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The device's own certificate expires soon.

    From that day ThingsBoard refuses the device. Repair: issue and register a new one before.
    """
    client = _own(tls)
    if client is None or client.not_yet_valid(case.now):
        return
    severity = expiry_severity(client, case.now, case.options)
    if severity is not None:
        yield Fault(
            message=f"The client certificate {client.name} expires {in_words(client, case.now)}.",
            cause="From then on the server refuses this device.",
            fix=_RENEW + _openssl(case),
            subject=client.name,
            severity=severity,
        )


@rule(
    "tls.client-certificate-not-requested",
    stage="tls.handshake",
    needs=HandshakeEvidence,
    reference="RFC 8446 section 4.3.2",
)
def client_certificate_not_requested(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The server did not ask for a client certificate, so the device's was not sent.

    ThingsBoard always asks for one. Where nobody does, TLS ends at a load balancer or proxy in
    front of it, and X.509 devices cannot prove themselves there at all. With a token beside the
    certificate the device works all the same, by the token. Repair: pass TLS through.
    """
    if not (tls.established and tls.client_chain) or tls.certificate_requested:
        return
    by_token = _accepted(case) or bool(case.target.credentials.token)
    yield Fault(
        message=f"{case.target.address} did not ask for a client certificate, so the device's"
        f" ({tls.client_chain[0].name}) was not sent.",
        cause="TLS ends at a load balancer or proxy in front of ThingsBoard, which itself always"
        " asks.",
        fix="Let the load balancer pass TCP through to ThingsBoard's own TLS port (8883), or use an"
        " access token for this device: leave out --cert and --key",
        subject=case.target.address,
        severity=Severity.WARNING if by_token else None,
    )


@rule(
    "tls.client-key-mismatch",
    stage="tls.handshake",
    needs=HandshakeEvidence,
    when=broken_off,
)
def client_key_mismatch(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The client certificate and the private key do not belong together.

    The public key in the certificate is not that of the private key, so no TLS client can use the
    pair. Nothing was sent.
    """
    if fault_of(tls) != "tls.client-key-mismatch":
        return
    credentials = case.target.credentials
    certfile = shlex.quote(credentials.certfile or "")
    keyfile = shlex.quote(credentials.keyfile or credentials.certfile or "")
    yield Fault(
        message=f"Not usable together: {tls.detail}.",
        cause="The certificate was issued for another key pair.",
        fix="Use the key the certificate was requested with; these two must print the same: "
        f"openssl x509 -in {certfile} -noout -pubkey; openssl pkey -in {keyfile} -pubout",
        subject=credentials.keyfile or credentials.certfile or "",
    )


@rule(
    "tls.client-certificate-unreadable",
    stage="tls.handshake",
    needs=HandshakeEvidence,
    when=broken_off,
)
def client_certificate_unreadable(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The client certificate or its private key cannot be read.

    A file is missing or not readable, is not PEM, or holds an encrypted key. mosquitto and paho
    need an unencrypted PEM key. Nothing was sent.
    """
    if fault_of(tls) != "tls.client-certificate-unreadable":
        return
    credentials = case.target.credentials
    keyfile = shlex.quote(credentials.keyfile or credentials.certfile or "")
    if "encrypted" in tls.detail:
        fix = f"Decrypt the key: openssl pkey -in {keyfile} -out device.key"
    else:
        fix = "Give a PEM certificate and its PEM key; look at them with: ls -l "
        fix += f"{shlex.quote(credentials.certfile or '')} {keyfile}"
    yield Fault(
        message=f"Client certificate: {tls.detail}.",
        cause="Without a readable certificate and key this client cannot prove who it is.",
        fix=fix,
        subject=credentials.certfile or "",
    )
