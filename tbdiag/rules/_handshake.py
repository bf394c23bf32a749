"""Which one fault a handshake that did not stand shows: every outcome has exactly one."""

from __future__ import annotations

from tbdiag.evidence import Alert, HandshakeEvidence

CERTIFICATE_ALERTS = frozenset(
    {
        "handshake_failure",
        "no_certificate",
        "bad_certificate",
        "unsupported_certificate",
        "certificate_revoked",
        "certificate_expired",
        "certificate_unknown",
        "unknown_ca",
        "access_denied",
        "decrypt_error",
        "certificate_required",
    }
)
"""Alerts that, after a CertificateRequest, are about the client certificate or its absence."""
_WEAK_REASONS = ("dh key too small", "wrong curve", "wrong signature type", "wrong cipher returned")
_BY_OUTCOME = {
    "timeout": "tls.timeout",
    "closed": "tls.closed-in-handshake",
    "reset": "tls.closed-in-handshake",
    "no-answer": "coap.no-response",
    "refused": "coap.no-response",
    "client-key-mismatch": "tls.client-key-mismatch",
    "client-certificate-unreadable": "tls.client-certificate-unreadable",
}
_BY_ALERT = {
    "protocol_version": "tls.protocol-version",
    "inappropriate_fallback": "tls.protocol-version",
    "insufficient_security": "tls.no-common-cipher",
    "unrecognized_name": "tls.unrecognized-name",
    "no_application_protocol": "tls.no-application-protocol",
}


def broken_off(tls: HandshakeEvidence) -> bool:
    """Whether the handshake does not stand: only then has `fault_of` something to say."""
    return not tls.established


def fault_of(tls: HandshakeEvidence) -> str | None:
    """The id of the one rule that explains this handshake; None when it stands.

    A reset counts as a close: which of the two arrives depends on whether the server had unread
    bytes when it closed, so on the moment.
    """
    if tls.established:
        return None
    if tls.speaks == "coap":
        return "coap.plaintext-port"
    if tls.speaks or tls.outcome == "not-tls":
        return "tls.plaintext-port" if tls.speaks == "mqtt" else "tls.not-tls"
    if tls.unprovoked == "reset":
        return "tcp.reset"
    if tls.outcome in ("alert", "late-alert"):
        return _fault_of_alert(tls)
    if tls.outcome == "late-close":
        return _about_client_certificate(tls) or "tls.closed-in-handshake"
    if tls.outcome == "protocol-error":
        return _fault_of_refusal(tls)
    return _BY_OUTCOME.get(tls.outcome, "tls.alert")


def alert_of(tls: HandshakeEvidence, direction: str = "received") -> Alert | None:
    """The fatal alert that ended the handshake, if one did."""
    found = [a for a in tls.alerts if a.direction == direction and a.level == "fatal"]
    return found[-1] if found else None


def _fault_of_alert(tls: HandshakeEvidence) -> str:
    alert = alert_of(tls)
    name = alert.name if alert else ""
    if name in CERTIFICATE_ALERTS and (about := _about_client_certificate(tls)):
        return about
    if name == "certificate_required":
        return "tls.client-certificate-required"
    if name == "handshake_failure" and not tls.certificate_list:
        return "tls.no-common-cipher"
    return _BY_ALERT.get(name, "tls.alert")


def _about_client_certificate(tls: HandshakeEvidence) -> str | None:
    if not tls.certificate_requested:
        return None
    if tls.client_certificate_sent:
        return "tls.client-certificate-refused"
    return "tls.client-certificate-required"


def _fault_of_refusal(tls: HandshakeEvidence) -> str:
    """This client broke off: over the version, over weak parameters, or over anything else."""
    sent = alert_of(tls, "sent")
    if sent and sent.name == "protocol_version":
        return "tls.protocol-version"
    return "tls.no-common-cipher" if tls.detail in _WEAK_REASONS else "tls.alert"
