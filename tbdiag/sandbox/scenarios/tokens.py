"""What the HTTP API says of the token, and what the CA download gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tbdiag.fact import replace
from tbdiag.registry import scenario
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.faults import Refusing, Replying
from tbdiag.sandbox.http import CA_DOWNLOAD, HttpApi
from tbdiag.sandbox.profile import Device
from tbdiag.sandbox.stand import Room, Stand, token_credentials


@contextmanager
def _with_http(
    room: Room, broker: Broker, api: HttpApi, cafile: bytes | str | None = None, **changes: Any
) -> Iterator[Stand]:
    with api, room.serve(broker, cafile, http_url=api.url, **changes) as stand:
        yield dataclasses.replace(stand, others=(api,))


@scenario("healthy-with-http", status={"http.token": "ok", "mqtt.connect": "ok"})
@contextmanager
def healthy_with_http(room: Room) -> Iterator[Stand]:
    """ThingsBoard with its HTTP API: the token is proved there first."""
    broker = room.broker()
    with _with_http(room, broker, HttpApi(broker.platform)) as stand:
        yield stand


@scenario("unknown-token", primary="token.unknown", status={"http.token": "failed"})
@contextmanager
def unknown_token(room: Room) -> Iterator[Stand]:
    """No device of this installation has the token: the HTTP API says so too."""
    broker = room.broker()
    credentials = token_credentials("AnotherDevicesToken1")
    with _with_http(room, broker, HttpApi(broker.platform), credentials=credentials) as stand:
        yield stand


@scenario("other-installation", primary="token.other-installation", status={"http.token": "ok"})
@contextmanager
def other_installation(room: Room) -> Iterator[Stand]:
    """The HTTP API knows the token; the MQTT host belongs to another installation."""
    broker = room.broker(devices=[Device(token="SomebodyElsesToken01")])
    with _with_http(room, broker, HttpApi()) as stand:
        yield stand


@scenario("http-is-not-thingsboard", rules=("http.not-thingsboard",), status={"mqtt.connect": "ok"})
@contextmanager
def not_thingsboard(room: Room) -> Iterator[Stand]:
    """The HTTP base is some other web server."""
    with Replying() as web, room.serve(room.broker()) as stand:
        url = f"http://localhost:{web.port}"
        target = replace(stand.target, http_url=url)
        yield dataclasses.replace(stand, target=target, others=(web,))


@scenario("http-unreachable", rules=("http.unreachable",), status={"mqtt.connect": "ok"})
@contextmanager
def http_unreachable(room: Room) -> Iterator[Stand]:
    """Nothing listens at the HTTP base."""
    with Refusing() as web, room.serve(room.broker()) as stand:
        url = f"http://localhost:{web.port}"
        yield replace(stand, target=replace(stand.target, http_url=url))


@scenario("ca-download", status={"ca.load": "ok", "mqtt.connect": "ok"})
@contextmanager
def ca_download(room: Room) -> Iterator[Stand]:
    """The CA is downloaded from the platform, as `Check connectivity` tells people to."""
    broker = room.broker()
    api = HttpApi(broker.platform, ca_file=room.root.pem())
    with _with_http(room, broker, api, "auto") as stand:
        yield stand


@scenario("ca-download-not-configured", primary="ca.download-not-configured")
@contextmanager
def not_configured(room: Room) -> Iterator[Stand]:
    """The administrator has not configured the CA download: ThingsBoard's 404."""
    broker = room.broker()
    with HttpApi(broker.platform) as api, room.serve(broker, api.url + CA_DOWNLOAD) as stand:
        yield stand


@scenario("ca-download-failed", primary="ca.download-failed")
@contextmanager
def download_failed(room: Room) -> Iterator[Stand]:
    """Nothing listens where the CA file is to be fetched."""
    with Refusing() as web, room.serve(room.broker()) as stand:
        url = f"http://localhost:{web.port}/ca.pem"
        yield replace(stand, target=replace(stand.target, cafile=(url,)))


@scenario("stale-download", rules=("ca.stale-download",))
@contextmanager
def stale_download(room: Room) -> Iterator[Stand]:
    """The CA that the platform offers is not the one of its MQTT port."""
    broker = room.broker()
    other = Authority.root("Last Year's Root", now=room.now)
    api = HttpApi(broker.platform, ca_file=other.pem())
    with _with_http(room, broker, api, room.root.pem()) as stand:
        yield stand
