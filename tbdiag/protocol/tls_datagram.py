"""One DTLS 1.2 handshake, watched (RFC 6347): the facts of `tls`, over datagrams.

The same OpenSSL on memory BIOs. A memory BIO forgets where one datagram ends, so what OpenSSL
writes is cut into its records again, and each travels in a datagram of its own. Lost flights are
sent again when OpenSSL's own timer says so (RFC 6347 section 4.2.4), within our deadline.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tbdiag.deadline import Deadline
from tbdiag.evidence import HandshakeEvidence
from tbdiag.fact import Record
from tbdiag.protocol.tls import Attempt, Ended
from tbdiag.protocol.tls_context import Hello, reason_of
from tbdiag.protocol.transport_udp import DatagramRefused, Datagrams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from OpenSSL import SSL

__all__ = ["DtlsSession", "SessionEnded", "handshake_datagrams", "is_dtls", "records"]

MTU = 1200
"""Bytes of one datagram: passes every IPv6 path (RFC 8200 section 5), tunnels included."""
RECORD_HEADER = 13
"""content type, version, epoch, sequence number, length (RFC 6347 section 4.1)."""
LARGEST_RECORD = RECORD_HEADER + 16384 + 2048
_CONTENT_TYPES = range(20, 26)


class SessionEnded(OSError):
    """The DTLS session is over; the text says how."""


class DtlsSession(Record):
    """An established DTLS connection: application data, one record for one datagram."""

    connection: SSL.Connection
    channel: Datagrams

    @property
    def peer(self) -> str:
        """The address at the other end."""
        return self.channel.address

    def send(self, data: bytes) -> None:
        """Encrypt and send; SessionEnded when OpenSSL will not, DatagramRefused from the system."""
        from OpenSSL import SSL

        try:
            self.connection.send(data)
        except SSL.Error as error:
            raise SessionEnded(reason_of(error)) from None
        for datagram in records(_written(self.connection)):
            self.channel.send(datagram)

    def receive(self, deadline: Deadline) -> bytes:
        """The next application data; TimeoutError, SessionEnded, or DatagramRefused."""
        from OpenSSL import SSL

        while True:
            try:
                return self.connection.recv(LARGEST_RECORD)
            except SSL.WantReadError:
                self.connection.bio_write(self.channel.receive(deadline))
            except SSL.ZeroReturnError:
                raise SessionEnded("the server closed the DTLS session (close_notify)") from None
            except SSL.Error as error:
                raise SessionEnded(f"the DTLS session broke: {reason_of(error)}") from None

    def close(self) -> None:
        """Say close_notify and close the socket; closing twice is harmless."""
        from OpenSSL import SSL

        with contextlib.suppress(SSL.Error, OSError):
            self.connection.shutdown()
            for datagram in records(_written(self.connection)):
                self.channel.send(datagram)
        self.channel.close()


def handshake_datagrams(
    channel: Datagrams, hello: Hello, deadline: Deadline
) -> tuple[HandshakeEvidence, DtlsSession | None]:
    """Run one DTLS handshake over `channel`: what was seen, and the session when it stands.

    Never raises for what the peer does; UnusableIdentity as `tls.handshake`. Outcomes besides those
    of TLS: `no-answer` (not one datagram came back) and `refused` (ICMP says that nobody listens).
    The caller closes the session; without one, the channel is closed.
    """
    attempt = _DatagramAttempt(channel, hello, deadline)
    ended = attempt.run()
    evidence = attempt.evidence(ended)
    if ended is None:
        return evidence, DtlsSession(attempt.connection, channel)
    channel.close()
    return evidence, None


class _DatagramAttempt(Attempt):
    """One DTLS handshake in progress."""

    channel: Datagrams  # type: ignore[assignment]

    def __init__(self, channel: Datagrams, hello: Hello, deadline: Deadline) -> None:
        super().__init__(channel, hello, deadline)  # type: ignore[arg-type]
        self.connection.set_ciphertext_mtu(MTU)

    def _listen(self) -> None:
        """DTLS 1.2 refuses a client certificate, or none, within the handshake."""

    def _flush(self) -> None:
        try:
            for datagram in records(_written(self.connection)):
                self.channel.send(datagram)
        except DatagramRefused as error:
            raise Ended("refused", str(error.strerror)) from None

    def _read(self, deadline: Deadline) -> bytes:
        """The next datagram; while none comes, the last flight again whenever it is due."""
        while True:
            due = self.connection.DTLSv1_get_timeout()
            limit = deadline if due is None else deadline.sooner(due)
            try:
                return self.channel.receive(limit)
            except TimeoutError:
                self._resend(deadline)
            except DatagramRefused as error:
                raise Ended("refused", str(error.strerror)) from None

    def _resend(self, deadline: Deadline) -> None:
        if not deadline.passed:
            self.connection.DTLSv1_handle_timeout()
            self._flush()
        elif self.channel.received:
            raise Ended("timeout", self._progress())
        else:
            raise Ended("no-answer", f"{self.channel.sent} datagrams sent, none came back")

    def _refuse_other_protocols(self) -> None:
        if not is_dtls(self.first):
            raise Ended("not-tls", f"the first bytes are {self.first[:16]!r}")


def is_dtls(first: bytes) -> bool:
    """Whether a datagram may be DTLS: a content type, then major version 254 (RFC 6347)."""
    return first[:1] == b"" or (first[0] in _CONTENT_TYPES and first[1:2] in (b"", b"\xfe"))


def records(data: bytes) -> Iterator[bytes]:
    """The DTLS records in `data`, each with its header (RFC 6347 section 4.1)."""
    while len(data) >= RECORD_HEADER:
        end = RECORD_HEADER + int.from_bytes(data[11:13], "big")
        yield data[:end]
        data = data[end:]


def _written(connection: SSL.Connection) -> bytes:
    """Everything OpenSSL wants to send."""
    from OpenSSL import SSL

    parts = []
    with contextlib.suppress(SSL.WantReadError):
        while True:
            parts.append(connection.bio_read(65536))
    return b"".join(parts)
