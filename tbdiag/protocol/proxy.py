"""A tunnel through a proxy: HTTP CONNECT (RFC 9110 section 9.3.6) or SOCKS5 (RFC 1928, RFC 1929).

The proxy resolves the server's name. Once the tunnel stands the channel is used like one to the
server itself: nothing of what the server sends has been read. The proxy sees host, port and its own
login, and what any network on the way would see: never the inside of TLS.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from tbdiag.deadline import Deadline
from tbdiag.errors import UsageError, os_error_kind
from tbdiag.evidence import TcpAttempt
from tbdiag.fact import Fact, Record
from tbdiag.model import Secret, bracketed
from tbdiag.protocol.hostnames import ascii_name
from tbdiag.protocol.transport import Channel, dial, resolve
from tbdiag.protocol.x509_identity import ip_literal

DEFAULT_PORTS = {"http": 80, "socks5": 1080, "socks5h": 1080}
MAX_HEAD = 16384
"""Bytes of an answer to CONNECT that are read."""
MAX_SHOWN = 120
"""Characters kept of what a proxy says."""
LOGIN_REFUSED = 0x100
"""Beyond the reply codes of RFC 1928: the SOCKS proxy did not take the login (RFC 1929)."""
METHODS_REFUSED = 0x1FF
"""The same for every way to log in that was offered (RFC 1928 section 3)."""
SOCKS_REPLIES = {
    1: "general SOCKS server failure",
    2: "connection not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
    LOGIN_REFUSED: "user name or password refused",
    METHODS_REFUSED: "no acceptable authentication method",
}
"""RFC 1928 section 6 in the RFC's words, and the two ways a login ends."""


class Proxy(Fact, frozen=True):
    """A proxy to connect through."""

    scheme: str
    """`http` or `socks5`."""
    host: str
    port: int
    username: Secret = Secret("")
    password: Secret = Secret("")

    @property
    def label(self) -> str:
        """Its URL without the login."""
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"


class TunnelFailed(Exception):
    """There is no tunnel, and nothing was sent to the server.

    `outcome` is `unreachable` when the proxy itself was not reached, `timeout`, `closed` or
    `not-a-proxy` when it gave no usable answer, and `refused` when it answered no, with its `code`
    (an HTTP status or a SOCKS reply). The text is what happened.
    """

    def __init__(self, outcome: str, detail: str, code: int | None = None) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.code = code


def parse_proxy(url: str) -> Proxy:
    """The proxy that a URL names; UsageError, without repeating the URL, when it names none."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise UsageError("--proxy is not a URL with a usable host and port") from None
    if parts.scheme not in DEFAULT_PORTS or not host or port == 0:
        raise UsageError("--proxy must be like http://host:3128 or socks5://host:1080")
    if ip_literal(host) is None:
        try:
            host = ascii_name(host)
        except ValueError as error:
            raise UsageError(f"the host of --proxy is not a host name: {error}") from None
    username, password = (Secret(unquote(p or "")) for p in (parts.username, parts.password))
    if max(len(s.reveal().encode()) for s in (username, password)) > 255:
        raise UsageError("the login of --proxy is longer than the 255 bytes that SOCKS allows")
    scheme = "http" if parts.scheme == "http" else "socks5"
    return Proxy(scheme, host, port or DEFAULT_PORTS[parts.scheme], username, password)


def proxy_secrets(url: str) -> tuple[str, ...]:
    """Every text of a proxy URL that must not be shown: as typed, decoded, and as it is sent."""
    parts = urlsplit(url)
    typed = (parts.password or "", parts.netloc.rpartition("@")[0])
    try:
        proxy = parse_proxy(url)
    except UsageError:
        return tuple(text for text in typed if text)
    sent = _basic(proxy) if proxy.username else ""
    return tuple(text for text in (*typed, proxy.password.reveal(), sent) if text)


def dial_through(
    proxy: Proxy, host: str, port: int, family: str | None, deadline: Deadline
) -> tuple[tuple[TcpAttempt, ...], Channel | TunnelFailed]:
    """How dialling the proxy's addresses went, and the channel to `host`:`port` through it.

    Without a channel there is the reason instead. `family` limits the proxy's own addresses; those
    of the server are the proxy's business.
    """
    found = resolve(proxy.host, proxy.port, family, deadline)
    if found.error:
        return (), TunnelFailed("unreachable", f"no address for {proxy.host}: {found.detail}")
    attempts, channels = dial(found.addresses, proxy.port, deadline)
    if not channels:
        how = "; ".join(dict.fromkeys(a.detail for a in attempts))
        return attempts, TunnelFailed("unreachable", how)
    channel, *others = channels.values()
    for other in others:
        other.close()
    try:
        open_tunnel(channel, proxy, host, port, deadline)
    except TunnelFailed as failed:
        channel.close()
        return attempts, failed
    return attempts, channel


def open_tunnel(channel: Channel, proxy: Proxy, host: str, port: int, deadline: Deadline) -> None:
    """Ask the proxy at the other end of `channel` for a connection to `host`:`port`.

    Afterwards `channel` leads to the server. Raises TunnelFailed; InvalidName for a host that no
    proxy can be asked for.
    """
    started = time.monotonic()
    literal = ip_literal(host)
    name = str(literal) if literal else ascii_name(host)
    ask: Callable[[_Dialogue, Proxy, str, int], None] = (
        _http_connect if proxy.scheme == "http" else _socks5
    )
    try:
        ask(_Dialogue(channel, deadline), proxy, name, port)
    except TimeoutError:
        raise TunnelFailed("timeout", "no answer to the request for a tunnel") from None
    except OSError as error:
        raise TunnelFailed("closed", f"connection {os_error_kind(error)} by the proxy") from None
    channel.round_trip += time.monotonic() - started
    channel.received = 0


class _Dialogue(Record):
    """What is said to the proxy and what it answers, not a byte more than belongs to it."""

    channel: Channel
    deadline: Deadline

    def say(self, data: bytes) -> None:
        """Send `data`."""
        self.channel.write(data, self.deadline)

    def hear(self, count: int) -> bytes:
        """Exactly `count` bytes of the answer; TunnelFailed when the proxy closes before."""
        data = b""
        while len(data) < count:
            if self.deadline.passed:
                raise TimeoutError
            piece = self.channel.read(self.deadline, count - len(data))
            if not piece:
                raise TunnelFailed("closed", "closed by the proxy before a complete answer")
            data += piece
        return data


def _basic(proxy: Proxy) -> str:
    """The credentials of the Basic scheme (RFC 7617)."""
    text = f"{proxy.username.reveal()}:{proxy.password.reveal()}"
    return base64.b64encode(text.encode()).decode("ascii")


def _http_connect(dialogue: _Dialogue, proxy: Proxy, host: str, port: int) -> None:
    authority = f"{bracketed(host)}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", "User-Agent: tbdiag"]
    if proxy.username:
        lines.append(f"Proxy-Authorization: Basic {_basic(proxy)}")
    dialogue.say(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
    head = _http_head(dialogue)
    status, _, fields = head.partition("\r\n")
    words = status.split(" ", 2)
    code = int(words[1])
    if not 200 <= code < 300:
        reason = words[2].strip() if len(words) > 2 else ""
        said = f"HTTP {code} {reason}".strip()[:MAX_SHOWN] + _schemes(fields)
        raise TunnelFailed("refused", said, code)


def _http_head(dialogue: _Dialogue) -> str:
    """Status line and header of the answer, read byte by byte: what follows is the server's."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += dialogue.hear(1)
        if not head.startswith(b"HTTP/1."[: len(head)]) or len(head) > MAX_HEAD:
            raise TunnelFailed("not-a-proxy", f"the answer is not HTTP: {head[:16]!r}")
    line = head.partition(b"\r\n")[0].split(b" ")
    if len(line) < 2 or len(line[1]) != 3 or not line[1].isdigit():
        raise TunnelFailed("not-a-proxy", f"the answer is not HTTP: {head[:32]!r}")
    return head.decode("latin-1")


def _schemes(fields: str) -> str:
    """The ways to log in that a 407 offers: ` (it asks for Basic, NTLM)`."""
    found = [
        value.strip().split(" ")[0]
        for name, _, value in (line.partition(":") for line in fields.split("\r\n"))
        if name.strip().lower() == "proxy-authenticate" and value.strip()
    ]
    return f" (it asks for {', '.join(found)})"[:MAX_SHOWN] if found else ""


def _socks5(dialogue: _Dialogue, proxy: Proxy, host: str, port: int) -> None:
    _socks5_login(dialogue, proxy)
    dialogue.say(b"\x05\x01\x00" + _socks5_address(host) + port.to_bytes(2))
    version, reply, _, kind = dialogue.hear(4)
    if version != 5:
        raise TunnelFailed(
            "not-a-proxy", f"the answer is not SOCKS5: its first byte is 0x{version:02X}"
        )
    if reply:
        said = SOCKS_REPLIES.get(reply, "a reply code that RFC 1928 does not have")
        raise TunnelFailed("refused", f"SOCKS reply {reply}, {said}", reply)
    length = {1: 4, 4: 16}.get(kind) or dialogue.hear(1)[0]
    dialogue.hear(length + 2)  # the address the proxy bound; of no use to us


def _socks5_login(dialogue: _Dialogue, proxy: Proxy) -> None:
    methods = b"\x00\x02" if proxy.username else b"\x00"
    dialogue.say(bytes([5, len(methods)]) + methods)
    version, method = dialogue.hear(2)
    if version != 5 or method not in (*methods, 0xFF):
        shown = bytes([version, method]).hex(" ")
        raise TunnelFailed("not-a-proxy", f"the answer is not SOCKS5: it begins with {shown}")
    if method == 0xFF:
        raise TunnelFailed("refused", SOCKS_REPLIES[METHODS_REFUSED], METHODS_REFUSED)
    if method == 2:
        texts = (proxy.username.reveal().encode(), proxy.password.reveal().encode())
        dialogue.say(b"\x01" + b"".join(bytes([len(t)]) + t for t in texts))
        if dialogue.hear(2)[1]:
            raise TunnelFailed("refused", SOCKS_REPLIES[LOGIN_REFUSED], LOGIN_REFUSED)


def _socks5_address(host: str) -> bytes:
    literal = ip_literal(host)
    if literal is not None:
        return bytes([1 if literal.version == 4 else 4]) + literal.packed
    name = host.encode("ascii")
    return bytes([3, len(name)]) + name
