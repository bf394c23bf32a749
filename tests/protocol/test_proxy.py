"""The tunnel: HTTP CONNECT and SOCKS5 against our proxies, and against what is none."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbdiag.deadline import Deadline
from tbdiag.errors import UsageError
from tbdiag.protocol.proxy import (
    LOGIN_REFUSED,
    METHODS_REFUSED,
    TunnelFailed,
    dial_through,
    parse_proxy,
    proxy_secrets,
)
from tbdiag.protocol.transport import Channel
from tbdiag.sandbox.connection import Connection
from tbdiag.sandbox.faults import Banner, Closing, Dripping, Refusing, Resetting, Silent
from tbdiag.sandbox.proxy import HttpProxy, SocksProxy
from tbdiag.sandbox.server import Server

LOGIN = "me:pass%word"
BOTH = pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
Kind = type[HttpProxy] | type[SocksProxy]


class Greeting(Server):
    """Speaks first, as an SSH server does, then says what it was told."""

    def serve(self, connection: Connection) -> None:
        connection.write(b"welcome")
        connection.write(connection.read())


class Answer(Server):
    """Answers the first bytes with `data` and waits."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data

    def serve(self, connection: Connection) -> None:
        connection.read()
        connection.write(self.data)
        while connection.read():
            pass


def through(url: str, host: str, port: int, seconds: float = 3) -> Channel | TunnelFailed:
    _, way = dial_through(parse_proxy(url), host, port, None, Deadline.after(seconds))
    return way


def failure(url: str, host: str = "tb.test", port: int = 8883, seconds: float = 3) -> TunnelFailed:
    way = through(url, host, port, seconds)
    assert isinstance(way, TunnelFailed)
    return way


@BOTH
@pytest.mark.parametrize("login", [None, LOGIN])
def test_the_tunnel_begins_with_the_server_s_first_byte(kind: Kind, login: str | None) -> None:
    """Nothing of the proxy's answer is left in the channel, nothing of the server's is lost."""
    with Greeting() as server, kind(hosts={"tb.test": "127.0.0.1"}, login=login) as proxy:
        user = "me:pass%25word@" if login else ""
        channel = through(proxy.url.replace("://", f"://{user}"), "tb.test", server.port)
        assert isinstance(channel, Channel)
        assert channel.received == 0
        deadline = Deadline.after(3)
        channel.write(b"hello", deadline)
        heard = b""
        while len(heard) < len(b"welcomehello"):
            heard += channel.read(deadline)
        channel.close()
        assert heard == b"welcomehello"
        assert proxy.requests == [("tb.test", server.port)]


@BOTH
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_names_and_addresses_pass(kind: Kind, host: str) -> None:
    """An IPv4 address is asked for as one, a name as it was given."""
    with Greeting() as server, kind() as proxy:
        channel = through(proxy.url, host, server.port)
        assert isinstance(channel, Channel)
        channel.close()
        assert proxy.requests == [(host, server.port)]


def test_an_ipv6_address_in_brackets() -> None:
    """CONNECT needs brackets around an IPv6 address; SOCKS has a type for it."""
    for kind in (HttpProxy, SocksProxy):
        with kind(refusal=4 if kind is SocksProxy else 403) as proxy:
            assert failure(proxy.url, "2001:db8::1", 8883).outcome == "refused"
            if kind is HttpProxy:
                assert b"CONNECT [2001:db8::1]:8883 HTTP/1.1\r\n" in proxy.received_bytes()


@pytest.mark.parametrize(
    ("proxy", "user", "code", "words"),
    [
        (HttpProxy(login=LOGIN), "", 407, "407 Proxy Authentication Required (it asks for Basic)"),
        (HttpProxy(login=LOGIN), "me:wrong@", 407, "407"),
        (HttpProxy(refusal=403), "", 403, "HTTP 403"),
        (HttpProxy(), "", 502, "HTTP 502 Bad Gateway"),
        (SocksProxy(login=LOGIN), "", METHODS_REFUSED, "no acceptable authentication method"),
        (SocksProxy(login=LOGIN), "me:wrong@", LOGIN_REFUSED, "user name or password refused"),
        (SocksProxy(refusal=2), "", 2, "SOCKS reply 2, connection not allowed by ruleset"),
        (SocksProxy(), "", 4, "SOCKS reply 4, host unreachable"),
        (SocksProxy(refusal=99), "", 99, "SOCKS reply 99, a reply code that RFC 1928"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_refusal_has_its_code_and_words(
    proxy: HttpProxy | SocksProxy, user: str, code: int, words: str
) -> None:
    """What the proxy answers is kept: HTTP status and reason, SOCKS reply in the RFC's words."""
    with proxy:
        refused = failure(proxy.url.replace("://", f"://{user}"))
    assert (refused.outcome, refused.code) == ("refused", code)
    assert words in str(refused)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize(
    ("server", "outcome"),
    [
        (lambda: Banner(), "not-a-proxy"),
        (lambda: Answer(b"\x00" * 20000), "not-a-proxy"),
        (lambda: Answer(b"HTTP/1.1 abc\r\n\r\n"), "not-a-proxy"),
        (lambda: Closing(after_first_bytes=True), "closed"),
        (lambda: Resetting(), "closed"),
        (lambda: Silent(), "timeout"),
        (lambda: Dripping(b"HTTP/1.1 200 OK\r\nX: ", 0.1), "timeout"),
        (lambda: Refusing(), "unreachable"),
    ],
    ids=["ssh", "zeros", "no status", "closes", "resets", "silent", "drips", "refuses"],
)
def test_what_is_no_proxy_is_told_in_time(
    scheme: str, server: Callable[[], Server], outcome: str
) -> None:
    """Every peer that is no proxy ends within the deadline, with one word for what it did."""
    started = time.monotonic()
    with server() as peer:
        failed = failure(f"{scheme}://127.0.0.1:{peer.port}", seconds=0.6)
    if scheme == "socks5" and outcome == "timeout":
        assert failed.outcome in ("timeout", "not-a-proxy")  # a dripped H is no SOCKS version
    else:
        assert failed.outcome == outcome
    assert str(failed)
    assert time.monotonic() - started < 1.5


def test_an_endless_head_is_cut_off() -> None:
    """A proxy that never ends its header is given up after 16 KiB."""
    with Answer(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000) as peer:
        assert failure(f"http://127.0.0.1:{peer.port}").outcome == "not-a-proxy"


@pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
def test_the_other_kind_of_proxy(kind: Kind) -> None:
    """An HTTP proxy asked in SOCKS, and the opposite, is not called down."""
    other = "socks5" if kind is HttpProxy else "http"
    with kind() as proxy:
        failed = failure(f"{other}://127.0.0.1:{proxy.port}", seconds=0.8)
    assert failed.outcome in ("not-a-proxy", "closed", "timeout")


@pytest.mark.parametrize(
    "url",
    [
        "proxy.test:3128",
        "https://proxy.test",
        "socks4://proxy.test",
        "http://",
        "http://proxy.test:0",
        "http://proxy.test:99999",
        "http://pro xy.test",
        "http://[::1",
        f"http://me:{'x' * 300}@proxy.test",
    ],
)
def test_what_is_no_proxy_url_is_a_usage_error(url: str) -> None:
    """The message says what to type and repeats nothing of a login."""
    with pytest.raises(UsageError) as refused:
        parse_proxy(url)
    assert "xxx" not in str(refused.value)


def test_the_parts_of_a_proxy_url() -> None:
    """Scheme, host, port and the login, percent-decoded; the label has no login."""
    proxy = parse_proxy("socks5h://us%40er:p%3Aw@[::1]:9")
    assert (proxy.scheme, proxy.host, proxy.port) == ("socks5", "::1", 9)
    assert (proxy.username.reveal(), proxy.password.reveal()) == ("us@er", "p:w")
    assert proxy.label == "socks5://[::1]:9"
    assert "p:w" not in repr(proxy)
    assert (parse_proxy("http://h").port, parse_proxy("socks5://h").port) == (80, 1080)


def test_every_form_of_the_login_is_a_secret() -> None:
    """As typed, decoded, and as Proxy-Authorization carries it."""
    secrets = proxy_secrets("http://me:pass%25word@proxy.test")
    assert {"pass%25word", "pass%word", "me:pass%25word", "bWU6cGFzcyV3b3Jk"} <= set(secrets)


@given(data=st.binary(max_size=200), scheme=st.sampled_from(["http", "socks5"]))
def test_any_answer_ends_in_words(data: bytes, scheme: str) -> None:
    """Whatever bytes come back, there is a tunnel or one TunnelFailed, never another exception."""
    with Answer(data) as peer:
        way = through(f"{scheme}://127.0.0.1:{peer.port}", "tb.test", 8883, seconds=0.02)
    if isinstance(way, Channel):
        way.close()
