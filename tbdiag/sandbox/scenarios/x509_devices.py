"""Devices that prove themselves with a client certificate instead of a token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tbdiag.registry import scenario
from tbdiag.sandbox.authority import Issued
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.knobs import ClosedBeforeConnack
from tbdiag.sandbox.profile import PROFILES, Device
from tbdiag.sandbox.scenarios.healthy import ALL_OK
from tbdiag.sandbox.stand import Room, Stand


def _knowing(room: Room, client: Issued, **options: Any) -> Broker:
    """A broker whose one device has this certificate."""
    device = Device(fingerprint=client.fingerprint, profile=PROFILES[room.profile])
    return room.broker(devices=[device], **options)


@scenario("x509-device", status=ALL_OK)
@contextmanager
def x509_device(room: Room) -> Iterator[Stand]:
    """A device with a registered client certificate, and no token."""
    client = room.root.issue_client()
    with room.serve(_knowing(room, client), credentials=room.identity(client)) as stand:
        yield stand


@scenario("x509-not-registered", primary="mqtt.not-authorized", status={"tls.handshake": "ok"})
@contextmanager
def not_registered(room: Room) -> Iterator[Stand]:
    """ThingsBoard 3.5 and later takes any certificate in TLS and refuses it with CONNACK."""
    client = room.root.issue_client("stranger")
    with room.serve(room.broker(), credentials=room.identity(client)) as stand:
        yield stand


@scenario("x509-refused-in-tls", primary="tls.client-certificate-refused")
@contextmanager
def refused_in_tls(room: Room) -> Iterator[Stand]:
    """ThingsBoard 3.4 refuses an unregistered certificate in the TLS handshake."""
    client = room.root.issue_client("stranger")
    broker = room.broker(generation="3.4")
    with room.serve(broker, credentials=room.identity(client)) as stand:
        yield stand


@scenario("x509-expired", primary="tls.client-certificate-expired", rules=("mqtt.not-authorized",))
@contextmanager
def expired(room: Room) -> Iterator[Stand]:
    """The device's certificate expired yesterday; it is registered."""
    ended = room.now - timedelta(days=1)
    client = room.root.issue_client(not_before=ended - timedelta(days=90), not_after=ended)
    with room.serve(_knowing(room, client), credentials=room.identity(client)) as stand:
        yield stand


@scenario("x509-expiring", rules=("tls.client-certificate-expiring",))
@contextmanager
def expiring(room: Room) -> Iterator[Stand]:
    """The device's certificate ends in five days."""
    begun = room.now - timedelta(days=360)
    client = room.root.issue_client(not_before=begun, not_after=begun + timedelta(days=365))
    with room.serve(_knowing(room, client), credentials=room.identity(client)) as stand:
        yield stand


@scenario("x509-behind-balancer", primary="tls.client-certificate-not-requested")
@contextmanager
def behind_balancer(room: Room) -> Iterator[Stand]:
    """TLS ends at a load balancer that asks for no client certificate."""
    client = room.root.issue_client()
    broker = _knowing(room, client, tls=Tls(room.issue(), client_certificate="none"))
    with room.serve(broker, credentials=room.identity(client)) as stand:
        yield stand


@scenario("x509-wanted-by-close", primary="mqtt.closed-before-connack")
@contextmanager
def wanted_by_close(room: Room) -> Iterator[Stand]:
    """A server that wants a client certificate of its own CA, and just closes without one."""
    tls = Tls(room.issue(), client_ca=(room.root.certificate,))
    with room.serve(room.broker(ClosedBeforeConnack(), tls=tls)) as stand:
        yield stand


@scenario("two-listeners", status=ALL_OK)
@contextmanager
def two_listeners(room: Room) -> Iterator[Stand]:
    """8883 and 1883 of one ThingsBoard: a session on one takes over the device's on the other."""
    secure = room.broker()
    with Broker(platform=secure.platform) as plain, room.serve(secure) as stand:
        yield replace(stand, others=(plain,))
