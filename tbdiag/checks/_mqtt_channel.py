"""The connection that carries the token: dialled to the proven address, verified once more.

The TLS context is built by hand from exactly the loaded trust anchors, so nothing of the operating
system's store or of the running Python's defaults decides who may see the token.
"""

from __future__ import annotations

import ipaddress
import selectors
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress

from tbdiag.checks._mqtt_spare import Spare
from tbdiag.deadline import Deadline
from tbdiag.errors import os_error_kind
from tbdiag.evidence import CaEvidence, Certificate
from tbdiag.fact import Fact, replace
from tbdiag.model import Options, Target
from tbdiag.protocol.hostnames import InvalidName, ascii_name
from tbdiag.protocol.transport import dial

PARTIAL_CHAIN_CLIENTS = frozenset({"openssl-strict", "python", "mbedtls"})
"""Client stacks that take any certificate of the CA file as trust anchor, not only roots."""
NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: `--at` has judged validity at another moment already."""
READ_SIZE = 65536
MAX_RECEIVED = 4 * 1024 * 1024
"""Bytes after which a peer that floods us is cut off."""


class ChannelFailed(Exception):
    """The channel does not stand, and nothing secret was sent.

    `outcome` is `tcp-failed` or `tls-failed`; the text is what happened.
    """

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


class Endpoint(Fact, frozen=True):
    """Where to connect, and how the server must prove itself.

    `name` is the reference identifier and SNI; `context` is None for a plain port. With `proxy`,
    its URL, `address` is the server's name, for the proxy to resolve.
    """

    address: str
    port: int
    name: str
    context: ssl.SSLContext | None
    proxy: str | None = None
    family: str | None = None


def tls_context(target: Target, options: Options, ca: CaEvidence | None) -> ssl.SSLContext:
    """A client context that trusts the certificates of `ca` and nothing else.

    Raises ChannelFailed when the client certificate or its key cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # weak keys are a finding, not a dead connection
    context.verify_flags = _verify_flags(options)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _trust(context, ca.certificates if ca else ())
    if options.alpn:
        context.set_alpn_protocols(list(options.alpn))
    _identify(context, target)
    return context


def reference_name(name: str) -> str:
    """`name` as TLS wants it: an IP address as it is, a DNS name as A-labels without final dot."""
    try:
        ipaddress.ip_address(name)
        return name
    except ValueError:
        pass
    try:
        return ascii_name(name).removesuffix(".")
    except InvalidName:
        return name


def _verify_flags(options: Options) -> ssl.VerifyFlags:
    flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
    if options.client in PARTIAL_CHAIN_CLIENTS:
        flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return ssl.VerifyFlags(flags | NO_CHECK_TIME) if options.at else flags


def _trust(context: ssl.SSLContext, anchors: Iterable[Certificate]) -> None:
    for certificate in anchors:
        with suppress(ssl.SSLError):  # one that OpenSSL cannot read is no anchor
            context.load_verify_locations(cadata=certificate.der)


def _identify(context: ssl.SSLContext, target: Target) -> None:
    certfile = target.credentials.certfile
    if certfile is None:
        return
    try:
        # An empty passphrase instead of a prompt on the terminal.
        context.load_cert_chain(certfile, target.credentials.keyfile, password=lambda: "")
    except (OSError, ValueError) as error:
        raise ChannelFailed("tls-failed", f"the client certificate or key: {error}") from error


def open_channel(
    endpoint: Endpoint,
    note: Callable[[bytes], None],
    deadline: Deadline,
    spare: Spare | None = None,
) -> Channel:
    """Dial and, unless the port is plain, handshake with verification; or use a `spare` socket.

    `note` is called with every run of bytes received, decrypted. Raises ChannelFailed.
    """
    sock = spare.take(deadline) if spare else None
    return Channel(sock or open_socket(endpoint, deadline), note)


def open_socket(endpoint: Endpoint, deadline: Deadline) -> socket.socket:
    """A connected socket, over TLS verified by `endpoint.context`; raises ChannelFailed."""
    sock = _dial(endpoint, deadline)
    try:
        if endpoint.context:
            return _handshake(sock, endpoint.context, endpoint.name, deadline)
    except BaseException:
        sock.close()
        raise
    return sock


def speaks_tls(endpoint: Endpoint, deadline: Deadline) -> bool:
    """Whether the port completes a TLS handshake; nothing is verified, so nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        open_channel(replace(endpoint, context=context), lambda _: None, deadline).close()
    except ChannelFailed:
        return False
    return True


def _dial(endpoint: Endpoint, deadline: Deadline) -> socket.socket:
    if endpoint.proxy:
        return _through_proxy(endpoint, endpoint.proxy, deadline)
    family = "IPv6" if ":" in endpoint.address else "IPv4"
    attempts, channels = dial(((family, endpoint.address),), endpoint.port, deadline)
    if not channels:
        raise ChannelFailed("tcp-failed", f"TCP connection: {attempts[0].outcome}")
    return channels[endpoint.address].socket


def _through_proxy(endpoint: Endpoint, url: str, deadline: Deadline) -> socket.socket:
    from tbdiag.protocol.proxy import TunnelFailed, dial_through, parse_proxy

    proxy = parse_proxy(url)
    _, way = dial_through(proxy, endpoint.address, endpoint.port, endpoint.family, deadline)
    if isinstance(way, TunnelFailed):
        raise ChannelFailed("tcp-failed", f"the proxy {proxy.label}: {way}")
    return way.socket


def _handshake(
    sock: socket.socket, context: ssl.SSLContext, name: str, deadline: Deadline
) -> ssl.SSLSocket:
    try:
        wrapped = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    except ValueError as error:  # an empty name, or one that is no host name
        raise ChannelFailed("tls-failed", f"the server name: {error}") from error
    try:
        with selectors.DefaultSelector() as ready:
            ready.register(wrapped, selectors.EVENT_READ)
            while not _handshake_step(wrapped, ready, deadline):
                pass
    except OSError as error:
        wrapped.close()
        raise ChannelFailed("tls-failed", tls_reason(error)) from error
    return wrapped


def _handshake_step(
    wrapped: ssl.SSLSocket, ready: selectors.BaseSelector, deadline: Deadline
) -> bool:
    try:
        wrapped.do_handshake()
        return True
    except ssl.SSLWantReadError:
        ready.modify(wrapped, selectors.EVENT_READ)
    except ssl.SSLWantWriteError:
        ready.modify(wrapped, selectors.EVENT_WRITE)
    _acknowledge_now(wrapped)
    if not ready.select(deadline.remaining()):
        raise TimeoutError("the TLS handshake did not end in time")
    return False


def tls_reason(error: OSError) -> str:
    """What OpenSSL or the operating system said, without source file and line numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return str(error) or "timeout"
    return f"connection {os_error_kind(error)}"


def _acknowledge_now(sock: socket.socket) -> None:
    """Send the pending TCP ACK: a server without TCP_NODELAY holds CONNACK back for it (40 ms)."""
    if hasattr(socket, "TCP_QUICKACK"):
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class Channel:
    """A connected socket as paho sees it: reads are buffered, noted and acknowledged at once."""

    def __init__(self, sock: socket.socket, note: Callable[[bytes], None]) -> None:
        self._sock = sock
        self._note = note
        self._buffer = bytearray()
        self._received = 0
        self.ended = ""
        """How the peer ended the connection: `closed`, `reset`, `tls` (an alert), or empty."""
        self.detail = ""
        """What ended it, in words."""
        _acknowledge_now(sock)

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes; empty at the end. Raises BlockingIOError when there are none yet."""
        if not self._buffer:
            self._buffer += self._read()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _read(self) -> bytes:
        try:
            data = self._sock.recv(READ_SIZE)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError) as error:
            raise BlockingIOError from error
        except OSError as error:
            self._failed(error)
            raise
        self._received += len(data)
        if not data or self._received > MAX_RECEIVED:
            self.ended = "closed"
            self.detail = "the server sent too much" if data else "the server closed the connection"
            return b""
        _acknowledge_now(self._sock)
        self._note(data)
        return data

    def _failed(self, error: OSError) -> None:
        if isinstance(error, ssl.SSLEOFError):
            self.ended, self.detail = "closed", "the server closed the connection"
        elif isinstance(error, ssl.SSLError):
            self.ended, self.detail = "tls", tls_reason(error)
        else:
            self.ended, self.detail = "reset", f"connection {os_error_kind(error)}"

    def send(self, data: bytes | bytearray) -> int:
        """Send what fits now; the number of bytes taken."""
        try:
            return self._sock.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            raise
        except OSError as error:
            self._failed(error)
            raise

    def pending(self) -> int:
        """Bytes that can be read without waiting for the network."""
        inner = self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0
        return len(self._buffer) + inner

    def fileno(self) -> int:
        """The file descriptor, for a selector; -1 once closed."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Part of what paho calls; the channel stays non-blocking."""
        del flag

    def close(self) -> None:
        """Close the socket; harmless when repeated."""
        self._sock.close()
