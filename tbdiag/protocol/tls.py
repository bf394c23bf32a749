"""One TLS handshake, watched (RFC 8446, RFC 5246): everything it shows, nothing judged.

OpenSSL runs on memory BIOs, so the bytes pass through our hands: a monotonic deadline bounds them
and the first ones tell what a peer speaks that is not TLS.

What is offered is what a device with a current OpenSSL offers: TLS 1.2 and 1.3 at security level 2
(Debian's setting), whatever the build that runs tbdiag defaults to. A server that speaks only TLS
1.1, or no cipher suite of that level, fails here as it fails there, and is never reported as
working. What the level finds wrong with certificates (a short key, SHA-1) arrives in the verify
callback like every other error of path validation; the callback records it and lets the handshake
go on, so the chain is seen even where no client would accept it.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from tbdiag.deadline import Deadline
from tbdiag.evidence import Alert, Certificate, HandshakeEvidence, VerifyError
from tbdiag.fact import Record, field
from tbdiag.protocol.plaintext import SHOWN, identify, is_tls
from tbdiag.protocol.tls_context import Hello, reason_of
from tbdiag.protocol.tls_names import alert_name, verify_error, version_name
from tbdiag.protocol.transport import Channel

if TYPE_CHECKING:
    from OpenSSL import SSL, crypto

__all__ = ["Attempt", "Ended", "Hello", "Watch", "handshake"]

MAX_BYTES = 512 * 1024
"""Bytes a server may send before the handshake is given up."""
MAX_CERTIFICATES = 32
"""Presented certificates that are parsed."""
MAX_CA_NAMES = 32
"""Names of a CertificateRequest that are kept."""
MAX_RECORDED = 64
"""Verify errors and alerts that are kept."""
BANNER_WAIT = 0.3
"""Seconds to collect the rest of a banner once its first byte was not TLS."""
LATE_WAIT = 0.15
"""Seconds that a TLS 1.3 server is given, at least, for its first message after the handshake."""
LATE_WAIT_ASKED = 1.0
"""The same after a CertificateRequest: then it has something to refuse."""
LATE_ROUND_TRIPS = 3
CHUNK_OUT = 8192


class Ended(Exception):
    """The handshake is over before it completed."""

    def __init__(self, outcome: str, detail: str, truncated: str | None = None) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.truncated = truncated


def handshake(channel: Channel, hello: Hello, deadline: Deadline) -> HandshakeEvidence:
    """Run one handshake over `channel`, close it, and say what was seen.

    Never raises for what the peer does; UnusableIdentity for a client certificate that OpenSSL does
    not take, before anything is sent. TLS 1.3 servers refuse a client certificate, or its
    absence, only after the client's last flight, when the handshake is complete on this side
    (RFC 8446 section 4.4.2.4). So it ends with a short read. The first thing the server sends then
    decides: a NewSessionTicket or data means that it goes on, an alert or an end that it does not.
    What follows a ticket is not awaited: looking at it or not would depend on the moment.
    """
    attempt = Attempt(channel, hello, deadline)
    ended = attempt.run()
    evidence = attempt.evidence(ended)
    attempt.close(polite=evidence.established)
    return evidence


class Watch(Record):
    """What OpenSSL's callbacks report; they must not raise."""

    verify_errors: list[VerifyError] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    certificate_requested: bool = False
    certificate_proved: bool = False
    tickets: int = 0

    def on_verify(
        self, _connection: SSL.Connection, x509: crypto.X509, code: int, depth: int, _ok: int
    ) -> bool:
        """Record a verify error, and let the handshake go on."""
        if code and len(self.verify_errors) < MAX_RECORDED:
            error = verify_error(code, depth, _der(x509))
            if error not in self.verify_errors:
                self.verify_errors.append(error)
        return True

    def on_info(self, connection: SSL.Connection, where: int, code: int) -> None:
        """Record alerts and the messages that matter."""
        if where & 0x4000:  # SSL_CB_ALERT
            self._alert("received" if where & 0x04 else "sent", code >> 8, code & 0xFF)
            return
        if where != 0x1001:  # SSL_CB_CONNECT_LOOP: a message has been sent or received
            return
        message = connection.get_state_string().partition(b" ")[2]
        if message == b"read server certificate request":
            self.certificate_requested = True
        elif message == b"write certificate verify":
            self.certificate_proved = True
        elif message == b"read server session ticket":
            self.tickets += 1

    def _alert(self, direction: str, level: int, code: int) -> None:
        if len(self.alerts) < MAX_RECORDED:
            word = "warning" if level == 1 else "fatal"
            self.alerts.append(Alert(direction, word, code, alert_name(code)))

    def last(self, direction: str) -> Alert | None:
        """The latest fatal alert of one direction."""
        found = [a for a in self.alerts if a.direction == direction and a.level == "fatal"]
        return found[-1] if found else None


class Attempt:
    """One handshake in progress over a stream; `tls_datagram` has the one over datagrams."""

    def __init__(self, channel: Channel, hello: Hello, deadline: Deadline) -> None:
        self.channel = channel
        self.hello = hello
        self.deadline = deadline
        self.watch = Watch()
        self.first = b""
        self.started = time.monotonic()
        self.elapsed_ms = 0.0
        self.completed = False
        self.connection = _connection(hello, self.watch)

    def run(self) -> Ended | None:
        """Handshake, then the short read; returns how it ended, None when it stands."""
        try:
            self._negotiate()
            self._listen()
        except Ended as ended:
            return ended
        finally:
            if not self.completed:
                self.elapsed_ms = _since(self.started)
        return None

    def _negotiate(self) -> None:
        from OpenSSL import SSL

        while True:
            try:
                self.connection.do_handshake()
            except SSL.WantReadError:
                self._flush()
            except SSL.Error as error:
                self._flush()
                raise self._failure(error, "") from None
            else:
                self._flush()
                self.elapsed_ms = _since(self.started)
                self.completed = True
                return
            self._feed(self.deadline)

    def _listen(self) -> None:
        """The short read: see `handshake`. TLS 1.2 has refused by now, unless it was asked to."""
        if self.version != "TLSv1.3" and not self.watch.certificate_requested:
            return
        limit = self.deadline.sooner(self._patience())
        while not self._heard():
            try:
                self._feed(limit)
            except Ended as ended:
                if ended.outcome == "timeout":
                    return
                if ended.outcome in ("closed", "reset"):
                    raise Ended("late-close", ended.detail) from None
                raise

    def _heard(self) -> bool:
        """Whether the server has shown that it goes on; raises Ended when it does not."""
        from OpenSSL import SSL

        try:
            return bool(self.connection.recv(1))
        except SSL.WantReadError:
            return self.watch.tickets > 0
        except SSL.Error as error:
            if self.watch.tickets:
                return True
            raise self._failure(error, "late-") from None

    def _patience(self) -> float:
        least = LATE_WAIT_ASKED if self.watch.certificate_requested else LATE_WAIT
        return max(LATE_ROUND_TRIPS * self.channel.round_trip, least)

    def _flush(self) -> None:
        from OpenSSL import SSL

        try:
            written = CHUNK_OUT
            while written == CHUNK_OUT:
                data = self.connection.bio_read(CHUNK_OUT)
                written = len(data)
                self.channel.write(data, self.deadline)
        except SSL.WantReadError:
            return
        except TimeoutError:
            raise Ended("timeout", "the peer takes no more bytes") from None

    def _feed(self, deadline: Deadline) -> None:
        """Pass what the peer sends next to OpenSSL; what is there already is read in any case."""
        if self.channel.received > MAX_BYTES:
            cut = f"more than {MAX_BYTES:,} bytes of handshake"
            raise Ended("protocol-error", cut, cut)
        if self.deadline.passed:
            raise Ended("timeout", self._progress())
        data = self._read(deadline)
        if len(self.first) < SHOWN:
            self.first = (self.first + data)[:SHOWN]
            self._refuse_other_protocols()
        self.connection.bio_write(data)

    def _read(self, deadline: Deadline) -> bytes:
        try:
            data = self.channel.read(deadline)
        except TimeoutError:
            raise Ended("timeout", self._progress()) from None
        except OSError as error:
            raise Ended("reset", f"{error.strerror or error}, {self._progress()}") from None
        if not data:
            raise Ended("closed", self._progress())
        return data

    def _progress(self) -> str:
        received = self.channel.received
        if not received:
            return "no answer to ClientHello"
        state = self.connection.get_state_string().decode("ascii", "replace")
        return f"{received:,} bytes received, last state: {state}"

    def _refuse_other_protocols(self) -> None:
        if is_tls(self.first):
            return
        limit = self.deadline.sooner(BANNER_WAIT)
        with contextlib.suppress(OSError):
            while len(self.first) < SHOWN and (data := self.channel.read(limit)):
                self.first = (self.first + data)[:SHOWN]
        raise Ended("not-tls", f"the first bytes are {self.first[:16]!r}")

    def _failure(self, error: SSL.Error, prefix: str) -> Ended:
        from OpenSSL import SSL

        alert = self.watch.last("received")
        if alert:
            return Ended(f"{prefix}alert", f"{alert.name} ({alert.code})")
        if isinstance(error, SSL.ZeroReturnError):
            return Ended("late-close" if prefix else "closed", "close_notify")
        reason = reason_of(error)
        cut = "a handshake message longer than OpenSSL allows"
        return Ended("protocol-error", reason, cut if "excessive message" in reason else None)

    @property
    def version(self) -> str:
        """The version in use; what OpenSSL hopes for as long as none was negotiated."""
        return self.connection.get_protocol_version_name()

    def evidence(self, ended: Ended | None) -> HandshakeEvidence:
        """Everything that was seen."""
        chain, unparsed, total = self._presented()
        agreed = self.completed or bool(chain or unparsed)
        outcome = ended.outcome if ended else "established"
        names, named = self._ca_names()
        truncated = ended.truncated if ended else None
        if total > MAX_CERTIFICATES:
            truncated = f"{total} certificates presented, the first {MAX_CERTIFICATES} kept"
        elif named > MAX_CA_NAMES:
            truncated = f"{named} names in CertificateRequest, the first {MAX_CA_NAMES} kept"
        return HandshakeEvidence(
            server_name=self.hello.server_name,
            established=ended is None,
            outcome=outcome,
            detail=ended.detail if ended else "",
            version=self.version if agreed else self._refused_version(),
            cipher=self.connection.get_cipher_name() if agreed else None,
            alpn=self._alpn(),
            certificate_list=chain,
            unparsed=unparsed,
            verify_errors=tuple(self.watch.verify_errors),
            alerts=tuple(self.watch.alerts),
            certificate_requested=self.watch.certificate_requested,
            certificate_request_names=names,
            client_certificate_sent=self.watch.certificate_proved,
            client_chain=self.hello.identity.chain if self.hello.identity else (),
            first_bytes=self.first if outcome == "not-tls" else b"",
            speaks=identify(self.first) if outcome == "not-tls" else None,
            bytes_received=self.channel.received,
            elapsed_ms=self.elapsed_ms,
            truncated=truncated,
            peer=self.channel.address,
        )

    def _presented(self) -> tuple[tuple[Certificate, ...], tuple[str, ...], int]:
        from tbdiag.protocol.x509 import UnparsableCertificate, parse_certificate

        presented = self.connection.get_peer_cert_chain() or []
        parsed: list[Certificate] = []
        unparsed: list[str] = []
        for x509 in presented[:MAX_CERTIFICATES]:
            try:
                parsed.append(parse_certificate(_der(x509)))
            except UnparsableCertificate as error:
                unparsed.append(str(error))
        return tuple(parsed), tuple(unparsed), len(presented)

    def _refused_version(self) -> str | None:
        """The version of a ServerHello that we refused (RFC 5246 section 7.4.1.3)."""
        alert = self.watch.last("sent")
        if alert and alert.name == "protocol_version" and self.first[:1] == b"\x16":
            return version_name(self.first[9:11])
        return None

    def _alpn(self) -> str | None:
        return self.connection.get_alpn_proto_negotiated().decode("ascii", "replace") or None

    def _ca_names(self) -> tuple[tuple[str, ...], int]:
        """The names of the CertificateRequest that are kept, and how many there were."""
        if not self.watch.certificate_requested:
            return (), 0
        names = self.connection.get_client_ca_list()
        return tuple(_name(name.der()) for name in names[:MAX_CA_NAMES]), len(names)

    def close(self, *, polite: bool) -> None:
        """Close the connection; with close_notify when it stands, to leave no error in its log."""
        from OpenSSL import SSL

        if polite:
            with contextlib.suppress(SSL.Error, Ended):
                self.connection.shutdown()
                self._flush()
        self.channel.close()


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


def _der(x509: Any) -> bytes:
    from OpenSSL import crypto

    return crypto.dump_certificate(crypto.FILETYPE_ASN1, x509)


def _name(der: bytes) -> str:
    from tbdiag.protocol.x509_names import name_text

    try:
        return name_text(der)
    except (ValueError, IndexError):
        return der.hex()


def _connection(hello: Hello, watch: Watch) -> SSL.Connection:
    from OpenSSL import SSL

    connection = SSL.Connection(hello.context(), None)
    if hello.anchors is not None:
        connection.set_verify(SSL.VERIFY_PEER, watch.on_verify)
    connection.set_info_callback(watch.on_info)
    if hello.server_name:
        connection.set_tlsext_host_name(hello.server_name.encode("ascii"))
    if hello.alpn:
        connection.set_alpn_protos([name.encode("ascii") for name in hello.alpn])
    connection.set_connect_state()
    return connection
