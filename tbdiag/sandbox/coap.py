"""A ThingsBoard-like CoAP server on loopback, over UDP or DTLS.

    with CoapServer(broker.platform) as server:
        ...  coap-client -m POST -t 50 -e '{"temperature":25}' coap://127.0.0.1:PORT/api/v1/TOKEN/…

It answers as ThingsBoard's CoapTransportResource does; it needs aiocoap (the extra `coap`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tbdiag.sandbox.datagrams import Address, DatagramServer, Peer
from tbdiag.sandbox.profile import DEFAULT_TOKEN, Device, InvalidPayload, Platform, parse_json

if TYPE_CHECKING:
    from aiocoap.message import Message
    from cryptography import x509

    from tbdiag.sandbox.connection import Tls

FEATURES: Final = ("telemetry", "attributes")
_JSON: Final = 50


@dataclass(frozen=True, slots=True)
class CoapRequest:
    """A CoAP request: method in words (`POST`), path segments, queries, payload."""

    method: str
    path: tuple[str, ...]
    query: dict[str, str]
    payload: bytes


@dataclass(frozen=True, slots=True)
class CoapResponse:
    """A CoAP response: the code as in `4.01`, and a payload."""

    code: str
    payload: bytes = b""


class CoapFault:
    """No fault: requests are answered as they should be."""

    def hears(self, message: bytes) -> bool:
        """See every message of a client; return False to pass it over."""
        del message
        return True

    def respond(self, request: CoapRequest, response: CoapResponse) -> CoapResponse | None:
        """See every response before it is sent; return another one, or None to lose it."""
        del request
        return response

    @property
    def separate(self) -> bool:
        """Whether responses come by themselves, after an empty ACK."""
        return False


class CoapServer(DatagramServer):
    """ThingsBoard's CoAP transport. platform: shared with others, or one device (DEFAULT_TOKEN)."""

    def __init__(
        self,
        platform: Platform | None = None,
        *,
        tls: Tls | None = None,
        faults: Sequence[CoapFault] = (),
        port: int = 0,
        lose: int = 0,
    ) -> None:
        super().__init__(tls=tls, port=port, lose=lose)
        self.platform = platform or Platform([Device(token=DEFAULT_TOKEN)])
        self.faults = tuple(faults)
        self.requests: list[CoapRequest] = []
        self._answered: dict[tuple[Address, int], bytes] = {}

    def receive(self, peer: Peer, message: bytes) -> None:
        """Answer one message; one that is no CoAP is passed over (RFC 7252 section 3)."""
        from aiocoap.error import UnparsableMessage
        from aiocoap.message import Message
        from aiocoap.numbers.types import CON, RST

        if not all(fault.hears(message) for fault in self.faults):
            return
        try:
            received = Message.decode(message)
        except UnparsableMessage:
            return
        if received.mtype is not CON:
            return
        if not received.code.is_request():
            peer.send(_encoded("0.00", RST, received.mid))
            return
        self._answer(peer, received)

    def _answer(self, peer: Peer, received: Message) -> None:
        """Answer a request once, and a copy of it with the same bytes (RFC 7252 section 4.5)."""
        from aiocoap.numbers.types import ACK, CON

        key = (peer.address, received.mid)
        if key in self._answered:
            peer.send(self._answered[key])
            return
        request = _request(received)
        self.requests.append(request)
        response = self._respond(request, peer.certificate)
        separate = any(fault.separate for fault in self.faults)
        kind, mid = (CON, (received.mid + 1) & 0xFFFF) if separate else (ACK, received.mid)
        data = _encoded(response.code, kind, mid, received.token, response.payload)
        self._answered[key] = data
        if separate:
            peer.send(_encoded("0.00", ACK, received.mid))
        for fault in self.faults:
            changed = fault.respond(request, response)
            if changed is None:
                return
            data = _encoded(changed.code, kind, mid, received.token, changed.payload)
        peer.send(data)

    def _respond(self, request: CoapRequest, certificate: x509.Certificate | None) -> CoapResponse:
        """What ThingsBoard answers."""
        if request.path[:2] != ("api", "v1"):
            return CoapResponse("4.04")
        *credentials, feature = request.path[2:] or ("",)
        if feature not in FEATURES or len(credentials) > 1:
            return CoapResponse("4.00")
        if credentials:
            device = self.platform.by_token(credentials[0])
        else:
            device = _by_certificate(self.platform, certificate)
        if device is None:
            return CoapResponse("4.01")
        if device.profile.transport not in ("default", "coap"):
            return CoapResponse("5.00")
        return self._device(request, device, feature)

    def _device(self, request: CoapRequest, device: Device, feature: str) -> CoapResponse:
        if request.method == "GET" and feature == "attributes":
            keys = request.query.get("clientKeys"), request.query.get("sharedKeys")
            value = self.platform.read_attributes(device, *keys)
            return CoapResponse("2.05", json.dumps(value).encode())
        if request.method != "POST":
            return CoapResponse("4.00")
        try:
            value = parse_json(request.payload)  # type: ignore[assignment]
            if feature == "telemetry":
                self.platform.store_telemetry(device, value)
            else:
                self.platform.store_attributes(device, value)
        except InvalidPayload:
            return CoapResponse("4.00")
        return CoapResponse("2.01")


def _by_certificate(platform: Platform, certificate: x509.Certificate | None) -> Device | None:
    if certificate is None:
        return None
    from cryptography.hazmat.primitives.hashes import SHA256

    return platform.by_fingerprint(certificate.fingerprint(SHA256()).hex())


def _request(message: Message) -> CoapRequest:
    query = dict(pair.partition("=")[::2] for pair in message.opt.uri_query)
    return CoapRequest(
        message.code.name, tuple(message.opt.uri_path), query, bytes(message.payload)
    )


def _encoded(code: str, kind: int, mid: int, token: bytes = b"", payload: bytes = b"") -> bytes:
    from aiocoap.message import Message
    from aiocoap.numbers.codes import Code

    family, _, detail = code.partition(".")
    message = Message(code=Code(int(family) * 32 + int(detail)), payload=payload)
    message.mtype, message.mid, message.token = kind, mid, token
    if payload[:1] == b"{":
        message.opt.content_format = _JSON
    return message.encode()  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Mute(CoapFault):
    """Requests are read and never answered; a ping still is, unless `pings` too."""

    pings: bool = False

    def hears(self, message: bytes) -> bool:
        """Pass over what has a method code."""
        return not self.pings and message[1:2] == b"\x00"


@dataclass(frozen=True, slots=True)
class Separate(CoapFault):
    """Every response comes by itself, after an empty ACK (RFC 7252 section 5.2.2)."""

    @property
    def separate(self) -> bool:
        """They do."""
        return True


@dataclass(frozen=True, slots=True)
class AcknowledgedOnly(Separate):
    """A request is acknowledged, and its response never comes."""

    def respond(self, request: CoapRequest, response: CoapResponse) -> CoapResponse | None:
        """Lose it."""
        return None


@dataclass(frozen=True, slots=True)
class Always(CoapFault):
    """Every request is answered with this code and payload."""

    code: str
    payload: bytes = b""

    def respond(self, request: CoapRequest, response: CoapResponse) -> CoapResponse | None:
        """Answer with it."""
        return CoapResponse(self.code, self.payload)


@dataclass
class LostResponses(CoapFault):
    """The first `count` responses are lost on their way; a copy of the request is answered."""

    count: int = 1

    def respond(self, request: CoapRequest, response: CoapResponse) -> CoapResponse | None:
        """Lose the first ones."""
        self.count -= 1
        return response if self.count < 0 else None


class Garbage(DatagramServer):
    """Answers every datagram with bytes that are neither CoAP nor DTLS."""

    def receive(self, peer: Peer, message: bytes) -> None:
        """Answer with them."""
        peer.send(b"\xff\xfe not CoAP")
