"""The observed handshake, against real servers: healthy ones, refusing ones, hostile ones."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from tbdiag.deadline import Deadline
from tbdiag.evidence import HandshakeEvidence
from tbdiag.protocol import tls as tls_module
from tbdiag.protocol.identity import UnusableIdentity, load_identity
from tbdiag.protocol.tls import Hello, handshake
from tbdiag.protocol.transport import dial
from tbdiag.protocol.x509 import UnparsableCertificate
from tbdiag.rules._handshake import fault_of
from tbdiag.sandbox.authority import Authority, Issued
from tbdiag.sandbox.connection import Connection, Tls
from tbdiag.sandbox.server import Server

ROOT = Authority.root()
SERVER = ROOT.issue_server()
CLIENT = ROOT.issue_client("sensor-7")
VERSIONS = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
Script = Callable[["Scripted", Connection], object]


class Scripted(Server):
    """A server whose behaviour on one connection is one function."""

    def __init__(self, script: Script, tls: Tls | None = None) -> None:
        super().__init__(tls=tls)
        self.script = script

    def serve(self, connection: Connection) -> None:
        self.script(self, connection)


def wait(_: Scripted, connection: Connection) -> None:
    """Keep the connection open until the client leaves."""
    while connection.read():
        pass


def answer(data: bytes) -> Script:
    """Read ClientHello and answer with these bytes."""

    def script(_: Scripted, connection: Connection) -> None:
        connection.read()
        connection.write(data)

    return script


def drip(data: bytes) -> Script:
    """Read ClientHello and answer one byte every 0.3 s."""

    def script(server: Scripted, connection: Connection) -> None:
        connection.read()
        for byte in data:
            connection.write(bytes([byte]))
            server.pause(0.3)

    return script


def alert(code: int) -> bytes:
    return bytes([21, 3, 3, 0, 2, 2, code])


def shake(server: Server, hello: Hello | None = None, seconds: float = 5.0) -> HandshakeEvidence:
    """One handshake with a running server."""
    _, channels = dial([("IPv4", "127.0.0.1")], server.port, Deadline.after(seconds))
    hello = hello or Hello("localhost", (der(ROOT.certificate),))
    return handshake(channels["127.0.0.1"], hello, Deadline.after(seconds))


def shaken(script: Script, seconds: float = 5.0) -> HandshakeEvidence:
    with Scripted(script) as server:
        return shake(server, seconds=seconds)


def over_tls(tls: Tls, hello: Hello | None = None, script: Script = wait) -> HandshakeEvidence:
    with Scripted(script, tls) as server:
        return shake(server, hello)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def written(folder: Path, issued: Issued) -> tuple[str, str]:
    """The certificate chain and key as files."""
    folder.joinpath("client.pem").write_bytes(issued.chain_pem())
    folder.joinpath("client.key").write_bytes(issued.key_pem())
    return str(folder / "client.pem"), str(folder / "client.key")


@contextmanager
def quick() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < tls_module.LATE_WAIT


@VERSIONS
def test_a_healthy_server_is_seen_whole(version: str) -> None:
    """Version, cipher suite, presented chain and CertificateRequest are all in the evidence."""
    intermediate = ROOT.intermediate("R1")
    seen = over_tls(Tls(intermediate.issue_server(), maximum=version))
    assert (seen.established, seen.outcome, seen.version) == (True, "established", version)
    assert [c.name for c in seen.certificate_list] == ["localhost", "R1"]
    assert (seen.verify_errors, seen.alerts, seen.peer) == ((), (), "127.0.0.1")
    assert seen.certificate_requested
    assert seen.certificate_request_names == ("CN=localhost",)
    assert not seen.client_certificate_sent
    assert seen.cipher
    assert fault_of(seen) is None


@VERSIONS
def test_a_healthy_server_is_not_waited_for(version: str) -> None:
    """The short read ends with the session ticket, long before its time is up."""
    tls = Tls(SERVER, maximum=version, client_certificate="none")
    over_tls(tls)
    with Scripted(wait, tls) as server, quick():
        assert shake(server).established


@VERSIONS
def test_every_verify_error_is_recorded_and_the_handshake_goes_on(version: str) -> None:
    """An expired certificate of an unknown CA shows both errors, and the chain."""
    stranger = Authority.root("Stranger")
    expired = stranger.issue_server(not_after=stranger.now.replace(year=2020))
    seen = over_tls(Tls(expired, maximum=version))
    assert seen.established
    assert {(e.code, e.depth) for e in seen.verify_errors} >= {(20, 0), (10, 0)}
    assert seen.verify_errors[0].subject == "CN=localhost"
    assert seen.verify_errors[0].message == "unable to get local issuer certificate"
    assert len(seen.certificate_list) == 1


def test_only_the_given_anchors_are_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A CA in the system's default store is not trusted unless it is in the CA file."""
    store = tmp_path / "system.pem"
    store.write_bytes(ROOT.pem())
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    assert [e.code for e in over_tls(Tls(SERVER), Hello("localhost")).verify_errors] == [20, 21]
    trusted = Hello("localhost", (der(ROOT.certificate),))
    assert over_tls(Tls(SERVER), trusted).verify_errors == ()


@pytest.mark.parametrize("weakness", [{"key": "rsa1024"}, {"signature_hash": "sha1"}])
def test_weak_certificates_are_evidence_not_the_end(weakness: dict[str, str]) -> None:
    """What security level 2 refuses about a certificate is recorded, and the chain is seen."""
    issuer = ROOT.intermediate("Weak", **weakness)  # type: ignore[arg-type]
    seen = over_tls(Tls(issuer.issue_server()))
    assert seen.established
    assert {e.code for e in seen.verify_errors} & {66, 67, 68}
    assert len(seen.certificate_list) == 2


def test_the_server_name_is_sent() -> None:
    """SNI goes out as given, and none for an IP address."""
    with Scripted(wait, Tls(SERVER)) as server:
        shake(server, Hello("mqtt.example"))
        shake(server, Hello(None))
        names = [connection.server_name for connection in server.connections]
    assert names == ["mqtt.example", None]


def test_alpn_is_offered() -> None:
    """The protocol that the server chose is in the evidence."""
    seen = over_tls(Tls(SERVER, alpn=("mqtt",)), Hello("localhost", alpn=("x-amzn", "mqtt")))
    assert seen.alpn == "mqtt"


@VERSIONS
def test_a_missing_client_certificate_is_seen(version: str) -> None:
    """A server that requires one refuses: in the handshake (1.2) or only after it (1.3)."""
    seen = over_tls(Tls(SERVER, maximum=version, client_certificate="require"))
    outcome, name = {
        "TLSv1.2": ("alert", "handshake_failure"),
        "TLSv1.3": ("late-alert", "certificate_required"),
    }[version]
    assert (seen.outcome, seen.established) == (outcome, False)
    assert [(a.direction, a.level, a.name) for a in seen.alerts] == [("received", "fatal", name)]
    assert len(seen.certificate_list) == 1
    assert fault_of(seen) == "tls.client-certificate-required"


@VERSIONS
def test_an_accepted_client_certificate(version: str, tmp_path: Path) -> None:
    """A client certificate that the server accepts is marked as sent and parsed."""
    identity = load_identity(*written(tmp_path, ROOT.intermediate("Devices").issue_client("s7")))
    tls = Tls(SERVER, maximum=version, client_certificate="require", client_ca=(ROOT.certificate,))
    seen = over_tls(tls, Hello("localhost", identity=identity))
    assert (seen.outcome, seen.client_certificate_sent) == ("established", True)
    assert [c.name for c in seen.client_chain] == ["s7", "Devices"]


@VERSIONS
def test_a_refused_client_certificate(version: str, tmp_path: Path) -> None:
    """unknown_ca after our certificate is about ours, not about the server's."""
    stranger = Authority.root("Stranger").issue_client()
    identity = load_identity(*written(tmp_path, stranger))
    tls = Tls(SERVER, maximum=version, client_certificate="require", client_ca=(ROOT.certificate,))
    seen = over_tls(tls, Hello("localhost", identity=identity))
    assert [a.name for a in seen.alerts] == ["unknown_ca"]
    assert (seen.client_certificate_sent, seen.established) == (True, False)
    assert fault_of(seen) == "tls.client-certificate-refused"


@VERSIONS
@pytest.mark.parametrize("given", [False, True])
def test_the_same_refusal_every_time(version: str, given: bool, tmp_path: Path) -> None:
    """Twenty times out of twenty an alert followed by a reset is the alert."""
    stranger = Authority.root("Stranger").issue_client()
    identity = load_identity(*written(tmp_path, stranger)) if given else None
    tls = Tls(SERVER, maximum=version, client_certificate="require", client_ca=(ROOT.certificate,))
    with Resetting(tls) as server:
        faults = [fault_of(shake(server, Hello("localhost", (), identity))) for _ in range(20)]
    expected = "refused" if given else "required"
    assert faults == [f"tls.client-certificate-{expected}"] * 20


class Resetting(Server):
    """A server that sends its alert and then resets, as one with unread bytes does."""

    def __init__(self, tls: Tls) -> None:
        super().__init__(tls=tls)

    def serve(self, connection: Connection) -> None:
        raise AssertionError("the handshake was to fail")

    def broke(self, connection: Connection, error: OSError) -> None:
        connection.reset()


@VERSIONS
def test_what_follows_the_ticket_does_not_count(version: str) -> None:
    """A server that goes on and then closes has completed the handshake, twenty times of twenty."""
    tls = Tls(SERVER, maximum=version, client_certificate="none")
    with Scripted(lambda _, connection: connection.finish(), tls) as server:
        assert {shake(server).outcome for _ in range(20)} == {"established"}


def test_a_close_instead_of_a_ticket_is_seen(tmp_path: Path) -> None:
    """A server that asks for a certificate and then just closes refuses its absence."""
    with AskingThenClosing(tmp_path) as server:
        seen = shake(server)
    assert seen.outcome == "late-close"
    assert fault_of(seen) == "tls.client-certificate-required"


class AskingThenClosing(Server):
    """TLS 1.3 without tickets, from the standard library: asks, completes, closes."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        import ssl

        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*written(folder, SERVER))
        self.context.load_verify_locations(cadata=ROOT.pem().decode())
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.num_tickets = 0

    def serve(self, connection: Connection) -> None:
        self.context.wrap_socket(connection._socket.dup(), server_side=True).close()


def test_protocol_version_is_named() -> None:
    """A server of TLS 1.1 at most refuses, and is never reported as working."""
    seen = over_tls(Tls(SERVER, minimum="TLSv1", maximum="TLSv1.1"))
    assert (seen.outcome, seen.alerts[0].name) == ("alert", "protocol_version")
    assert fault_of(seen) == "tls.protocol-version"


def test_an_old_server_hello_is_refused_and_named() -> None:
    """A server that answers with a TLS 1.0 ServerHello is refused with protocol_version."""
    body = b"\x03\x01" + bytes(32) + b"\x00" + b"\x00\x2f" + b"\x00"
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    seen = shaken(answer(b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message))
    assert (seen.outcome, seen.version) == ("protocol-error", "TLSv1")
    assert seen.alerts[0].direction == "sent"
    assert fault_of(seen) == "tls.protocol-version"


def test_no_common_cipher_suite() -> None:
    """handshake_failure in answer to ClientHello means that nothing was in common."""
    seen = over_tls(Tls(SERVER, maximum="TLSv1.2", ciphers="NULL"))
    assert (seen.outcome, seen.certificate_list) == ("alert", ())
    assert fault_of(seen) == "tls.no-common-cipher"


@pytest.mark.parametrize(
    ("code", "name", "fault"),
    [
        (40, "handshake_failure", "tls.no-common-cipher"),
        (70, "protocol_version", "tls.protocol-version"),
        (71, "insufficient_security", "tls.no-common-cipher"),
        (80, "internal_error", "tls.alert"),
        (48, "unknown_ca", "tls.alert"),
        (112, "unrecognized_name", "tls.unrecognized-name"),
        (116, "certificate_required", "tls.client-certificate-required"),
        (99, "alert 99", "tls.alert"),
    ],
)
def test_alerts_are_named(code: int, name: str, fault: str) -> None:
    """A fatal alert in answer to ClientHello is named as the RFC spells it."""
    seen = shaken(answer(alert(code)))
    assert (seen.outcome, seen.detail) == ("alert", f"{name} ({code})")
    assert fault_of(seen) == fault


@pytest.mark.parametrize(
    ("first", "speaks"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "http"),
        (b"<html>no</html>", "http"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "ssh"),
        (b"220 mail.example ESMTP\r\n", "smtp"),
        (b"220 files.example FTP\r\n", "ftp"),
        (b"\x20\x02\x00\x01", "mqtt"),
        (b"\xe0\x02\x82\x00", "mqtt"),
        (b"hello?\n", "unknown"),
        (b"\x16\x09zz", "unknown"),
        (b"\x00", "unknown"),
    ],
)
def test_other_protocols_are_recognised(first: bytes, speaks: str) -> None:
    """The first bytes tell what a peer speaks, and are kept."""
    seen = shaken(answer(first))
    assert (seen.outcome, seen.speaks, seen.first_bytes) == ("not-tls", speaks, first)
    assert fault_of(seen) == ("tls.plaintext-port" if speaks == "mqtt" else "tls.not-tls")


def test_a_close_and_a_reset_are_the_same_fault() -> None:
    """Whether a FIN or a RST answers ClientHello, the fault is one."""
    closed = shaken(lambda _, connection: connection.read())
    reset = shaken(lambda _, connection: [connection.read(), connection.reset()])
    assert (closed.outcome, reset.outcome) == ("closed", "reset")
    assert fault_of(closed) == fault_of(reset) == "tls.closed-in-handshake"


@pytest.mark.parametrize(
    "script",
    [
        wait,
        drip(b"\x16\x03\x03\x00\xff" + bytes(200)),
        answer(b"\x16\x03\x03\x40\x00" + bytes(64)),
        lambda server, connection: [
            connection.read(),
            connection.write(b"\x16\x03\x03\x00\xff"),
            server.pause(20),
        ],
    ],
    ids=["silent", "drip", "half-closed", "stalled"],
)
def test_the_deadline_holds(script: Script) -> None:
    """A server that is silent, drips or stalls cannot hold the handshake beyond its deadline."""
    started = time.monotonic()
    seen = shaken(script, seconds=0.7)
    assert seen.outcome in ("timeout", "closed")
    assert time.monotonic() - started < 1.7


def test_a_dripped_banner_ends_early() -> None:
    """One byte every 0.3 s that is not TLS is called so without waiting for the rest."""
    started = time.monotonic()
    assert shaken(drip(b"HTTP/1.1 400")).outcome == "not-tls"
    assert time.monotonic() - started < 1


def test_endless_records_are_cut() -> None:
    """A server that never stops sending handshake bytes is given up at a fixed size."""

    def flood(server: Scripted, connection: Connection) -> None:
        connection.read()
        hello = bytes([22, 3, 3, 0x40, 0]) + b"\x02\xff\xff\xff" + bytes(16380)
        while not server.stopping.is_set():
            connection.write(hello)

    started = time.monotonic()
    seen = shaken(flood)
    assert seen.outcome == "protocol-error"
    assert seen.bytes_received < 2 * tls_module.MAX_BYTES
    assert time.monotonic() - started < 2


def test_an_endless_certificate_list_is_cut() -> None:
    """A chain longer than any real one is parsed up to a limit, and the evidence says so."""
    chain = tuple(ROOT.intermediate(f"I{n}").certificate for n in range(40))
    seen = over_tls(Tls(SERVER.presenting(*chain)))
    assert len(seen.certificate_list) == tls_module.MAX_CERTIFICATES
    assert seen.truncated == "41 certificates presented, the first 32 kept"
    assert seen.established


def test_a_certificate_list_beyond_openssl_is_reported() -> None:
    """A Certificate message over OpenSSL's own limit ends the handshake, marked as cut."""
    key = SERVER.key
    filler = [
        ROOT.issue_server(*(f"{n}-{i}.example" for i in range(900)), key=key) for n in "abcdefghi"
    ]
    seen = over_tls(Tls(SERVER.presenting(*(f.certificate for f in filler))))
    assert seen.outcome == "protocol-error"
    assert seen.truncated is not None
    assert fault_of(seen) == "tls.alert"


def test_many_ca_names_are_cut() -> None:
    """Of a huge CertificateRequest the first names are kept."""
    names = tuple(Authority.root(f"CA {n}").certificate for n in range(60))
    seen = over_tls(Tls(SERVER, client_ca=names))
    assert len(seen.certificate_request_names) == tls_module.MAX_CA_NAMES


def test_a_tls_peer_that_answers_nonsense_is_a_protocol_error() -> None:
    """Bytes that look like TLS and are not end with our own alert."""
    seen = shaken(answer(b"\x16\x03\x03\x00\x04\x01\x00\x00\x00"))
    assert (seen.outcome, seen.alerts[0].direction) == ("protocol-error", "sent")
    assert fault_of(seen) == "tls.alert"


def test_a_reset_in_the_middle_keeps_the_chain(tmp_path: Path) -> None:
    """A server that resets after its certificate still shows it."""

    def relay(server: Scripted, connection: Connection) -> None:
        """Pass ClientHello on to a real server, its first flight back, then reset."""
        with socket.create_connection(("127.0.0.1", real.port)) as upstream:
            upstream.sendall(connection.read())
            connection.write(upstream.recv(65536))
            connection.read()
            connection._socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            connection._socket.close()

    tls = Tls(SERVER, maximum="TLSv1.2", client_certificate="none")
    with Scripted(wait, tls) as real, Scripted(relay) as server:
        seen = shake(server)
    assert seen.outcome in ("reset", "closed")
    assert [c.name for c in seen.certificate_list] == ["localhost"]
    assert fault_of(seen) == "tls.closed-in-handshake"


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    """Certificate and key that do not belong together are found before anything is dialled."""
    certfile, keyfile = written(tmp_path, CLIENT)
    Path(keyfile).write_bytes(ROOT.issue_client().key_pem())
    with pytest.raises(UnusableIdentity, match="is not the key of") as error:
        load_identity(certfile, keyfile)
    assert error.value.outcome == "client-key-mismatch"
    assert [c.name for c in error.value.chain] == ["sensor-7"]


def test_certificate_and_key_in_one_file(tmp_path: Path) -> None:
    """Without a key file the key is taken from the certificate file, as mosquitto's users do."""
    both = tmp_path / "both.pem"
    both.write_bytes(CLIENT.pem() + CLIENT.key_pem())
    assert load_identity(str(both), None).chain[0].name == "sensor-7"


def test_unreadable_identities_say_why(tmp_path: Path) -> None:
    """Each way in which a certificate or key file cannot be used has its own words."""
    certfile, keyfile = written(tmp_path, CLIENT)
    files = {
        "der": der(CLIENT.certificate),
        "broken": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "encrypted": CLIENT.key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
        ),
        "damaged": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "huge": bytes(2 << 20),
    }
    for name, data in files.items():
        tmp_path.joinpath(name).write_bytes(data)
    told = {
        (str(tmp_path / "absent"), keyfile): "No such file",
        (str(tmp_path), keyfile): "Is a directory",
        ("nul\0byte", keyfile): "null byte",
        (str(tmp_path / "der"), keyfile): "holds no PEM",
        (keyfile, keyfile): "a private key but no certificate",
        (str(tmp_path / "broken"), keyfile): "cannot be parsed",
        (str(tmp_path / "huge"), keyfile): "larger than",
        (certfile, str(tmp_path / "absent")): "No such file",
        (certfile, certfile): "holds no private key",
        (certfile, str(tmp_path / "encrypted")): "is encrypted",
        (certfile, str(tmp_path / "damaged")): "cannot be loaded",
    }
    for pair, words in told.items():
        with pytest.raises(UnusableIdentity, match=words) as error:
            load_identity(*pair)
        assert error.value.outcome == "client-certificate-unreadable"


def test_a_client_key_that_openssl_refuses(tmp_path: Path) -> None:
    """A client certificate below the security level is refused before anything is sent."""
    identity = load_identity(*written(tmp_path, ROOT.issue_client(key="rsa1024")))
    with pytest.raises(UnusableIdentity, match="too small"):
        Hello("localhost", identity=identity).context()


def test_a_certificate_that_we_cannot_parse_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What OpenSSL reads and our parser does not is reported, and is no fault of tbdiag."""

    def refuse(_: bytes) -> None:
        raise UnparsableCertificate("It is odd.")

    monkeypatch.setattr("tbdiag.protocol.x509.parse_certificate", refuse)
    seen = over_tls(Tls(SERVER), Hello("localhost"))
    assert (seen.outcome, seen.unparsed, seen.certificate_list) == (
        "established",
        ("It is odd.",),
        (),
    )
    assert seen.verify_errors[0].subject == ""
