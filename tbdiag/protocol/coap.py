"""CoAP requests and their answers (RFC 7252), over UDP or DTLS alike, under one deadline.

aiocoap encodes and decodes the messages (the extra `coap`); its own network stack is left out: it
has no DTLS that lets a certificate be verified. A request is a Confirmable message, sent again with
the timing of section 4.8 until it is acknowledged. Everything here is bounded by the deadline.
"""

from __future__ import annotations

import importlib.util
import random
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from tbdiag.deadline import Deadline
from tbdiag.fact import Fact, Record

if TYPE_CHECKING:
    from aiocoap.message import Message

ACK_TIMEOUT = 2.0
"""Seconds before the first retransmission (RFC 7252 section 4.8)."""
ACK_RANDOM_FACTOR = 1.5
MAX_RETRANSMIT = 4
JSON = 50
"""The Content-Format application/json (RFC 7252 section 12.3)."""
SHOWN = 512
"""Bytes kept of a payload, and of a datagram that is not CoAP."""
ODD_WAIT = 0.5
"""Seconds that an answer may still take once a datagram came that is not CoAP."""


class Link(Protocol):
    """What CoAP messages travel over: a UDP socket or a DTLS session."""

    @property
    def peer(self) -> str:
        """The address at the other end."""

    def send(self, data: bytes) -> None:
        """Send one message; OSError when the other end is known not to take it."""

    def receive(self, deadline: Deadline) -> bytes:
        """The next message; TimeoutError when none comes in time, else OSError."""


class Answer(Fact, frozen=True):
    """What came back for one message.

    `outcome`: `response`, `reset` (RST: understood, not wanted), `silent`, `acknowledged` (an empty
    ACK, and no response after it), `not-coap` (a datagram that is no CoAP message) or `refused`
    (ICMP, or the DTLS session ended: `detail` says how).
    """

    outcome: str
    code: str | None = None
    """`2.01`, `4.01`, … as RFC 7252 section 12.1.2 writes them."""
    payload: bytes = b""
    transmissions: int = 0
    detail: str = ""


def installed() -> bool:
    """Whether aiocoap (the extra `coap`) is there."""
    return importlib.util.find_spec("aiocoap") is not None


def ping(link: Link, deadline: Deadline) -> Answer:
    """CoAP's own ping, an Empty Confirmable message (RFC 7252 section 4.3): nothing secret in it.

    A CoAP server answers with RST.
    """
    from aiocoap.numbers.codes import EMPTY

    return _Exchange(link, _message(EMPTY)).run(deadline)


def request(
    link: Link,
    method: str,
    path: tuple[str, ...],
    deadline: Deadline,
    *,
    query: tuple[str, ...] = (),
    payload: bytes = b"",
) -> Answer:
    """Send a Confirmable `GET` or `POST` and wait for its response.

    `path` and `query` are the segments of Uri-Path and Uri-Query, not percent-encoded; a payload is
    sent as JSON. A response may come within the ACK or later by itself (RFC 7252 section 5.2.2).
    """
    from aiocoap.numbers.codes import Code

    message = _message(Code[method])
    message.token = secrets.token_bytes(6)
    message.opt.uri_path = path
    message.opt.uri_query = query
    if payload:
        message.opt.content_format = JSON
        message.payload = payload
    return _Exchange(link, message).run(deadline)


def _message(code: int) -> Message:
    from aiocoap.message import Message
    from aiocoap.numbers.types import CON

    message = Message(code=code)
    message.mtype = CON
    message.mid = secrets.randbelow(1 << 16)
    return message


class _Exchange(Record):
    """One message until it is answered."""

    link: Link
    message: Message
    transmissions: int = 0
    acknowledged: bool = False
    odd: bytes = b""

    def run(self, deadline: Deadline) -> Answer:
        """Send, and send again, until an answer comes or the deadline passes."""
        data = self.message.encode()
        try:
            for wait in _waits():
                if not self.acknowledged:
                    self.link.send(data)
                    self.transmissions += 1
                answer = self._listen(deadline.sooner(wait))
                if answer or self.odd or deadline.passed:
                    return answer or self._unanswered()
            return self._listen(deadline) or self._unanswered()
        except OSError as error:
            return self._answer("refused", detail=error.strerror or str(error))

    def _listen(self, limit: Deadline) -> Answer | None:
        """What answers our message before `limit`; everything else is passed over."""
        from aiocoap.error import UnparsableMessage
        from aiocoap.message import Message

        while True:
            try:
                data = self.link.receive(limit)
            except TimeoutError:
                return None
            try:
                received = Message.decode(data)
            except (UnparsableMessage, ValueError, IndexError, UnicodeError):
                self.odd = self.odd or data[:SHOWN]
                limit = limit.sooner(ODD_WAIT)
                continue
            if answer := self._judge(received):
                return answer

    def _judge(self, received: Message) -> Answer | None:
        """The answer that a message is to ours; None when it is none (RFC 7252 section 5.3.2)."""
        from aiocoap.numbers.types import ACK, CON, RST

        if received.mtype in (ACK, RST) and received.mid != self.message.mid:
            return None
        if received.mtype is RST:
            return self._answer("reset")
        if received.mtype is ACK and not received.code.is_response():
            self.acknowledged = True
            return None
        if not received.code.is_response() or received.token != self.message.token:
            return None
        if received.mtype is CON:
            self._acknowledge(received.mid)
        return self._answer("response", received.code.dotted, received.payload[:SHOWN])

    def _acknowledge(self, mid: int) -> None:
        from aiocoap.message import Message
        from aiocoap.numbers.codes import EMPTY
        from aiocoap.numbers.types import ACK

        message = Message(code=EMPTY)
        message.mtype = ACK
        message.mid = mid
        self.link.send(message.encode())

    def _unanswered(self) -> Answer:
        if self.odd:
            return self._answer("not-coap", payload=self.odd)
        return self._answer("acknowledged" if self.acknowledged else "silent")

    def _answer(
        self, outcome: str, code: str | None = None, payload: bytes = b"", detail: str = ""
    ) -> Answer:
        return Answer(outcome, code, payload, self.transmissions, detail)


def _waits() -> Iterator[float]:
    """Seconds to wait after each transmission (RFC 7252 section 4.2): doubled every time."""
    wait = ACK_TIMEOUT * random.uniform(1.0, ACK_RANDOM_FACTOR)
    for _ in range(MAX_RETRANSMIT + 1):
        yield wait
        wait *= 2
