"""The connection stands, and TLS does not come about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tbdiag.model import Credentials, Secret, Transport
from tbdiag.registry import scenario
from tbdiag.sandbox import faults
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.profile import DEFAULT_TOKEN
from tbdiag.sandbox.server import Server
from tbdiag.sandbox.stand import Room, Stand

FAILED = {"tcp.connect": "ok", "tls.handshake": "failed", "mqtt.connect": "blocked"}
SHORT = {"timeout": 2.0}


@contextmanager
def _faulty(room: Room, server: Server, **options: object) -> Iterator[Stand]:
    with room.serve(server, options=dict(options)) as stand:
        yield stand


@scenario("plaintext-port", primary="tls.plaintext-port", status=FAILED)
@contextmanager
def plaintext_port(room: Room) -> Iterator[Stand]:
    """The port speaks plain MQTT: MQTT_SSL_ENABLED is not set on the server."""
    with _faulty(room, room.broker(plain=True)) as stand:
        yield stand


@scenario("http-on-the-port", primary="tls.not-tls", status=FAILED)
@contextmanager
def http_on_the_port(room: Room) -> Iterator[Stand]:
    """An HTTP server answers on the port."""
    with _faulty(room, faults.Replying()) as stand:
        yield stand


@scenario("ssh-on-the-port", primary="tls.not-tls", status=FAILED)
@contextmanager
def ssh_on_the_port(room: Room) -> Iterator[Stand]:
    """An SSH server answers on the port."""
    with _faulty(room, faults.Banner()) as stand:
        yield stand


@scenario("closing", primary="tls.closed-in-handshake", status=FAILED)
@contextmanager
def closing(room: Room) -> Iterator[Stand]:
    """The server closes when it has read the ClientHello."""
    with _faulty(room, faults.Closing(after_first_bytes=True)) as stand:
        yield stand


@scenario("resetting", primary="tls.closed-in-handshake", status=FAILED)
@contextmanager
def resetting(room: Room) -> Iterator[Stand]:
    """The server resets the connection when it has read the ClientHello."""
    with _faulty(room, faults.Resetting()) as stand:
        yield stand


@scenario("resetting-at-once", primary="tcp.reset", status=FAILED)
@contextmanager
def resetting_at_once(room: Room) -> Iterator[Stand]:
    """The server resets every connection as soon as it is open."""
    with _faulty(room, faults.Resetting(after_first_bytes=False)) as stand:
        yield stand


@scenario("silent", primary="tls.timeout", status=FAILED)
@contextmanager
def silent(room: Room) -> Iterator[Stand]:
    """The server accepts the connection and never answers."""
    with _faulty(room, faults.Silent(), **SHORT) as stand:
        yield stand


@scenario("dripping", primary="tls.timeout", status=FAILED)
@contextmanager
def dripping(room: Room) -> Iterator[Stand]:
    """The server sends one byte every two seconds."""
    with _faulty(room, faults.Dripping(), **SHORT) as stand:
        yield stand


@scenario("old-tls", primary="tls.protocol-version", status=FAILED)
@contextmanager
def old_tls(room: Room) -> Iterator[Stand]:
    """The server knows no TLS version that is still in use."""
    with _faulty(room, faults.Alerting(faults.PROTOCOL_VERSION)) as stand:
        yield stand


@scenario("no-common-cipher", primary="tls.no-common-cipher", status=FAILED)
@contextmanager
def no_common_cipher(room: Room) -> Iterator[Stand]:
    """The server finds no cipher suite that both sides know."""
    with _faulty(room, faults.Alerting(faults.HANDSHAKE_FAILURE)) as stand:
        yield stand


@scenario("unrecognized-name", primary="tls.unrecognized-name", status=FAILED)
@contextmanager
def unrecognized_name(room: Room) -> Iterator[Stand]:
    """The server serves several names, and this is none of them."""
    with _faulty(room, faults.Alerting(faults.UNRECOGNIZED_NAME)) as stand:
        yield stand


@scenario("internal-error", primary="tls.alert", status=FAILED)
@contextmanager
def internal_error(room: Room) -> Iterator[Stand]:
    """The server breaks the handshake off with the alert internal_error."""
    with _faulty(room, faults.Alerting(faults.INTERNAL_ERROR)) as stand:
        yield stand


@scenario("client-certificate-required", primary="tls.client-certificate-required")
@contextmanager
def client_certificate_required(room: Room) -> Iterator[Stand]:
    """TLS 1.3 with a required client certificate: refused only after the handshake."""
    tls = Tls(room.issue(), client_certificate="require")
    with _faulty(room, room.broker(tls=tls)) as stand:
        yield stand


@scenario("client-certificate-required-1.2", primary="tls.client-certificate-required")
@contextmanager
def client_certificate_required_12(room: Room) -> Iterator[Stand]:
    """TLS 1.2 with a required client certificate: refused in the handshake."""
    tls = Tls(room.issue(), client_certificate="require", maximum="TLSv1.2")
    with _faulty(room, room.broker(tls=tls)) as stand:
        yield stand


@scenario("client-certificate-refused", primary="tls.client-certificate-refused")
@contextmanager
def client_certificate_refused(room: Room) -> Iterator[Stand]:
    """The server does not know the CA of the client certificate."""
    tls = Tls(room.issue(), client_certificate="require", client_ca=(room.root.certificate,))
    device = Authority.root("Another Device CA", now=room.now).issue_client()
    credentials = Credentials(
        certfile=room.write("device.pem", device.pem()),
        keyfile=room.write("device.key", device.key_pem()),
    )
    with room.serve(room.broker(tls=tls), credentials=credentials) as stand:
        yield stand


@scenario("client-key-mismatch", primary="tls.client-key-mismatch")
@contextmanager
def client_key_mismatch(room: Room) -> Iterator[Stand]:
    """The private key belongs to another client certificate."""
    one, other = room.root.issue_client("one"), room.root.issue_client("other")
    credentials = Credentials(
        certfile=room.write("device.pem", one.pem()),
        keyfile=room.write("device.key", other.key_pem()),
    )
    with room.serve(room.broker(), credentials=credentials) as stand:
        yield stand


@scenario("client-certificate-unreadable", primary="tls.client-certificate-unreadable")
@contextmanager
def client_certificate_unreadable(room: Room) -> Iterator[Stand]:
    """The client certificate file does not exist."""
    credentials = Credentials(
        certfile=str(room.folder / "missing.pem"),
        keyfile=room.write("device.key", room.root.issue_client().key_pem()),
    )
    with room.serve(room.broker(), credentials=credentials) as stand:
        yield stand


@scenario("plain-client-on-tls-port", primary="mqtt.tls-port")
@contextmanager
def plain_client(room: Room) -> Iterator[Stand]:
    """The device speaks plain MQTT to a port that speaks TLS."""
    with room.serve(room.broker(), transport=Transport.MQTT) as stand:
        yield stand


@scenario(
    "insecure",
    primary="x509.wrong-ca-file",
    rules=("tls.verification-disabled",),
    status={"tls.verify": "failed", "mqtt.connect": "ok"},
)
@contextmanager
def insecure(room: Room) -> Iterator[Stand]:
    """Another CA's file, and --insecure: the session works, the report stays red."""
    other = Authority.root("Some Other Root", now=room.now)
    credentials = Credentials(token=Secret(DEFAULT_TOKEN))
    options = {"insecure": True}
    with room.serve(room.broker(), other.pem(), options, credentials=credentials) as stand:
        yield stand
