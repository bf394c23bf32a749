"""The DTLS handshake of a coaps:// target, address after address; the session is kept."""

from __future__ import annotations

from collections.abc import Callable

from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import DnsEvidence, HandshakeEvidence
from tbdiag.fact import replace
from tbdiag.protocol import coap
from tbdiag.protocol.tls_context import Hello
from tbdiag.protocol.tls_datagram import handshake_datagrams
from tbdiag.protocol.transport_udp import DatagramRefused, open_datagrams

MAX_ADDRESSES = 4
"""Addresses of one name that are tried: UDP has nothing that tells at once which of them lives."""
PLAIN_SECONDS = 1.0
"""What the question in plain CoAP may take."""
_UNANSWERED = ("no-answer", "refused")


def addresses(run: Run, deadline: Deadline) -> list[tuple[str, Callable[[], Deadline]]]:
    """The addresses to ask one after the other, each with its fair share of the time left."""
    found = [address for _, address in run.need(DnsEvidence).addresses[:MAX_ADDRESSES]]

    def share(left: int) -> Callable[[], Deadline]:
        return lambda: deadline.sooner(deadline.remaining() / left)

    return [(address, share(len(found) - index)) for index, address in enumerate(found)]


def observe_dtls(run: Run, hello: Hello) -> HandshakeEvidence:
    """Run the handshake with the first address that answers, and keep the session for CoAP.

    When none answers a ClientHello, the port is asked in plain CoAP, with a ping that holds nothing
    secret: only that can prove a listener without DTLS.
    """
    limit = Deadline(run.deadline.at - PLAIN_SECONDS)
    seen: list[HandshakeEvidence] = []
    for address, share in addresses(run, limit):
        evidence = _handshake(run, hello, address, share())
        if evidence.outcome not in _UNANSWERED:
            return evidence
        seen.append(evidence)
    silent = next((e for e in seen if e.outcome == "no-answer"), None)
    if silent is None:
        return seen[-1]
    return replace(silent, speaks="coap") if _speaks_plain_coap(run, silent.peer) else silent


def _handshake(run: Run, hello: Hello, address: str, deadline: Deadline) -> HandshakeEvidence:
    try:
        channel = open_datagrams(address, run.target.effective_port)
    except DatagramRefused as error:
        detail = str(error.strerror)
        return HandshakeEvidence(
            hello.server_name, established=False, outcome="refused", detail=detail, peer=address
        )
    evidence, session = handshake_datagrams(channel, hello, deadline)
    if session:
        run.keep(session, session.close)
    return evidence


def _speaks_plain_coap(run: Run, address: str | None) -> bool:
    if address is None or not coap.installed():
        return False
    try:
        channel = open_datagrams(address, run.target.effective_port)
    except DatagramRefused:
        return False
    try:
        return coap.ping(channel, run.deadline.sooner(PLAIN_SECONDS)).outcome == "reset"
    finally:
        channel.close()
