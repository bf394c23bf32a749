"""Whom ThingsBoard lets in: from CONNECT to the code of CONNACK.

The table is that of ThingsBoard's MqttTransportHandler and ReturnCodeResolver; MQTT 5 Reason Codes
are the common language, `connack_code` translates them for older protocols and servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tbdiag.protocol.mqtt import Connect, Version
from tbdiag.sandbox.profile import Device, Platform

if TYPE_CHECKING:
    from cryptography import x509

SUCCESS: Final = 0x00
IDENTIFIER_NOT_VALID: Final = 0x85
BAD_CREDENTIALS: Final = 0x86
NOT_AUTHORIZED: Final = 0x87
UNAVAILABLE: Final = 0x88
RATE_EXCEEDED: Final = 0x9F

_RETURN_CODES: Final = {0x00: 0, 0x84: 1, 0x85: 2, 0x86: 5, 0x87: 5, 0x88: 3, 0x97: 3, 0x9F: 3}
_DISCONNECT_CODES: Final = {UNAVAILABLE: 0x89, RATE_EXCEEDED: 0x96}


@dataclass(frozen=True, slots=True)
class Admission:
    """The verdict on a CONNECT: a Reason Code, and the device when it is 0.

    A provision session is accepted and has no device.
    """

    code: int
    device: Device | None = None


def admit(platform: Platform, connect: Connect, certificate: x509.Certificate | None) -> Admission:
    """Decide about a CONNECT; `certificate` is the client's of the TLS connection.

    A client certificate decides alone: the user name is not looked at any more.
    """
    if "provision" in (connect.username, connect.client_id):
        return Admission(SUCCESS)
    if certificate is not None:
        device = _by_certificate(platform, certificate)
    else:
        device = _by_names(platform, connect)
    if device is None:
        return Admission(NOT_AUTHORIZED if certificate is not None else _refusal(connect))
    return Admission(_suitability(device, connect), device)


def _by_certificate(platform: Platform, certificate: x509.Certificate) -> Device | None:
    from cryptography.hazmat.primitives.hashes import SHA256

    now = datetime.now(UTC)  # the server's own clock, as in the real one
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return None
    return platform.by_fingerprint(certificate.fingerprint(SHA256()).hex())


def _by_names(platform: Platform, connect: Connect) -> Device | None:
    password = connect.password.decode("utf-8", "replace") if connect.password else None
    basic = platform.by_basic(connect.client_id, connect.username, password)
    return basic or (platform.by_token(connect.username) if connect.username else None)


def _refusal(connect: Connect) -> int:
    username, password = connect.username is not None, connect.password is not None
    if username or password:
        return BAD_CREDENTIALS
    return IDENTIFIER_NOT_VALID if connect.client_id.strip() else NOT_AUTHORIZED


def _suitability(device: Device, connect: Connect) -> int:
    if device.profile.transport not in ("default", "mqtt"):
        return UNAVAILABLE
    if device.profile.sparkplug and not (connect.will and "/NDEATH/" in connect.will.topic):
        return UNAVAILABLE
    return SUCCESS


def connack_code(code: int, version: Version, generation: str) -> int:
    """Return the code of CONNACK that a server of `generation` sends for a Reason Code."""
    if version is Version.V5:
        return UNAVAILABLE if code == RATE_EXCEEDED and generation != "4.x" else code
    if code == BAD_CREDENTIALS and generation == "3.5.0":
        return 4
    if code == IDENTIFIER_NOT_VALID and generation == "3.4":
        return 5
    return _RETURN_CODES.get(code, 5)


def disconnect_code(code: int) -> int:
    """Return the Reason Code of the DISCONNECT that follows a refusal in MQTT 5."""
    return _DISCONNECT_CODES.get(code, code)
