"""ThingsBoard's HTTP device API (DeviceApiController): which status answers what.

Pure except for what the platform stores; `http` turns a `Response` into bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tbdiag.sandbox.profile import Device, InvalidPayload, Json, Platform, parse_json

JSON: Final = "application/json"
PATH: Final = re.compile(
    r"/api/v1/([^/]+)/(telemetry|attributes|attributes/updates|rpc|rpc/\d+|claim|firmware|software)"
)
PROVISION: Final = "/api/v1/provision"
MAX_BODY: Final = 52_428_800
MAX_RPC: Final = 65_536
POLL_SECONDS: Final = 60.0
"""What a long poll waits when it names no timeout (HTTP_REQUEST_TIMEOUT)."""

_GETS: Final = ("attributes", "attributes/updates", "rpc", "firmware", "software")
_LONG_POLLS: Final = ("attributes/updates", "rpc")


@dataclass(frozen=True, slots=True)
class Response:
    """A HTTP response: status, body and headers; Content-Length is filled in unless given."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A HTTP request: method, path without query, query parameters (the first of each), body."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes


def json_response(status: int, value: Json) -> Response:
    """A JSON body."""
    return Response(status, json.dumps(value).encode(), (("Content-Type", JSON),))


def error(status: int, message: str) -> Response:
    """ThingsBoard's JSON for an error."""
    return json_response(status, {"status": status, "message": message, "errorCode": 32})


def answer(platform: Platform, request: Request, wait: Callable[[float], None]) -> Response | None:
    """What the device API answers, None for a path that is not its own.

    A long poll calls `wait` with its seconds; nothing happens meanwhile in the sandbox, so it ends
    with 408 as ThingsBoard's does.
    """
    if request.path == PROVISION and request.method == "POST":
        return _provision(platform, request)
    match = PATH.fullmatch(request.path)
    if match is None:
        return None
    what = match[2]
    if len(request.body) > (MAX_RPC if what.startswith("rpc") else MAX_BODY):
        return error(413, "Request entity too large")
    device = platform.by_token(match[1])
    if device is None:
        return Response(401)
    if request.method == "GET" and what in _GETS:
        return _read(platform, device, request, what, wait)
    if request.method != "POST" or what in ("attributes/updates", "firmware", "software"):
        return error(405, f"Request method '{request.method}' is not supported")
    try:
        body = request.body or (b"{}" if what == "claim" else b"")
        return _write(platform, device, what, parse_json(body), wait)
    except InvalidPayload as invalid:
        return Response(500, str(invalid).encode())


def _provision(platform: Platform, request: Request) -> Response:
    try:
        return json_response(200, platform.provision(parse_json(request.body)))
    except InvalidPayload as invalid:
        return Response(500, str(invalid).encode())


def _read(
    platform: Platform,
    device: Device,
    request: Request,
    what: str,
    wait: Callable[[float], None],
) -> Response:
    if what in _LONG_POLLS:
        asked = request.query.get("timeout", "")
        wait(int(asked) / 1000 if asked.isdigit() and int(asked) else POLL_SECONDS)
        return Response(408)
    if what != "attributes":
        return Response(404)
    keys = request.query.get("clientKeys"), request.query.get("sharedKeys")
    return json_response(200, platform.read_attributes(device, *keys))


def _write(
    platform: Platform, device: Device, what: str, value: Json, wait: Callable[[float], None]
) -> Response:
    if what == "telemetry":
        platform.store_telemetry(device, value)
    elif what == "attributes":
        platform.store_attributes(device, value)
    elif what == "rpc":  # a request to the rule chain, which has no answer for it here
        wait(POLL_SECONDS)
        return Response(408)
    return Response(200)
