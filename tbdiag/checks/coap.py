"""The CoAP stages: does a CoAP server answer, telemetry, attributes; over UDP or DTLS alike."""

from __future__ import annotations

import time

from tbdiag.checks._applies import (
    unless_no_connect,
    with_aiocoap,
    with_device_publish,
    with_device_token,
)
from tbdiag.checks._dtls import addresses
from tbdiag.checks._payload import json_fault
from tbdiag.context import Run
from tbdiag.evidence.devices import (
    TOKEN_PLACE,
    CoapAttributesEvidence,
    CoapConnectEvidence,
    CoapTelemetryEvidence,
)
from tbdiag.model import Target
from tbdiag.protocol import coap
from tbdiag.protocol.tls_datagram import DtlsSession
from tbdiag.protocol.transport_udp import DatagramRefused, Datagrams, open_datagrams
from tbdiag.registry import Blocked, Observation, check

TRANSPORTS = ("coaps", "coap")
QUERY = "clientKeys=model"
SHOWN = 512
"""Characters kept of a response's payload."""
LARGEST = 16384
"""Bytes of a payload that one DTLS record holds; block-wise transfer (RFC 7959) is not done."""
REFUSED = ("4.01", "4.03")
_LIBRARY = ("aiocoap.message",)


@check(
    "coap.connect",
    title="CoAP server",
    order=62,
    requires=("dns.resolve", "tls.handshake", "tls.verify"),
    timeout=8.0,
    transports=TRANSPORTS,
    applies=with_aiocoap(unless_no_connect),
    waivable=("tls.verify",),
    imports=_LIBRARY,
)
def connect(run: Run) -> Observation[CoapConnectEvidence]:
    """Ask whether a CoAP server answers, before the token is sent.

    An Empty Confirmable message is CoAP's ping (RFC 7252 section 4.3): a server answers with RST.
    Every address is tried, for UDP has no connection that tells which one lives.
    """
    started = time.monotonic()
    tried: list[tuple[str, coap.Answer]] = []
    if session := run.kept(DtlsSession):
        tried.append((session.peer, coap.ping(session, run.deadline)))
    else:
        _ping_each(run, tried)
    evidence = _connect_evidence(tried, round((time.monotonic() - started) * 1000, 3))
    return Observation(evidence, evidence.answered, _connect_summary(evidence))


def _ping_each(run: Run, tried: list[tuple[str, coap.Answer]]) -> None:
    """Ping the addresses until one answers, and keep its socket."""
    for address, share in addresses(run, run.deadline):
        try:
            channel = open_datagrams(address, run.target.effective_port)
        except DatagramRefused as error:
            tried.append((address, coap.Answer("refused", detail=str(error.strerror))))
            continue
        answer = coap.ping(channel, share())
        tried.append((address, answer))
        if answer.outcome in ("reset", "response"):
            run.keep(channel, channel.close)
            return
        channel.close()


def _connect_evidence(
    tried: list[tuple[str, coap.Answer]], elapsed_ms: float
) -> CoapConnectEvidence:
    """The last address decides, unless it only refused and another one was silent."""
    ranked = ("refused", "silent", "acknowledged", "not-coap", "response", "reset")
    address, answer = max(tried, key=lambda pair: ranked.index(pair[1].outcome))
    return CoapConnectEvidence(
        answer.outcome,
        address,
        tuple((peer, seen.outcome, seen.detail) for peer, seen in tried),
        answer.transmissions,
        answer.payload if answer.outcome == "not-coap" else b"",
        answer.detail,
        elapsed_ms,
    )


def _connect_summary(seen: CoapConnectEvidence) -> str:
    if seen.answered:
        return f"a CoAP server answers at {seen.address} in {seen.elapsed_ms:.0f} ms"
    words = {
        "silent": f"no answer to {seen.transmissions} pings",
        "acknowledged": "the ping was acknowledged, which is not CoAP",
        "not-coap": f"the answer is not CoAP: {seen.first_bytes[:16]!r}",
    }
    return words.get(seen.outcome, f"refused: {seen.detail}")


@check(
    "coap.telemetry",
    title="Test telemetry",
    order=72,
    requires=("coap.connect",),
    timeout=10.0,
    transports=TRANSPORTS,
    applies=with_aiocoap(with_device_publish),
)
def telemetry(run: Run) -> Observation[CoapTelemetryEvidence]:
    """Send the test telemetry: a Confirmable `POST /api/v1/{token}/telemetry`.

    2.01 means that ThingsBoard queued it; 4.01 that it does not know the token, 4.00 that it could
    not use the payload, 5.00 that the device profile belongs to another transport. An X.509 device
    has no token in the path.
    """
    payload = run.options.payload
    started = time.monotonic()
    if len(payload) > LARGEST:
        answer = coap.Answer("too-large", detail=f"more than the {LARGEST:,} bytes of one record")
    else:
        answer = coap.request(
            _link(run), "POST", _path(run.target, "telemetry"), run.deadline, payload=payload
        )
    evidence = CoapTelemetryEvidence(
        "POST",
        _shown_path(run.target, "telemetry"),
        answer.outcome,
        answer.code,
        _shown(answer.payload),
        len(payload),
        json_fault(payload),
        answer.transmissions,
        answer.detail,
        round((time.monotonic() - started) * 1000, 3),
    )
    return Observation(evidence, evidence.accepted, _summary(evidence, "the telemetry was taken"))


@check(
    "coap.attributes",
    title="Attributes",
    order=82,
    requires=("coap.connect",),
    after=("coap.telemetry",),
    timeout=8.0,
    transports=TRANSPORTS,
    applies=with_aiocoap(with_device_token),
)
def attributes(run: Run) -> Observation[CoapAttributesEvidence] | Blocked:
    """Read an attribute: a Confirmable `GET /api/v1/{token}/attributes?clientKeys=model`.

    2.05 proves the token, and that ThingsBoard answers, `{}` where the attribute is not set.
    """
    sent = run.get(CoapTelemetryEvidence)
    if sent and (sent.code in REFUSED or (sent.code is None and sent.outcome != "too-large")):
        return Blocked("coap.telemetry", "coap.telemetry did not pass")
    started = time.monotonic()
    path = _path(run.target, "attributes")
    answer = coap.request(_link(run), "GET", path, run.deadline, query=(QUERY,))
    evidence = CoapAttributesEvidence(
        "GET",
        f"{_shown_path(run.target, 'attributes')}?{QUERY}",
        answer.outcome,
        answer.code,
        _shown(answer.payload),
        transmissions=answer.transmissions,
        detail=answer.detail,
        elapsed_ms=round((time.monotonic() - started) * 1000, 3),
    )
    good = evidence.payload or "no payload"
    return Observation(evidence, evidence.accepted, _summary(evidence, good))


def _link(run: Run) -> coap.Link:
    """What coap.connect proved: the DTLS session, else the UDP socket."""
    link = run.kept(DtlsSession) or run.kept(Datagrams)
    assert link is not None, "coap.connect passed without a link"
    return link


def _path(target: Target, what: str) -> tuple[str, ...]:
    token = target.credentials.token
    return ("api", "v1", *((token.reveal(),) if token else ()), what)


def _shown_path(target: Target, what: str) -> str:
    place = (TOKEN_PLACE,) if target.credentials.token else ()
    return "/" + "/".join(("api", "v1", *place, what))


def _shown(payload: bytes) -> str:
    return payload[:SHOWN].decode("utf-8", "replace")


def _summary(seen: CoapTelemetryEvidence | CoapAttributesEvidence, good: str) -> str:
    if seen.code is None:
        return f"{seen.outcome}: {seen.detail or f'{seen.transmissions} transmissions'}"
    return seen.code + (f": {good}" if seen.accepted else f" {seen.payload}".rstrip())
