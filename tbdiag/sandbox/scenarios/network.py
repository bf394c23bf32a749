"""The device does not even reach the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tbdiag.fact import replace
from tbdiag.registry import scenario
from tbdiag.sandbox.faults import BlackHole, Refusing
from tbdiag.sandbox.resolver import addresses, hanging, no_such_name, resolving
from tbdiag.sandbox.stand import Room, Stand

NO_ADDRESS = {"dns.resolve": "failed", "tcp.connect": "blocked", "mqtt.connect": "blocked"}
NO_CONNECTION = {"dns.resolve": "ok", "tcp.connect": "failed", "tls.handshake": "blocked"}
UNROUTABLE = "224.0.0.1"
"""A multicast address: the kernel refuses a TCP connection to it without sending a packet."""


@scenario("name-not-found", primary="dns.name-not-found", status=NO_ADDRESS)
@contextmanager
def name_not_found(room: Room) -> Iterator[Stand]:
    """The host name does not exist."""
    target = replace(room.target(8883), host="mqtt.thingsbaord.test")
    with resolving(target.host, no_such_name):
        yield Stand(target)


@scenario("dns-silent", primary="dns.timeout", status=NO_ADDRESS)
@contextmanager
def dns_silent(room: Room) -> Iterator[Stand]:
    """The name servers do not answer."""
    target = replace(room.target(8883), host="silent.thingsboard.test")
    with hanging(target.host):
        yield Stand(target, options={"timeout": 1.5})


@scenario("invalid-name", primary="dns.invalid-name", status=NO_ADDRESS)
@contextmanager
def invalid_name(room: Room) -> Iterator[Stand]:
    """The host has a space in it."""
    yield Stand(replace(room.target(8883), host="my server.test"))


@scenario("refused", primary="tcp.refused", status=NO_CONNECTION)
@contextmanager
def refused(room: Room) -> Iterator[Stand]:
    """Nothing listens on the port."""
    with Refusing() as server:
        yield Stand(room.target(server.port))


@scenario("black-hole", primary="tcp.timeout", status=NO_CONNECTION)
@contextmanager
def black_hole(room: Room) -> Iterator[Stand]:
    """A firewall drops the packets: nothing ever answers."""
    with BlackHole() as server:
        yield Stand(room.target(server.port), options={"timeout": 2.0})


@scenario("unreachable", primary="tcp.unreachable", status=NO_CONNECTION)
@contextmanager
def unreachable(room: Room) -> Iterator[Stand]:
    """There is no way to the server's network."""
    yield Stand(replace(room.target(8883), host=UNROUTABLE))


@scenario("one-address-dead", rules=("tcp.address-unreachable",), status={"mqtt.connect": "ok"})
@contextmanager
def one_address_dead(room: Room) -> Iterator[Stand]:
    """The name has two addresses, and only one of them answers."""
    host = "two.thingsboard.test"
    with (
        room.serve(room.broker(issued=room.issue(names=(host,)))) as stand,
        resolving(host, addresses("127.0.0.1", UNROUTABLE)),
    ):
        yield replace(stand, target=replace(stand.target, host=host))
