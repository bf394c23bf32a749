"""The sandbox's broker over TLS, against Python's ssl, openssl and pyOpenSSL clients."""

from __future__ import annotations

import hashlib
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tbdiag.protocol.mqtt import Connack, Connect, PacketReader, Version, encode, parse_connack
from tbdiag.sandbox.authority import Authority, Issued, self_signed
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.profile import DEFAULT_TOKEN, Device

ROOT = Authority.root()
SERVER = ROOT.intermediate().issue_server()


def trusting(root: Authority) -> ssl.SSLContext:
    """A client context that trusts one root."""
    context = ssl.create_default_context(cadata=root.pem().decode())
    context.set_alpn_protocols(["mqtt"])
    return context


def connack(
    port: int,
    context: ssl.SSLContext,
    username: str | None = DEFAULT_TOKEN,
    host: str = "localhost",
) -> Connack:
    """Do a handshake, send a CONNECT and return the CONNACK."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as sock,
        context.wrap_socket(sock, server_hostname=host) as stream,
    ):
        stream.sendall(encode(Connect("id", username)))
        reader = PacketReader()
        while not (found := reader.feed(stream.recv(100))):
            pass
        return parse_connack(found[0][1], Version.V311)


def with_certificate(context: ssl.SSLContext, issued: Issued, folder: Path) -> ssl.SSLContext:
    """The context with a client certificate."""
    (folder / "client.pem").write_bytes(issued.key_pem() + issued.chain_pem())
    context.load_cert_chain(folder / "client.pem")
    return context


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_connect(version: str) -> None:
    """A verifying client gets its CONNACK; server_name and the decrypted token are on record."""
    with Broker(tls=Tls(SERVER, version, version)) as broker:
        assert connack(broker.port, trusting(ROOT)) == Connack(0)
        assert broker.wait_for("handshake").detail == "localhost"
        assert DEFAULT_TOKEN.encode() in broker.connections[0].plain
        assert DEFAULT_TOKEN.encode() not in broker.connections[0].wire
        assert DEFAULT_TOKEN.encode() in broker.received_bytes()


def test_distrust_is_seen_on_the_server() -> None:
    """A client that does not trust us sends unknown_ca and no token."""
    with Broker(tls=Tls(SERVER)) as broker:
        with pytest.raises(ssl.SSLCertVerificationError):
            connack(broker.port, trusting(Authority.root("Other")))
        assert "unknown ca" in str(broker.wait_for("handshake-failed").detail)
        assert DEFAULT_TOKEN.encode() not in broker.received_bytes()


def s_client(port: int, *arguments: str) -> str:
    """What openssl s_client prints about a handshake."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-showcerts", *arguments]
    done = subprocess.run(
        command, input="", capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout + done.stderr


def test_certificate_request_names_the_leaf() -> None:
    """ThingsBoard's CertificateRequest is there, and its CA names hold the server's leaf."""
    with Broker(tls=Tls(SERVER)) as broker:
        said = s_client(broker.port)
    assert "Acceptable client certificate CA names\nCN = localhost\n" in said


def test_no_certificate_request() -> None:
    """A TLS terminator in front sends no CertificateRequest."""
    with Broker(tls=Tls(SERVER, client_certificate="none")) as broker:
        assert "No client certificate CA names sent" in s_client(broker.port)


@pytest.mark.parametrize("order", [(0,), (0, 1), ()])
def test_chain_is_presented_as_given(order: tuple[int, ...]) -> None:
    """The chain goes on the wire exactly as configured: complete, with the root, or bare."""
    others = (*SERVER.chain, ROOT.certificate)
    issued = SERVER.presenting(*(others[n] for n in order))
    with Broker(tls=Tls(issued)) as broker:
        assert s_client(broker.port).count("BEGIN CERTIFICATE") >= len(order) + 1
        assert f"\n{len(order)} s:" not in s_client(broker.port)


def test_registered_client_certificate(tmp_path: Path) -> None:
    """A registered client certificate connects as its device, whatever the user name."""
    client = self_signed("device", alt_names=())
    device = Device("x509", fingerprint=client.fingerprint)
    with Broker([device], tls=Tls(SERVER)) as broker:
        context = with_certificate(trusting(ROOT), client, tmp_path)
        assert connack(broker.port, context, None) == Connack(0)
        assert connack(broker.port, context, "nonsense") == Connack(0)


def test_unregistered_client_certificate(tmp_path: Path) -> None:
    """An unknown client certificate completes the handshake and gets Return code 5."""
    with Broker(tls=Tls(SERVER)) as broker:
        context = with_certificate(trusting(ROOT), ROOT.issue_client(), tmp_path)
        assert connack(broker.port, context) == Connack(5)


def test_expired_client_certificate(tmp_path: Path) -> None:
    """A registered certificate that has expired gets Return code 5."""
    client = ROOT.issue_client(not_after=ROOT.certificate.not_valid_before_utc)
    with Broker([Device(fingerprint=client.fingerprint)], tls=Tls(SERVER)) as broker:
        assert connack(broker.port, with_certificate(trusting(ROOT), client, tmp_path)) == Connack(
            5
        )


def test_unregistered_client_certificate_before_3_5(tmp_path: Path) -> None:
    """Up to 3.4 an unknown client certificate fails the handshake."""
    with Broker(tls=Tls(SERVER), generation="3.4") as broker:
        context = with_certificate(trusting(ROOT), ROOT.issue_client(), tmp_path)
        with pytest.raises(OSError, match=r"alert|reset|closed|EOF"):
            connack(broker.port, context)


def test_required_client_certificate(tmp_path: Path) -> None:
    """A server that requires a certificate takes one of its own CA and nothing else."""
    tls = Tls(SERVER, client_certificate="require", client_ca=(ROOT.certificate,))
    with Broker(tls=tls, generation="4.x") as broker:
        good = with_certificate(trusting(ROOT), ROOT.issue_client(), tmp_path)
        assert connack(broker.port, good) == Connack(5)
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate required"):
            connack(broker.port, trusting(ROOT))
        bad = with_certificate(trusting(ROOT), Authority.root("Other").issue_client(), tmp_path)
        with pytest.raises(ssl.SSLError, match=r"(?i)unknown ca"):
            connack(broker.port, bad)


@pytest.mark.parametrize(
    ("tls", "arguments", "said"),
    [
        (Tls(SERVER, "TLSv1.2", "TLSv1.2"), ["-tls1_3"], "alert protocol version"),
        (Tls(SERVER, "TLSv1.2", "TLSv1.2", "AES256-SHA"), ["-tls1_2"], "alert handshake failure"),
        (Tls(SERVER, alpn=("mqtt",)), ["-alpn", "mqtt"], "ALPN protocol: mqtt"),
        (Tls(SERVER, alpn=("mqtt",)), ["-alpn", "h2"], "alert no application protocol"),
        (
            Tls(SERVER, by_name={"other.test": ROOT.issue_server("other.test")}),
            ["-servername", "other.test"],
            "subject=CN = other.test",
        ),
    ],
)
def test_tls_settings(tls: Tls, arguments: list[str], said: str) -> None:
    """Versions, cipher suites, ALPN and server_name work as they are set."""
    with Broker(tls=tls) as broker:
        assert said in s_client(broker.port, *arguments)


@pytest.mark.parametrize("fault", [{"key": "rsa1024"}, {"signature_hash": "sha1"}, {"version": 1}])
def test_weak_certificates_are_served(fault: dict[str, object]) -> None:
    """The server presents weak certificates: refusing them is the client's part."""
    issued = ROOT.issue_server(**fault)  # type: ignore[typeddict-item]
    with Broker(tls=Tls(issued)) as broker:
        lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        lax.check_hostname, lax.verify_mode = False, ssl.CERT_NONE
        lax.set_ciphers("DEFAULT:@SECLEVEL=0")
        assert connack(broker.port, lax) == Connack(0)


def test_legacy_tls() -> None:
    """A server limited to TLS 1.0 is told apart by its version."""
    with Broker(tls=Tls(SERVER, "TLSv1", "TLSv1.1")) as broker:
        said = s_client(broker.port, "-min_protocol", "TLSv1.2")
    assert "protocol version" in said or "unsupported protocol" in said


def test_plain_client_on_the_tls_port() -> None:
    """Plain MQTT on the TLS port is answered with an alert record, and logged."""
    with Broker(tls=Tls(SERVER)) as broker:
        with socket.create_connection(("127.0.0.1", broker.port), timeout=20) as sock:
            sock.sendall(encode(Connect("id", None)))
            assert sock.recv(10)[:1] in (b"\x15", b"")
        assert broker.wait_for("handshake-failed")


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_never_ends_does_not_hold_up_the_end(sent: bytes) -> None:
    """A client that stays in the middle of its handshake ends with the broker."""
    before = threading.active_count()
    with Broker(tls=Tls(SERVER)) as broker:
        sock = socket.create_connection(("127.0.0.1", broker.port), timeout=20)
        sock.sendall(sent)
        assert connack(broker.port, trusting(ROOT)) == Connack(0)  # so the first was accepted
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert threading.active_count() == before
    sock.close()


def test_ipv6() -> None:
    """Asked for ::1, the broker listens there on the same port."""
    with Broker(tls=Tls(SERVER), ipv6=True) as broker, socket.socket(socket.AF_INET6) as sock:
        assert sock.connect_ex(("::1", broker.port)) == 0


def test_fingerprint_is_that_of_the_der() -> None:
    """An Issued's fingerprint is the SHA-256 of its DER, as hashlib computes it."""
    der = ssl.PEM_cert_to_DER_cert(SERVER.pem().decode())
    assert SERVER.fingerprint == hashlib.sha256(der).hexdigest()
