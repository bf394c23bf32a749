"""The devices and device profiles of the sandbox, and what the platform remembers of them.

The broker and the HTTP API share one `Platform`, as ThingsBoard's transports share one core.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""A parsed JSON value."""

DEFAULT_TOKEN: Final = "tbdiagSandboxToken01"
"""The access token of the sandbox's default device; like ThingsBoard's it has 20 characters."""

GENERATIONS: Final = ("3.4", "3.5.0", "3.5.1", "4.x")
"""Server generations whose answers differ; "4.x" stands for 3.8 and later."""

TELEMETRY_TOPIC: Final = "v1/devices/me/telemetry"
ATTRIBUTES_TOPIC: Final = "v1/devices/me/attributes"


@dataclass(frozen=True, slots=True)
class Profile:
    """A device profile, as far as the MQTT transport looks at it.

    transport: "default", "mqtt", or another one ("coap"), which refuses MQTT. payload: "json" or
    "protobuf". ack_invalid: "Send PUBACK on PUBLISH message validation failure". sparkplug: wants
    a NDEATH will in CONNECT.
    """

    name: str = "default"
    transport: str = "default"
    telemetry_topic: str = TELEMETRY_TOPIC
    attributes_topic: str = ATTRIBUTES_TOPIC
    payload: str = "json"
    ack_invalid: bool = False
    sparkplug: bool = False


PROFILES: Final[dict[str, Profile]] = {
    "default": Profile(),
    "custom-topic": Profile(
        "custom-topic", "mqtt", "sensors/telemetry", attributes_topic="sensors/attributes"
    ),
    "protobuf": Profile("protobuf", "mqtt", payload="protobuf"),
    "sparkplug": Profile("sparkplug", "mqtt", sparkplug=True),
    "coap": Profile("coap", "coap"),
}
"""The profiles `--profile` can name."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device and its credentials, of one kind as in ThingsBoard.

    token: an access token. client_id, username, password: MQTT Basic, each None when not checked.
    fingerprint: SHA-256 in hex of its X.509 client certificate. attributes: its shared attributes.
    """

    name: str = "sandbox device"
    token: str | None = None
    client_id: str | None = None
    username: str | None = None
    password: str | None = None
    fingerprint: str | None = None
    profile: Profile = PROFILES["default"]
    gateway: bool = False
    attributes: Mapping[str, Json] = field(default_factory=dict)


class InvalidPayload(ValueError):
    """A payload ThingsBoard's transport refuses before it reaches the queue."""


def parse_json(payload: bytes) -> Json:
    """Parse JSON as leniently as gson where users rely on it: keys may lack their quotes.

    The documentation's own command sends `{temperature:25}`. InvalidPayload for anything else.
    """
    try:
        text = payload.decode("utf-8")
        try:
            value: Json = json.loads(text)
        except json.JSONDecodeError:
            value = json.loads(re.sub(r"([{,]\s*)([A-Za-z_][\w.-]*)(\s*:)", r'\1"\2"\3', text))
    except (ValueError, RecursionError) as error:
        raise InvalidPayload(f"not JSON: {error}") from error
    return value


class SessionOfDevice(Protocol):
    """A session that another one of the same device can end."""

    def take_over(self) -> None:
        """End this session because a newer one uses its device."""


class Platform:
    """The device table and what devices stored, in memory; its methods may be called by any thread.

    provision_key and provision_secret are what a device must show to be created.
    """

    def __init__(
        self,
        devices: Iterable[Device] = (),
        *,
        provision_key: str = "provisionKey",
        provision_secret: str = "provisionSecret",
    ) -> None:
        self.devices = list(devices)
        self.telemetry: list[tuple[str, dict[str, Json]]] = []
        self.client_attributes: dict[str, dict[str, Json]] = {}
        self._provision = (provision_key, provision_secret)
        self._sessions: dict[str, SessionOfDevice] = {}
        self._lock = threading.Lock()

    def enter(self, device: Device, session: SessionOfDevice) -> SessionOfDevice | None:
        """Make `session` the device's only one and return the one it takes over, if any.

        ThingsBoard's limit of one session per device holds for all its listeners together.
        """
        with self._lock:
            older = self._sessions.get(device.name)
            self._sessions[device.name] = session
        return older

    def leave(self, device: Device, session: SessionOfDevice) -> None:
        """Forget a session that ended, unless another one has taken its place."""
        with self._lock:
            if self._sessions.get(device.name) is session:
                del self._sessions[device.name]

    def by_token(self, token: str | None) -> Device | None:
        """Return the device with this access token, or None."""
        return next((d for d in self.devices if d.token is not None and d.token == token), None)

    def by_fingerprint(self, fingerprint: str) -> Device | None:
        """Return the device with this X.509 certificate (SHA-256 in hex), or None."""
        return next((d for d in self.devices if d.fingerprint == fingerprint), None)

    def by_basic(self, client_id: str, username: str | None, password: str | None) -> Device | None:
        """Return the device whose MQTT Basic credentials are these, or None."""
        for device in self.devices:
            if device.client_id is None and device.username is None:
                continue
            names = (device.client_id in (None, client_id)) and device.username == (
                username or None
            )
            if names and device.password in (None, password):
                return device
        return None

    def store_telemetry(self, device: Device, value: Json) -> int:
        """Keep telemetry: an object, or an array of objects; return how many messages that was.

        Objects may be key-values or {"ts": milliseconds, "values": {...}}. InvalidPayload for
        anything else.
        """
        messages = value if isinstance(value, list) else [value]
        rows: list[tuple[str, dict[str, Json]]] = []
        for message in messages:
            if not isinstance(message, dict):
                raise InvalidPayload(f"telemetry is {type(message).__name__}, not an object")
            values = message.get("values") if "ts" in message else message
            if not isinstance(values, dict):
                raise InvalidPayload("telemetry has a ts without values")
            rows.append((device.name, values))
        with self._lock:
            self.telemetry += rows
        return len(rows)

    def store_attributes(self, device: Device, value: Json) -> None:
        """Merge an object into the device's client attributes; InvalidPayload for anything else."""
        if not isinstance(value, dict):
            raise InvalidPayload(f"attributes are {type(value).__name__}, not an object")
        with self._lock:
            self.client_attributes.setdefault(device.name, {}).update(value)

    def read_attributes(
        self, device: Device, client_keys: str | None, shared_keys: str | None
    ) -> dict[str, Json]:
        """Return {"client": {...}, "shared": {...}} for comma-separated keys, both None for all.

        Keys the device does not have are missing, and so is a part that is empty.
        """
        everything = client_keys is None and shared_keys is None
        with self._lock:
            client = dict(self.client_attributes.get(device.name, {}))
        found: dict[str, Json] = {}
        for part, have, keys in (
            ("client", client, client_keys),
            ("shared", dict(device.attributes), shared_keys),
        ):
            wanted = set(have) if everything else set((keys or "").split(","))
            if chosen := {key: value for key, value in have.items() if key in wanted}:
                found[part] = chosen
        return found

    def provision(self, request: Json) -> dict[str, Json]:
        """Create the device that a provision request asks for; return ThingsBoard's answer."""
        asked = request if isinstance(request, dict) else {}
        secrets = (asked.get("provisionDeviceKey"), asked.get("provisionDeviceSecret"))
        if secrets != self._provision:
            return {"errorMsg": "Provision data was not found!", "status": "NOT_FOUND"}
        with self._lock:
            number = len(self.devices)
            token = f"provisionedToken{number:04d}"
            name = str(asked.get("deviceName") or f"provisioned {number}")
            self.devices.append(Device(name, token))
        return {
            "credentialsType": "ACCESS_TOKEN",
            "credentialsValue": token,
            "status": "SUCCESS",
        }
