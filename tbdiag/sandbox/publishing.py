"""What ThingsBoard does with a PUBLISH: which topics it knows and which payloads it takes.

Pure except for what the platform stores; the session turns an `Outcome` into packets.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tbdiag.protocol.mqtt import Publish
from tbdiag.sandbox.profile import Device, InvalidPayload, Json, Platform, Profile, parse_json

_TELEMETRY: Final = {"v2/t": "", "v2/t/j": "json", "v2/t/p": "protobuf"}
_ATTRIBUTES: Final = {"v2/a": "", "v2/a/j": "json", "v2/a/p": "protobuf"}
_REQUEST = re.compile(r"(v1/devices/me/attributes/request/|v2/a/req/(?:[jp]/)?)(.*)")
_RPC = re.compile(r"(v1/devices/me/rpc/request/|v2/r/req/(?:[jp]/)?)(\d+)")
_TAKEN = re.compile(
    r"v1/devices/me/rpc/response/\d+|v2/r/res/(?:[jp]/)?\d+|v1/devices/me/claim"
    r"|v2/[fs]w/request/.+/chunk/\d+"
)
_SUBSCRIBABLE = re.compile(
    r"v1/devices/me/(attributes(/response/\+)?|rpc/(request|response)/\+|telemetry)"
    r"|v2/a(/[jp])?|v2/a/res(/[jp])?/\+|v2/r/(req|res)(/[jp])?/\+"
    r"|v2/[fs]w/(response/\+/chunk/\+|error)|/?provision/response"
    r"|v1/gateway/(attributes(/response)?|rpc|telemetry|connect|disconnect)"
)
_RATES: Final[dict[str, Json]] = {
    "messages": "200:1,6000:60,14000:3600",
    "telemetryMessages": "100:1,3000:60,7000:3600",
    "telemetryDataPoints": "200:1,6000:60,14000:3600",
}


class Verdict(Enum):
    """What becomes of a PUBLISH."""

    ACCEPTED = "written to the queue"
    UNKNOWN_TOPIC = "no such topic in this profile"
    INVALID = "payload refused"
    IGNORED = "neither acknowledged nor refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict on a PUBLISH, and the (topic, payload) pairs the server publishes in return."""

    verdict: Verdict
    answers: tuple[tuple[str, bytes], ...] = ()


_ACCEPTED: Final = Outcome(Verdict.ACCEPTED)


def receive(platform: Platform, device: Device, publish: Publish, generation: str) -> Outcome:
    """Do with `publish` what the transport does, in its order of topics."""
    try:
        return _receive(platform, device, publish, generation)
    except InvalidPayload:
        return Outcome(Verdict.INVALID)


def _receive(platform: Platform, device: Device, publish: Publish, generation: str) -> Outcome:
    topic, payload = publish.topic, publish.payload
    if topic.startswith("v1/gateway/"):
        return _gateway(platform, device, topic, payload)
    if (
        encoding := _encoding(topic, _TELEMETRY, device.profile.telemetry_topic, device)
    ) is not None:
        return _telemetry(platform, device, payload, encoding)
    if (
        encoding := _encoding(topic, _ATTRIBUTES, device.profile.attributes_topic, device)
    ) is not None:
        if (value := _decode(payload, encoding)) is not None:
            platform.store_attributes(device, value)
        return _ACCEPTED
    if match := _REQUEST.fullmatch(topic):
        return _attributes(platform, device, match, payload)
    if match := _RPC.fullmatch(topic):
        return _rpc(device, match, payload, generation)
    return _ACCEPTED if _TAKEN.fullmatch(topic) else Outcome(Verdict.UNKNOWN_TOPIC)


def _encoding(topic: str, short: dict[str, str], own: str, device: Device) -> str | None:
    """How the payload on `topic` is encoded, or None when the topic is neither short nor `own`."""
    if topic == own:
        return device.profile.payload
    return (short[topic] or device.profile.payload) if topic in short else None


def _decode(payload: bytes, encoding: str) -> Json:
    """Return the JSON of a payload, None for a Protobuf message that is well formed."""
    if encoding == "json":
        return parse_json(payload)
    if not is_protobuf(payload):
        raise InvalidPayload("not a Protobuf message")
    return None


def _telemetry(platform: Platform, device: Device, payload: bytes, encoding: str) -> Outcome:
    value = _decode(payload, encoding)
    if encoding == "protobuf":
        value = {"protobuf": payload.hex()}
    stored = platform.store_telemetry(device, value)
    return _ACCEPTED if stored else Outcome(Verdict.IGNORED)


def _gateway(platform: Platform, device: Device, topic: str, payload: bytes) -> Outcome:
    if not device.gateway:
        return Outcome(Verdict.IGNORED)
    value = parse_json(payload)
    if topic == "v1/gateway/telemetry" and isinstance(value, dict):
        for name, rows in value.items():
            platform.store_telemetry(Device(name), rows)
    return _ACCEPTED


def _attributes(
    platform: Platform, device: Device, match: re.Match[str], payload: bytes
) -> Outcome:
    prefix, number = match[1], match[2]
    if not re.fullmatch(r"-?\d+", number):
        raise InvalidPayload("the request id is not an integer")
    answer_to = prefix.replace("/request/", "/response/").replace("/req/", "/res/") + number
    encoding = {"j/": "json", "p/": "protobuf"}.get(prefix[-2:], device.profile.payload)
    asked = _decode(payload, encoding)
    if number.startswith("-"):
        return _ACCEPTED
    if encoding == "protobuf":
        return Outcome(Verdict.ACCEPTED, ((answer_to, b""),))
    if not isinstance(asked, dict):
        raise InvalidPayload("an attribute request is an object")
    keys = [None if asked.get(k) is None else str(asked[k]) for k in ("clientKeys", "sharedKeys")]
    found = platform.read_attributes(device, keys[0], keys[1])
    return Outcome(Verdict.ACCEPTED, ((answer_to, json.dumps(found).encode()),))


def _rpc(device: Device, match: re.Match[str], payload: bytes, generation: str) -> Outcome:
    request = parse_json(payload)
    if not isinstance(request, dict) or "method" not in request:
        raise InvalidPayload("an RPC is an object with a method")
    if request["method"] != "getSessionLimits" or generation != "4.x":
        return _ACCEPTED
    answer_to = match[1].replace("/request/", "/response/").replace("/req/", "/res/") + match[2]
    limits: dict[str, Json] = {"maxPayloadSize": 65536, "maxInflightMessages": 100}
    limits |= {"rateLimits": _RATES, **({"gatewayRateLimits": _RATES} if device.gateway else {})}
    return Outcome(Verdict.ACCEPTED, ((answer_to, json.dumps(limits).encode()),))


def may_subscribe(profile: Profile, topic_filter: str) -> bool:
    """Whether ThingsBoard grants this Topic Filter; it compares text, "#" is never granted."""
    known = _SUBSCRIBABLE.fullmatch(topic_filter) is not None
    return known or topic_filter == profile.attributes_topic


def is_protobuf(payload: bytes) -> bool:
    """Whether `payload` is fields in Protobuf's wire format; JSON text never is."""
    position = 0
    while position < len(payload):
        tag, position = _varint(payload, position)
        if tag >> 3 == 0 or tag & 7 not in (0, 1, 2, 5):
            return False
        if tag & 7 == 0:
            _, position = _varint(payload, position)
        elif tag & 7 == 2:
            size, position = _varint(payload, position)
            position += size
        else:
            position += 8 if tag & 7 == 1 else 4
    return position == len(payload)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at `position` and where it ends; past the end when it is cut off."""
    value = shift = 0
    while position < len(data) and shift < 64:
        byte, position = data[position], position + 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
    return value, len(data) + 1
