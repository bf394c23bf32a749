"""CoAP exchanges over real UDP sockets: answers, silence, losses and whatever is no CoAP."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("aiocoap", reason="the extra coap is not installed")

from tbdiag.deadline import Deadline
from tbdiag.protocol import coap
from tbdiag.protocol.transport_udp import DatagramRefused, Datagrams, open_datagrams
from tbdiag.sandbox.coap import AcknowledgedOnly, CoapServer, LostResponses, Mute, Separate
from tbdiag.sandbox.datagrams import DatagramServer, Peer, RefusingDatagrams
from tbdiag.sandbox.profile import DEFAULT_TOKEN

TELEMETRY = ("api", "v1", DEFAULT_TOKEN, "telemetry")
PAYLOAD = b'{"temperature":25}'


class Scripted(DatagramServer):
    """Answers every message with what a function makes of it."""

    def __init__(self, answer: Callable[[bytes], list[bytes]]) -> None:
        super().__init__()
        self.answer = answer
        self.heard = 0

    def receive(self, peer: Peer, message: bytes) -> None:
        self.heard += 1
        for data in self.answer(message):
            peer.send(data)


def asked(server: DatagramServer, seconds: float = 5.0, **changes: Any) -> coap.Answer:
    """Post telemetry to a server, and what came back."""
    arguments = {"method": "POST", "path": TELEMETRY, "payload": PAYLOAD, **changes}
    with server:
        channel = open_datagrams("127.0.0.1", server.port)
        try:
            return coap.request(channel, deadline=Deadline.after(seconds), **arguments)
        finally:
            channel.close()


def pinged(server: DatagramServer, seconds: float = 5.0) -> coap.Answer:
    with server:
        channel = open_datagrams("127.0.0.1", server.port)
        try:
            return coap.ping(channel, Deadline.after(seconds))
        finally:
            channel.close()


def test_telemetry_is_created() -> None:
    """A POST is answered 2.01, and its payload is stored."""
    server = CoapServer()
    answer = asked(server)
    assert (answer.outcome, answer.code, answer.transmissions) == ("response", "2.01", 1)
    assert server.platform.telemetry == [("sandbox device", {"temperature": 25})]


def test_the_path_and_the_query_arrive_as_they_are() -> None:
    """Segments with slashes, spaces and percent signs are one segment each."""
    server = CoapServer()
    asked(server, method="GET", path=("a/b", "c d", "%41"), query=("k=ü",), payload=b"")
    assert server.requests[0].path == ("a/b", "c d", "%41")
    assert server.requests[0].query == {"k": "ü"}


def test_a_ping_is_answered_with_a_reset() -> None:
    """RFC 7252 section 4.3: an Empty Confirmable message provokes RST."""
    assert pinged(CoapServer()).outcome == "reset"


def test_a_separate_response_is_acknowledged() -> None:
    """A response that follows an empty ACK counts, and is acknowledged in turn."""
    server = CoapServer(faults=[Separate()])
    assert asked(server).code == "2.01"
    assert server.received_bytes()[-4:-2] == b"\x60\x00"


def test_a_lost_response_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same message is sent again, and the server stores it once (RFC 7252 section 4.5)."""
    monkeypatch.setattr(coap, "ACK_TIMEOUT", 0.05)
    server = CoapServer(faults=[LostResponses(2)])
    answer = asked(server)
    assert (answer.code, answer.transmissions) == ("2.01", 2)
    assert len(server.platform.telemetry) == 1


def test_lost_requests_are_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three datagrams lost on the way do not fail the request."""
    monkeypatch.setattr(coap, "ACK_TIMEOUT", 0.05)
    answer = asked(CoapServer(lose=3))
    assert (answer.code, answer.transmissions) == ("2.01", 4)


def test_no_more_than_four_retransmissions(monkeypatch: pytest.MonkeyPatch) -> None:
    """MAX_RETRANSMIT bounds what is sent into silence; listening goes on to the deadline."""
    monkeypatch.setattr(coap, "ACK_TIMEOUT", 0.01)
    answer = asked(CoapServer(faults=[Mute()]), seconds=0.8)
    assert (answer.outcome, answer.transmissions) == ("silent", 1 + coap.MAX_RETRANSMIT)


def test_an_acknowledged_request_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an empty ACK only the response is awaited."""
    monkeypatch.setattr(coap, "ACK_TIMEOUT", 0.05)
    answer = asked(CoapServer(faults=[AcknowledgedOnly()]), seconds=0.5)
    assert (answer.outcome, answer.transmissions) == ("acknowledged", 1)


def test_silence_ends_at_the_deadline() -> None:
    """A server that never answers holds nobody up beyond the deadline."""
    started = time.monotonic()
    assert asked(DatagramServer(), seconds=0.3).outcome == "silent"
    assert time.monotonic() - started < 1.0


def test_a_flood_ends_at_the_deadline() -> None:
    """A server that sends one datagram after the other holds nobody up beyond the deadline."""
    reply = b"\x60\x45\x00\x00\xffnot yours"
    started = time.monotonic()
    with Scripted(lambda _: [reply] * 20000) as server:
        channel = open_datagrams("127.0.0.1", server.port)
        answer = coap.request(channel, "GET", TELEMETRY, Deadline.after(0.4))
        channel.close()
        took = time.monotonic() - started
    assert answer.outcome == "silent"
    assert took < 1.4


def test_an_answer_to_somebody_else_is_passed_over() -> None:
    """A response with another Message ID or token is not ours (RFC 7252 section 5.3.2)."""

    def confused(message: bytes) -> list[bytes]:
        mid, token = message[2:4], message[4:10]
        other = bytes([message[2] ^ 0xFF, message[3]])
        return [
            b"\x66\x45" + other + token,
            b"\x66\x84" + mid + b"000000",
            b"\x56\x85" + other + b"000000",
            b"\x66\x44" + mid + token,
        ]

    assert asked(Scripted(confused)).code == "2.04"


def test_what_is_no_coap_is_said_to_be_none() -> None:
    """Bytes that do not parse are kept as they came, within half a second."""
    answer = pinged(Scripted(lambda _: [b"\xff\xfeSSH-2.0"]))
    assert (answer.outcome, answer.payload) == ("not-coap", b"\xff\xfeSSH-2.0")


def test_noise_before_the_answer_does_no_harm() -> None:
    """A datagram that does not parse is passed over when the answer follows it."""
    answer = asked(Scripted(lambda m: [b"noise", b"\x66\x41" + m[2:4] + m[4:10]]))
    assert answer.code == "2.01"


def test_a_closed_port_is_told_from_silence() -> None:
    """ICMP says that nobody listens: the answer is there at once."""
    started = time.monotonic()
    answer = pinged(RefusingDatagrams())
    assert (answer.outcome, answer.detail) == ("refused", "Connection refused")
    assert time.monotonic() - started < 1.0


def test_an_address_that_cannot_be_reached_is_refused() -> None:
    """No route, and a family this machine has not, are one exception."""
    with pytest.raises(DatagramRefused):
        open_datagrams("not an address", 5683)


class Replayed:
    """A link that has one datagram to give."""

    peer = "127.0.0.1"

    def __init__(self, data: bytes) -> None:
        self.data: list[bytes] = [data]

    def send(self, data: bytes) -> None:
        """Take it."""

    def receive(self, deadline: Deadline) -> bytes:
        if not self.data:
            raise TimeoutError
        return self.data.pop()


@given(st.binary(max_size=200))
def test_any_datagram_is_an_answer_or_none(data: bytes) -> None:
    """No bytes of a peer raise, whatever they are."""
    answer = coap.request(Replayed(data), "GET", ("x",), Deadline.after(0))
    assert answer.outcome in ("silent", "not-coap", "acknowledged")


@given(st.integers(0, 255), st.integers(0, 8), st.binary(max_size=40))
def test_any_message_with_our_id_is_an_answer_or_none(code: int, token: int, rest: bytes) -> None:
    """The same for what passes as CoAP: any code, any options."""

    class Mirror(Replayed):
        def send(self, data: bytes) -> None:
            self.data = [bytes([0x60 + token, code]) + data[2:4] + data[4 : 4 + token] + rest]

    answer = coap.request(Mirror(b""), "GET", ("x",), Deadline.after(0))
    assert answer.outcome in ("silent", "not-coap", "acknowledged", "response", "reset")


def test_a_datagram_socket_hears_one_peer_only() -> None:
    """A third party cannot answer: its datagrams do not arrive."""
    with DatagramServer() as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        channel = open_datagrams("127.0.0.1", server.port)
        stranger.sendto(b"\x70\x00\x00\x00", channel.socket.getsockname())
        with pytest.raises(TimeoutError):
            channel.receive(Deadline.after(0.1))
        channel.close()
    assert isinstance(channel, Datagrams)
