"""Devices that speak CoAP, over UDP or DTLS: the token is part of the path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tbdiag.model import Credentials, Transport
from tbdiag.registry import scenario
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.coap import (
    AcknowledgedOnly,
    Always,
    CoapFault,
    CoapServer,
    Garbage,
    LostResponses,
    Mute,
    Separate,
)
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.datagrams import DatagramServer, RefusingDatagrams
from tbdiag.sandbox.profile import DEFAULT_TOKEN, PROFILES, Device, Platform
from tbdiag.sandbox.stand import Room, Stand, token_credentials

STAGES = ("coap.connect", "coap.telemetry", "coap.attributes")
ALL_OK = dict.fromkeys(("ca.load", "tls.handshake", "tls.verify", *STAGES), "ok")
PLAIN_OK = {"tls.verify": "not-applicable", **dict.fromkeys(STAGES, "ok")}
UNVERIFIED = {"tls.handshake": "ok", "tls.verify": "failed", **dict.fromkeys(STAGES, "blocked")}
NO_DTLS = {"tls.handshake": "failed", **dict.fromkeys(STAGES, "blocked")}
NOT_ASKED = {
    "coap.connect": "failed",
    "coap.telemetry": "blocked",
    "coap.attributes": "blocked",
}
CLEAR = ("coap.token-in-clear",)
SHORT = {"timeout": 2.0}


@contextmanager
def _coaps(
    room: Room,
    cafile: bytes | None = None,
    tls: Tls | None = None,
    options: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    **changes: Any,
) -> Iterator[Stand]:
    tls = tls or Tls(room.issue())
    coap = CoapServer(tls=tls, port=room.port, **(server or {}))
    with room.serve(coap, cafile, options, transport=Transport.COAPS, **changes) as stand:
        yield stand


@contextmanager
def _coap(
    room: Room, *faults: CoapFault, options: dict[str, Any] | None = None, **changes: Any
) -> Iterator[Stand]:
    server = CoapServer(faults=faults, port=room.port, **changes.pop("server", {}))
    with room.serve(server, options=options, transport=Transport.COAP, **changes) as stand:
        yield stand


@contextmanager
def _on(room: Room, server: DatagramServer, transport: Transport) -> Iterator[Stand]:
    with room.serve(server, options=dict(SHORT), transport=transport) as stand:
        yield stand


@scenario("coaps-healthy", status=ALL_OK)
@contextmanager
def coaps_healthy(room: Room) -> Iterator[Stand]:
    """A CoAP device over DTLS, with a private CA."""
    with _coaps(room) as stand:
        yield stand


@scenario("coaps-wrong-ca", primary="x509.wrong-ca-file", status=UNVERIFIED)
@contextmanager
def coaps_wrong_ca(room: Room) -> Iterator[Stand]:
    """The CA file of a CoAP device belongs to another CA: the token stays here."""
    with _coaps(room, Authority.root("Some Other Root", now=room.now).pem()) as stand:
        yield stand


@scenario("coaps-wrong-name", primary="x509.name-mismatch", status=UNVERIFIED)
@contextmanager
def coaps_wrong_name(room: Room) -> Iterator[Stand]:
    """The DTLS certificate is for another host."""
    with _coaps(room, tls=Tls(room.issue(names=("things.example.org",)))) as stand:
        yield stand


@scenario(
    "coaps-insecure",
    primary="x509.wrong-ca-file",
    rules=("tls.verification-disabled",),
    status={"tls.verify": "failed", "coap.telemetry": "ok", "coap.attributes": "ok"},
)
@contextmanager
def coaps_insecure(room: Room) -> Iterator[Stand]:
    """Another CA's file, and --insecure: CoAP works, the report stays red."""
    other = Authority.root("Some Other Root", now=room.now)
    with _coaps(room, other.pem(), options={"insecure": True}) as stand:
        yield stand


@scenario("coaps-lossy", status=ALL_OK)
@contextmanager
def coaps_lossy(room: Room) -> Iterator[Stand]:
    """The first ClientHello is lost on the way: DTLS sends it again."""
    with _coaps(room, server={"lose": 1}) as stand:
        yield stand


@scenario("coaps-client-certificate-required", primary="tls.client-certificate-required")
@contextmanager
def coaps_client_certificate_required(room: Room) -> Iterator[Stand]:
    """DTLS with a required client certificate, and the device has none."""
    with _coaps(room, tls=Tls(room.issue(), client_certificate="require")) as stand:
        yield stand


@scenario("coaps-x509-device", status=ALL_OK)
@contextmanager
def coaps_x509_device(room: Room) -> Iterator[Stand]:
    """An X.509 device: its certificate stands for the token, which is not in the path."""
    device, credentials = _x509_device(room)
    platform = {"platform": Platform([device])}
    with _coaps(room, server=platform, credentials=credentials) as stand:
        yield stand


@scenario("coaps-unknown-certificate", primary="coap.unauthorized")
@contextmanager
def coaps_unknown_certificate(room: Room) -> Iterator[Stand]:
    """An X.509 device whose certificate no device of the installation has: 4.01."""
    _, credentials = _x509_device(room)
    with _coaps(room, credentials=credentials) as stand:
        yield stand


def _x509_device(room: Room) -> tuple[Device, Credentials]:
    from cryptography.hazmat.primitives.hashes import SHA256

    issued = room.root.issue_client("a device")
    credentials = Credentials(
        certfile=room.write("device.pem", issued.pem()),
        keyfile=room.write("device.key", issued.key_pem()),
    )
    return Device(fingerprint=issued.certificate.fingerprint(SHA256()).hex()), credentials


@scenario("coaps-no-dtls", primary="coap.no-response", status=NO_DTLS)
@contextmanager
def coaps_no_dtls(room: Room) -> Iterator[Stand]:
    """Nothing listens on the port of DTLS: COAP_DTLS_ENABLED is false, its default."""
    with _on(room, RefusingDatagrams(port=room.port), Transport.COAPS) as stand:
        yield stand


@scenario("coaps-silent", primary="coap.no-response", status=NO_DTLS)
@contextmanager
def coaps_silent(room: Room) -> Iterator[Stand]:
    """A firewall drops what goes to the port of DTLS."""
    with _on(room, DatagramServer(port=room.port), Transport.COAPS) as stand:
        yield stand


@scenario("coaps-plaintext-port", primary="coap.plaintext-port", status=NO_DTLS)
@contextmanager
def coaps_plaintext_port(room: Room) -> Iterator[Stand]:
    """The port speaks plain CoAP, which passes a ClientHello over in silence."""
    with _on(room, CoapServer(port=room.port), Transport.COAPS) as stand:
        yield stand


@scenario("coaps-not-dtls", primary="tls.not-tls", status=NO_DTLS)
@contextmanager
def coaps_not_dtls(room: Room) -> Iterator[Stand]:
    """What answers on the port of DTLS is another protocol."""
    with _on(room, Garbage(port=room.port), Transport.COAPS) as stand:
        yield stand


@scenario("coap-healthy", rules=CLEAR, status=PLAIN_OK)
@contextmanager
def coap_healthy(room: Room) -> Iterator[Stand]:
    """Plain CoAP on a port the user chose: works, and the token travels in clear."""
    with _coap(room) as stand:
        yield stand


@scenario("coap-separate-response", rules=CLEAR, status=PLAIN_OK)
@contextmanager
def coap_separate(room: Room) -> Iterator[Stand]:
    """Responses come by themselves, after an empty ACK: it works."""
    with _coap(room, Separate()) as stand:
        yield stand


@scenario("coap-lossy", rules=CLEAR, status=PLAIN_OK)
@contextmanager
def coap_lossy(room: Room) -> Iterator[Stand]:
    """A response is lost on the way: the request is sent again, and stored once."""
    with _coap(room, LostResponses()) as stand:
        yield stand


@scenario(
    "coap-unknown-token",
    primary="coap.unauthorized",
    status={"coap.connect": "ok", "coap.telemetry": "failed", "coap.attributes": "blocked"},
)
@contextmanager
def coap_unknown_token(room: Room) -> Iterator[Stand]:
    """No device of this installation has the token: 4.01."""
    with _coap(room, credentials=token_credentials("AnotherDevicesToken1")) as stand:
        yield stand


@scenario("coap-placeholder-token", primary="token.malformed", rules=("coap.unauthorized",))
@contextmanager
def coap_placeholder_token(room: Room) -> Iterator[Stand]:
    """The token is still the placeholder of an example."""
    with _coap(room, credentials=token_credentials("$ACCESS_TOKEN")) as stand:
        yield stand


@scenario("coap-bad-json", primary="coap.bad-request", status={"coap.attributes": "ok"})
@contextmanager
def coap_bad_json(room: Room) -> Iterator[Stand]:
    """The payload is not JSON: 4.00; the token is proven all the same."""
    with _coap(room, options={"payload": b"hello world"}) as stand:
        yield stand


@scenario("coap-profile-of-mqtt", primary="coap.refused", status={"coap.telemetry": "failed"})
@contextmanager
def coap_profile_of_mqtt(room: Room) -> Iterator[Stand]:
    """The device profile's transport type is MQTT: 5.00."""
    device = Device(token=DEFAULT_TOKEN, profile=PROFILES["custom-topic"])
    with _coap(room, server={"platform": Platform([device])}) as stand:
        yield stand


@scenario("coap-too-large", primary="coap.too-large", status={"coap.telemetry": "failed"})
@contextmanager
def coap_too_large(room: Room) -> Iterator[Stand]:
    """The server takes no message of this size: 4.13."""
    with _coap(room, Always("4.13")) as stand:
        yield stand


@scenario("coap-other-server", primary="coap.not-thingsboard", status={"coap.connect": "ok"})
@contextmanager
def coap_other_server(room: Room) -> Iterator[Stand]:
    """Another CoAP server, which has no device API: 4.04."""
    with _coap(room, Always("4.04")) as stand:
        yield stand


@scenario("coap-garbage", primary="coap.not-thingsboard", status=NOT_ASKED)
@contextmanager
def coap_garbage(room: Room) -> Iterator[Stand]:
    """What answers on the port is no CoAP at all."""
    with _on(room, Garbage(port=room.port), Transport.COAP) as stand:
        yield stand


@scenario("coap-refused", primary="coap.no-response", status=NOT_ASKED)
@contextmanager
def coap_refused(room: Room) -> Iterator[Stand]:
    """Nothing listens on the UDP port, and the host says so by ICMP."""
    with _on(room, RefusingDatagrams(port=room.port), Transport.COAP) as stand:
        yield stand


@scenario("coap-silent", primary="coap.no-response", status=NOT_ASKED)
@contextmanager
def coap_silent(room: Room) -> Iterator[Stand]:
    """A firewall drops what goes to the UDP port."""
    with _on(room, DatagramServer(port=room.port), Transport.COAP) as stand:
        yield stand


@scenario("coap-stuck", primary="coap.no-response", status={"coap.connect": "ok"})
@contextmanager
def coap_stuck(room: Room) -> Iterator[Stand]:
    """The server answers a ping and no request."""
    with _coap(room, Mute(), options=dict(SHORT)) as stand:
        yield stand


@scenario("coap-acknowledged-only", primary="coap.no-response", status={"coap.connect": "ok"})
@contextmanager
def coap_acknowledged_only(room: Room) -> Iterator[Stand]:
    """The request is acknowledged, and its response never comes."""
    with _coap(room, AcknowledgedOnly(), options=dict(SHORT)) as stand:
        yield stand
