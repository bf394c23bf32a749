"""How the server is called: another name than the host, an IPv6 address, a name of ALPN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tbdiag.fact import replace as changed
from tbdiag.registry import scenario
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.scenarios.healthy import ALL_OK
from tbdiag.sandbox.stand import Room, Stand


@scenario("server-name", status=ALL_OK)
@contextmanager
def server_name(room: Room) -> Iterator[Stand]:
    """The server is reached by its address, and its certificate carries the name given apart.

    It chooses the certificate by server_name, so both connections must send it.
    """
    name = "mqtt.factory.test"
    tls = Tls(room.issue(names=("another.test",)), by_name={name: room.issue(names=(name,))})
    with room.serve(room.broker(tls=tls)) as stand:
        yield replace(stand, target=changed(stand.target, host="127.0.0.1", server_name=name))


@scenario("ipv6", status=ALL_OK)
@contextmanager
def ipv6(room: Room) -> Iterator[Stand]:
    """The target is an IPv6 address, [::1], and the certificate carries it."""
    with room.serve(room.broker(ipv6=True)) as stand:
        yield replace(stand, target=changed(stand.target, host="::1"))


@scenario("alpn", status=ALL_OK)
@contextmanager
def alpn(room: Room) -> Iterator[Stand]:
    """MQTT shares its port with another protocol, and ALPN chooses it."""
    broker = room.broker(tls=Tls(room.issue(), alpn=("http/1.1", "mqtt")))
    with room.serve(broker, options={"alpn": ("mqtt",)}) as stand:
        yield stand


@scenario("alpn-refused", primary="tls.no-application-protocol")
@contextmanager
def alpn_refused(room: Room) -> Iterator[Stand]:
    """The server knows none of the names that ALPN offers."""
    broker = room.broker(tls=Tls(room.issue(), alpn=("http/1.1",)))
    with room.serve(broker, options={"alpn": ("mqtt",)}) as stand:
        yield stand
