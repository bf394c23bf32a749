"""Observe the TLS handshake: everything the server shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from tbdiag.checks._applies import encrypted_only
from tbdiag.checks._dtls import observe_dtls
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import (
    CaEvidence,
    Certificate,
    HandshakeEvidence,
    TcpEvidence,
    VerifyError,
)
from tbdiag.fact import replace
from tbdiag.model import Transport
from tbdiag.protocol.identity import Identity, UnusableIdentity, load_identity
from tbdiag.protocol.plaintext import ask_mqtt, identify, listen
from tbdiag.protocol.tls import Hello, handshake
from tbdiag.protocol.transport import Channel, InvalidName, ascii_name, dial
from tbdiag.protocol.x509_identity import ip_literal
from tbdiag.registry import Observation, check

T = TypeVar("T")

STALE_SECONDS = 3.0
"""Age above which the connection of tcp.connect is not used: servers drop a mute client."""
PLAIN_SECONDS = 2.0
"""What the question in plain MQTT may take."""
MUTE_SECONDS = 0.5
"""How long a connection on which nothing is sent is watched."""


@check(
    "tls.handshake",
    title="TLS handshake",
    order=40,
    requires=("dns.resolve", "tcp.connect"),
    after=("ca.load",),
    timeout=10,
    transports=("mqtts", "mqtt", "https", "http", "coaps", "coap"),
    applies=encrypted_only,
    imports=("OpenSSL.SSL",),
)
def observe_handshake(run: Run) -> Observation[HandshakeEvidence]:
    """Run one TLS handshake and record all of it, whatever the server certificate is worth.

    TLS 1.2 and 1.3 are offered, as a device with a current OpenSSL does. The certificate list as
    presented, every verify error, alerts and a CertificateRequest are kept. It ends with a short
    read, because a TLS 1.3 server refuses a missing client certificate only after the handshake.

    When the server closes without a single byte in answer to ClientHello, it is asked once more in
    plain MQTT, without token or any credential: only that can prove a listener without TLS. If that
    too finds no answer, a connection on which nothing is sent shows whether it closes on everybody.

    For coaps:// it is a DTLS 1.2 handshake over UDP, with the same facts.
    """
    evidence = _handshake(run)
    if evidence.outcome in ("closed", "reset") and not evidence.bytes_received:
        evidence = _asked_again(run, evidence)
    if evidence.certificate_list and not run.options.all_stacks:
        evidence = replace(evidence, verify_errors=_verify_errors(run, evidence.certificate_list))
    return Observation(evidence, evidence.established, _summary(evidence))


def _verify_errors(run: Run, presented: tuple[Certificate, ...]) -> tuple[VerifyError, ...]:
    """What OpenSSL would have found in the handshake: asked afterwards, once for many servers."""
    from tbdiag.clients.openssl import verify

    ca = run.get(CaEvidence)
    now = datetime.now(UTC) if run.options.at else run.now
    return verify(presented, ca.certificates if ca else (), now).errors


def _handshake(run: Run) -> HandshakeEvidence:
    try:
        hello = Hello(
            _sni(run.target.reference_name),
            _anchors(run) if run.options.all_stacks else None,
            _identity(run),
            run.options.alpn,
            datagram=run.target.transport is Transport.COAPS,
        )
        hello.context()
        if hello.datagram:
            return observe_dtls(run, hello)
        channel = _channel(run)
        if channel is None:
            return _failed("timeout", "the server took no second connection")
        return handshake(channel, hello, run.deadline)
    except UnusableIdentity as unusable:
        return replace(_failed(unusable.outcome, str(unusable)), client_chain=unusable.chain)


def _sni(name: str) -> str | None:
    if ip_literal(name):
        return None
    try:
        return ascii_name(name).removesuffix(".")
    except InvalidName:
        return None


def _anchors(run: Run) -> tuple[bytes, ...]:
    ca = run.get(CaEvidence)
    return tuple(certificate.der for certificate in ca.certificates) if ca else ()


def _identity(run: Run) -> Identity | None:
    credentials = run.target.credentials
    if not credentials.certfile:
        return None
    return load_identity(credentials.certfile, credentials.keyfile)


def _channel(run: Run) -> Channel | None:
    """The connection of tcp.connect, or a new one when it has been idle too long."""
    kept = run.kept(Channel)
    if kept and time.monotonic() - kept.opened_at < STALE_SECONDS:
        return kept
    return _dial_again(run, run.deadline)


def _dial_again(run: Run, deadline: Deadline) -> Channel | None:
    if run.options.proxy:
        return _through_proxy(run, run.options.proxy, deadline)
    tcp = run.need(TcpEvidence)
    used = [(a.family, a.address) for a in tcp.attempts if a.address == tcp.connected]
    _, channels = dial(used, run.target.effective_port, deadline)
    return next(iter(channels.values()), None)


def _through_proxy(run: Run, url: str, deadline: Deadline) -> Channel | None:
    from tbdiag.protocol.proxy import dial_through, parse_proxy

    target, family = run.target, run.options.family
    _, way = dial_through(parse_proxy(url), target.host, target.effective_port, family, deadline)
    return way if isinstance(way, Channel) else None


def _failed(outcome: str, detail: str) -> HandshakeEvidence:
    return HandshakeEvidence(None, established=False, outcome=outcome, detail=detail)


def _asked_again(run: Run, evidence: HandshakeEvidence) -> HandshakeEvidence:
    answer = _on_new_connection(run, PLAIN_SECONDS, ask_mqtt)
    if answer:
        return replace(evidence, first_bytes=answer, speaks=identify(answer))
    return replace(evidence, unprovoked=_on_new_connection(run, MUTE_SECONDS, listen))


def _on_new_connection(
    run: Run, seconds: float, speak: Callable[[Channel, Deadline], T]
) -> T | None:
    deadline = run.deadline.sooner(seconds)
    channel = _dial_again(run, deadline)
    if channel is None:
        return None
    try:
        return speak(channel, deadline)
    finally:
        channel.close()


def _summary(evidence: HandshakeEvidence) -> str:
    if evidence.established:
        count = len(evidence.certificate_list) + len(evidence.unparsed)
        noun = "certificate" if count == 1 else "certificates"
        shown = evidence.truncated or f"{count} {noun} presented"
        alpn = f", ALPN {evidence.alpn}" if evidence.alpn else ""
        ends = min((c.not_after for c in evidence.certificate_list), default=None)
        until = f" until {ends.date()}" if ends else ""
        return f"{evidence.version}, {evidence.cipher}{alpn}, {shown}{until}"
    return _failure(evidence)


def _failure(evidence: HandshakeEvidence) -> str:
    if evidence.speaks == "mqtt":
        return "the server speaks plain MQTT, not TLS"
    if evidence.speaks == "coap":
        return "the server speaks plain CoAP, not DTLS"
    if evidence.speaks:
        return f"the server does not speak TLS: {_PROTOCOLS.get(evidence.speaks, 'unknown')}"
    return _FAILURES[evidence.outcome].format(evidence.detail)


_PROTOCOLS = {"unknown": "another protocol", "http": "HTTP", "ssh": "SSH", "smtp": "SMTP"}
_FAILURES = {
    "not-tls": "the server does not speak TLS",
    "no-answer": "no answer: {}",
    "refused": "nothing listens there: {}",
    "closed": "closed by the server: {}",
    "reset": "reset by the server: {}",
    "timeout": "not finished in time: {}",
    "alert": "the server sent the alert {}",
    "late-alert": "the server sent the alert {} after the handshake",
    "late-close": "the server closed right after the handshake",
    "protocol-error": "broken off by this client: {}",
    "client-key-mismatch": "client certificate and private key do not belong together",
    "client-certificate-unreadable": "client certificate unusable: {}",
}
