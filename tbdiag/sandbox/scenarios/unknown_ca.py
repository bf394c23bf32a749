"""Every meaning of "unknown CA", each with a cause of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from tbdiag.registry import scenario
from tbdiag.sandbox.authority import Authority, pem, self_signed
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.http import Answer, HttpApi, Response
from tbdiag.sandbox.stand import Room, Stand

REFUSED = {"tls.handshake": "ok", "tls.verify": "failed", "mqtt.connect": "blocked"}


@scenario("unknown-ca", primary="x509.wrong-ca-file", status=REFUSED)
@contextmanager
def unknown_ca(room: Room) -> Iterator[Stand]:
    """The CA file belongs to another CA; the server presents its chain with the root."""
    issued = room.issue()
    issued = issued.presenting(*issued.chain, room.root.certificate)
    other = Authority.root("Some Other Root", now=room.now)
    with room.serve_chain(issued, other.pem()) as stand:
        yield stand


@scenario("wrong-ca-file", primary="x509.wrong-ca-file", status=REFUSED)
@contextmanager
def wrong_ca_file(room: Room) -> Iterator[Stand]:
    """The CA file belongs to another CA; the server presents its intermediate, not the root."""
    other = Authority.root("Some Other Root", now=room.now)
    with room.serve_chain(room.issue(), other.pem()) as stand:
        yield stand


@scenario("missing-intermediate", primary="x509.missing-intermediate", status=REFUSED)
@contextmanager
def missing_intermediate(room: Room) -> Iterator[Stand]:
    """The server presents its certificate alone; the CA file holds the right root."""
    with room.serve_chain(room.issue().presenting()) as stand:
        yield stand


@scenario("missing-intermediate-aia", primary="x509.missing-intermediate", status=REFUSED)
@contextmanager
def missing_intermediate_aia(room: Room) -> Iterator[Stand]:
    """As missing-intermediate, and the certificate says where its issuer is to be had (AIA)."""
    der = room.intermediate.certificate.public_bytes(Encoding.DER)
    with HttpApi(faults=[Answer(Response(200, der), "/intermediate.der")]) as web:
        location = x509.UniformResourceIdentifier(f"{web.url}/intermediate.der")
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, location)
        issued = room.issue(extensions=[(x509.AuthorityInformationAccess([access]), False)])
        with room.serve_chain(issued.presenting()) as stand:
            yield stand


@scenario("ca-file-is-leaf", primary="x509.ca-file-is-end-entity", status=REFUSED)
@contextmanager
def leaf_as_ca(room: Room) -> Iterator[Stand]:
    """The CA file is the server's own certificate, which a CA issued."""
    issued = room.issue()
    with room.serve_chain(issued, issued.pem()) as stand:
        yield stand


@scenario("ca-file-is-old-leaf", primary="x509.ca-file-is-end-entity", status=REFUSED)
@contextmanager
def old_leaf_as_ca(room: Room) -> Iterator[Stand]:
    """The CA file is the server's certificate from before its renewal."""
    old = room.issue(not_after=room.now - timedelta(days=3))
    with room.serve_chain(room.issue(), old.pem()) as stand:
        yield stand


@scenario("ca-file-is-intermediate", primary="x509.ca-file-is-intermediate", status=REFUSED)
@contextmanager
def intermediate_as_ca(room: Room) -> Iterator[Stand]:
    """The CA file holds only the intermediate: OpenSSL refuses, mbedTLS accepts."""
    with room.serve_chain(room.issue(), room.intermediate.pem()) as stand:
        yield stand


@scenario("self-signed", primary="x509.self-signed-server", status=REFUSED)
@contextmanager
def self_signed_server(room: Room) -> Iterator[Stand]:
    """The server made its own certificate, and the CA file is not it."""
    with room.serve_chain(self_signed(now=room.now)) as stand:
        yield stand


@scenario("root-key-changed", primary="x509.anchor-key-changed", status=REFUSED)
@contextmanager
def anchor_key_changed(room: Room) -> Iterator[Stand]:
    """The CA was made anew under the same name: the device holds the root with the old key."""
    with room.serve_chain(room.issue(), room.root.twin().pem()) as stand:
        yield stand


@scenario("root-expired", primary="x509.anchor-expired", status=REFUSED)
@contextmanager
def anchor_expired(room: Room) -> Iterator[Stand]:
    """The right root, but it has expired."""
    root = Authority.root("Expired Root", now=room.now, not_after=room.now - timedelta(days=2))
    issued = root.intermediate("Still Valid").issue_server()
    with room.serve_chain(issued, root.pem()) as stand:
        yield stand


@scenario("expired-root-beside-cross-sign", status={"tls.verify": "ok"})
@contextmanager
def cross_signed(room: Room) -> Iterator[Stand]:
    """An expired root in the file beside the good one; the server sends a cross-signed path too."""
    expired = Authority.root("Expired X3", now=room.now, not_after=room.now - timedelta(days=2))
    crossed = expired.cross_sign(room.root, now=room.now)
    issued = room.issue()
    issued = issued.presenting(*issued.chain, crossed.certificate)
    cafile = pem(room.root.certificate, expired.certificate)
    with room.serve_chain(issued, cafile) as stand:
        yield stand


@scenario("tls-intercepted", primary="x509.tls-intercepted", status=REFUSED)
@contextmanager
def intercepted(room: Room) -> Iterator[Stand]:
    """A TLS-inspecting proxy stands between the device and the server."""
    proxy = Authority.root("CN=Zscaler Root CA,O=Zscaler Inc.", now=room.now)
    issued = proxy.intermediate("CN=Zscaler Intermediate CA,O=Zscaler Inc.").issue_server()
    with room.serve_chain(issued) as stand:
        yield stand


@scenario("web-ca-not-mqtt-ca", primary="x509.web-ca-not-mqtt-ca", status=REFUSED)
@contextmanager
def web_ca(room: Room) -> Iterator[Stand]:
    """The CA file is the web server's; the MQTT port of the same host has another CA."""
    web_root = Authority.root("Web Root", now=room.now)
    web_tls = Tls(web_root.issue_server(), client_certificate="none")
    with HttpApi(tls=web_tls) as web:
        options = {"extra": {"web_port": web.port}, "compare_web": True}
        with room.serve_chain(room.issue(), web_root.pem(), options) as stand:
            yield stand


@scenario("unknown-and-expired", primary="x509.wrong-ca-file", rules=("x509.certificate-expired",))
@contextmanager
def two_faults(room: Room) -> Iterator[Stand]:
    """Two faults at once: another CA's file, and an expired server certificate."""
    issued = room.issue(not_after=room.now - timedelta(days=1))
    other = Authority.root("Some Other Root", now=room.now)
    with room.serve_chain(issued, other.pem()) as stand:
        yield stand
