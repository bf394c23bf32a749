"""Judge the client's own certificate: demanded, refused, or unusable before anything is sent."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tbdiag.context import Case
from tbdiag.evidence import HandshakeEvidence
from tbdiag.registry import Fault, rule
from tbdiag.rules._handshake import alert_of, fault_of


@rule(
    "tls.client-certificate-required",
    stage="tls.handshake",
    needs=HandshakeEvidence,
    reference="RFC 8446 section 4.4.2.4",
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


@rule("tls.client-certificate-refused", stage="tls.handshake", needs=HandshakeEvidence)
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


@rule("tls.client-key-mismatch", stage="tls.handshake", needs=HandshakeEvidence)
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


@rule("tls.client-certificate-unreadable", stage="tls.handshake", needs=HandshakeEvidence)
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
