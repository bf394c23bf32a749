"""A small UDP server on loopback, plain or with DTLS: what the sandbox's CoAP server stands on."""

from __future__ import annotations

import hashlib
import selectors
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from tbdiag.protocol.tls_context import DTLS1_2
from tbdiag.protocol.tls_datagram import is_dtls, records

if TYPE_CHECKING:
    from cryptography import x509
    from OpenSSL import SSL

    from tbdiag.sandbox.connection import Tls

_CHUNK: Final = 65536
_MTU: Final = 1024
"""Bytes of a flight's datagrams: ThingsBoard's own fragment size."""
_STOP_SECONDS: Final = 5.0

Address = tuple[str, int]


class Peer:
    """One client, known by its address; `certificate` is the one it showed, if any."""

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self.address = address
        self.certificate: x509.Certificate | None = None
        self._socket = sock

    def messages(self, datagram: bytes) -> list[bytes]:
        """The application messages that one datagram brings."""
        return [datagram]

    def send(self, data: bytes) -> None:
        """Send one message."""
        with suppress(OSError):
            self._socket.sendto(data, self.address)


class DtlsPeer(Peer):
    """A client behind a DTLS 1.2 session; the cookie of RFC 6347 section 4.2.1 is asked first."""

    def __init__(self, sock: socket.socket, address: Address, context: SSL.Context) -> None:
        from OpenSSL import SSL

        super().__init__(sock, address)
        self._errors = SSL
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._tls.set_ciphertext_mtu(_MTU)
        self._verified = False
        self._established = False

    def messages(self, datagram: bytes) -> list[bytes]:
        """Pass a datagram to OpenSSL; returns what it decrypted."""
        if not is_dtls(datagram):
            return []  # as every DTLS server does (RFC 6347 section 4.1.2.7)
        self._tls.bio_write(datagram)
        found: list[bytes] = []
        with suppress(self._errors.Error):  # a failed handshake or a close: the peer has its alert
            self._advance()
            while self._established:
                found.append(self._tls.recv(_CHUNK))
        self._flush()
        return found

    def _advance(self) -> None:
        if not self._verified:
            self._tls.DTLSv1_listen()
            self._verified = True
        if not self._established:
            self._tls.do_handshake()
            self._established = True
            self.certificate = self._tls.get_peer_certificate(as_cryptography=True)

    def send(self, data: bytes) -> None:
        """Encrypt and send one message."""
        with suppress(self._errors.Error):
            self._tls.send(data)
        self._flush()

    def _flush(self) -> None:
        with suppress(self._errors.WantReadError):
            while True:
                for datagram in records(self._tls.bio_read(_CHUNK)):
                    super().send(datagram)


class DatagramServer:
    """Listens on UDP 127.0.0.1 and passes messages to `receive`, one after the other.

    Use it as a context manager. tls: DTLS 1.2 with this certificate, None for plain. lose: how many
    datagrams get lost before the first one is heard. Leaving the context raises what went wrong.
    """

    def __init__(self, *, tls: Tls | None = None, port: int = 0, lose: int = 0) -> None:
        self.tls = tls
        self.port = port
        self.failures: list[Exception] = []
        self._lose = lose
        self._wire = bytearray()
        self._plain = bytearray()
        self._peers: dict[Address, Peer] = {}
        self._context: SSL.Context | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def receive(self, peer: Peer, message: bytes) -> None:
        """Answer one message; nothing unless overridden."""

    def start(self) -> Self:
        """Bind and return; `port` then holds the real port."""
        self._context = dtls_context(self.tls) if self.tls else None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", self.port))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread and close the socket."""
        self._wake.send(b"x")
        self._thread.join(_STOP_SECONDS)
        for sock in (self._socket, self._wake, self._woken):
            sock.close()

    def received_bytes(self) -> bytes:
        """Everything all clients sent: as on the wire, and decrypted."""
        return bytes(self._wire + self._plain)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, and raise what the thread raised."""
        self.stop()
        if kind is None and self.failures:
            raise self.failures[0]

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (self._socket, self._woken):
                selector.register(sock, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._woken:
                        return
                    self._hear()

    def _hear(self) -> None:
        try:
            datagram, address = self._socket.recvfrom(_CHUNK)
        except OSError:
            return
        self._wire += datagram
        if self._lose > 0:
            self._lose -= 1
            return
        try:
            peer = self._peer(address)
            for message in peer.messages(datagram):
                self._plain += message if self.tls else b""
                self.receive(peer, message)
        except Exception as error:  # noqa: BLE001 - shown by __exit__, not lost in a thread
            self.failures.append(error)

    def _peer(self, address: Address) -> Peer:
        if address not in self._peers:
            context = self._context
            peer = DtlsPeer(self._socket, address, context) if context else None
            self._peers[address] = peer or Peer(self._socket, address)
        return self._peers[address]


class RefusingDatagrams(DatagramServer):
    """A UDP port that nobody listens on, and that nobody else gets meanwhile: ICMP answers."""

    def start(self) -> Self:
        """Reserve the port: a socket connected to itself hears nobody else."""
        self._reserved = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._reserved.bind(("127.0.0.1", self.port))
        self.port = self._reserved.getsockname()[1]
        self._reserved.connect(("127.0.0.1", self.port))
        return self

    def stop(self) -> None:
        """Release the port."""
        self._reserved.close()


def dtls_context(tls: Tls) -> SSL.Context:
    """The server context of ThingsBoard's DTLS: version 1.2, a client certificate wanted.

    The security level is 0: weak keys and signatures are the client's to refuse.
    """
    from OpenSSL import SSL  # heavy, and only DTLS needs it

    context = SSL.Context(SSL.DTLS_SERVER_METHOD)
    context.set_min_proto_version(DTLS1_2)
    context.set_max_proto_version(DTLS1_2)
    context.set_cipher_list(f"{tls.ciphers}:@SECLEVEL=0".encode())
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.set_options(SSL.OP_COOKIE_EXCHANGE or 0)
    context.set_session_id(b"tbdiag")
    context.use_certificate(tls.issued.certificate)
    for certificate in tls.issued.chain:
        context.add_extra_chain_cert(certificate)
    context.use_privatekey(tls.issued.key)
    context.set_cookie_generate_callback(_cookie)
    context.set_cookie_verify_callback(lambda connection, cookie: cookie == _cookie(connection))
    if tls.client_certificate != "none":
        mode = SSL.VERIFY_PEER
        if tls.client_certificate == "require":
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        context.set_verify(mode, lambda *_: True)
    return context


def _cookie(connection: SSL.Connection) -> bytes:
    """One cookie for each connection object, and so for each address."""
    return hashlib.sha256(str(id(connection)).encode()).digest()[:16]
