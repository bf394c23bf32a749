"""A proxy stands on the way: it lets the device pass, refuses it, or is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tbdiag.fact import replace as changed
from tbdiag.registry import scenario
from tbdiag.sandbox.faults import Banner, Refusing, Silent
from tbdiag.sandbox.proxy import HttpProxy, SocksProxy
from tbdiag.sandbox.server import Server
from tbdiag.sandbox.stand import Room, Stand

HOST = "mqtt.inside.test"
"""A name that nobody but the proxy resolves."""
HOSTS = {HOST: "127.0.0.1"}
LOGIN = "device:proxy-password-1"
THROUGH = {"dns.resolve": "not-applicable", "tcp.connect": "ok", "mqtt.attributes": "ok"}
STOPPED = {"dns.resolve": "not-applicable", "tcp.connect": "failed", "mqtt.connect": "blocked"}


@contextmanager
def _behind(room: Room, proxy: Server, url: str, **options: object) -> Iterator[Stand]:
    """A healthy server that is reached through `proxy` alone."""
    broker = room.broker(issued=room.issue(names=(HOST,)))
    with proxy, room.serve(broker) as stand:
        given = {"proxy": url.format(port=proxy.port), **options}
        target = changed(stand.target, host=HOST)
        yield replace(stand, target=target, options=given, others=(proxy,))


@scenario("proxy", status=THROUGH)
@contextmanager
def http_proxy(room: Room) -> Iterator[Stand]:
    """Through an HTTP proxy with a login, which alone knows the server's name."""
    proxy = HttpProxy(hosts=HOSTS, login=LOGIN)
    with _behind(room, proxy, f"http://{LOGIN}@127.0.0.1:{{port}}") as stand:
        yield stand


@scenario("proxy-socks", status=THROUGH)
@contextmanager
def socks_proxy(room: Room) -> Iterator[Stand]:
    """Through a SOCKS5 proxy with a login, which alone knows the server's name."""
    proxy = SocksProxy(hosts=HOSTS, login=LOGIN)
    with _behind(room, proxy, f"socks5://{LOGIN}@127.0.0.1:{{port}}") as stand:
        yield stand


@scenario("proxy-wants-login", primary="tcp.proxy-refused", status=STOPPED)
@contextmanager
def wants_login(room: Room) -> Iterator[Stand]:
    """The proxy wants a login (407), and none is given."""
    with _behind(room, HttpProxy(login=LOGIN), "http://127.0.0.1:{port}") as stand:
        yield stand


@scenario("proxy-forbids-port", primary="tcp.proxy-refused", status=STOPPED)
@contextmanager
def forbids_port(room: Room) -> Iterator[Stand]:
    """The proxy's rules allow CONNECT to 443 only (403)."""
    with _behind(room, HttpProxy(refusal=403), "http://127.0.0.1:{port}") as stand:
        yield stand


@scenario("proxy-cannot-reach", primary="tcp.proxy-refused", status=STOPPED)
@contextmanager
def cannot_reach(room: Room) -> Iterator[Stand]:
    """A SOCKS5 proxy says that the host is unreachable from where it stands."""
    with _behind(room, SocksProxy(refusal=4), "socks5://127.0.0.1:{port}") as stand:
        yield stand


@scenario("proxy-silent", primary="tcp.proxy-failed", status=STOPPED)
@contextmanager
def silent_proxy(room: Room) -> Iterator[Stand]:
    """The proxy takes the request and never answers."""
    with _behind(room, Silent(), "http://127.0.0.1:{port}", timeout=1.5) as stand:
        yield stand


@scenario("not-a-proxy", primary="tcp.proxy-failed", status=STOPPED)
@contextmanager
def not_a_proxy(room: Room) -> Iterator[Stand]:
    """What --proxy names is an SSH server."""
    with _behind(room, Banner(), "http://127.0.0.1:{port}") as stand:
        yield stand


@scenario("proxy-down", primary="tcp.proxy-failed", status=STOPPED)
@contextmanager
def proxy_down(room: Room) -> Iterator[Stand]:
    """Nothing listens where --proxy points to."""
    with Refusing() as nothing, room.serve(room.broker()) as stand:
        yield replace(stand, options={"proxy": f"http://127.0.0.1:{nothing.port}"})
