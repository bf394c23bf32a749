"""The specifications' names for the numbers of TLS and of OpenSSL's path validation."""

from __future__ import annotations

from tbdiag.evidence import VerifyError

ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
    121: "ech_required",
}
"""Alert descriptions: RFC 8446 section 6, RFC 5246 section 7.2, RFC 6066 section 9."""

_VERSIONS = {
    b"\x03\x00": "SSLv3",
    b"\x03\x01": "TLSv1",
    b"\x03\x02": "TLSv1.1",
    b"\x03\x03": "TLSv1.2",
    b"\x03\x04": "TLSv1.3",
}

_VERIFY_MESSAGES = {
    2: "unable to get issuer certificate",
    7: "certificate signature failure",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    13: "format error in certificate's notBefore field",
    14: "format error in certificate's notAfter field",
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    22: "certificate chain too long",
    23: "certificate revoked",
    24: "invalid CA certificate",
    25: "path length constraint exceeded",
    26: "unsuitable certificate purpose",
    27: "certificate not trusted",
    28: "certificate rejected",
    30: "authority and subject key identifier mismatch",
    32: "key usage does not include certificate signing",
    34: "unhandled critical extension",
    41: "invalid or inconsistent certificate extension",
    47: "permitted subtree violation",
    48: "excluded subtree violation",
    51: "unsupported name constraint type",
    53: "unsupported or invalid name syntax",
    62: "hostname mismatch",
    64: "IP address mismatch",
    66: "end-entity key too weak",
    67: "CA key too weak",
    68: "CA signature digest algorithm too weak",
}
"""Those of X509_verify_cert_error_string that path validation of a server can give."""


def alert_name(code: int) -> str:
    """An alert as the RFC spells it: `unknown_ca`; `alert 99` when no RFC names it."""
    return ALERTS.get(code, f"alert {code}")


def verify_message(code: int) -> str:
    """What OpenSSL says for a verify error number (X509_V_ERR_…)."""
    return _VERIFY_MESSAGES.get(code, f"verify error {code}")


def version_name(wire: bytes) -> str | None:
    """A two-byte protocol version as OpenSSL names it: `TLSv1.1`; None for anything else."""
    return _VERSIONS.get(wire)


def verify_error(code: int, depth: int, data: bytes) -> VerifyError:
    """An error of path validation (X509_V_ERR_*) about the DER certificate `data`."""
    from tbdiag.protocol.x509 import subject_of  # heavy, and there is no error as a rule

    return VerifyError(code, depth, verify_message(code), subject_of(data))
