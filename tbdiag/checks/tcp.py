"""Observe the connection: which addresses accept it, and how the others refuse."""

from __future__ import annotations

import time

from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import DnsEvidence, TcpAttempt, TcpEvidence
from tbdiag.model import bracketed
from tbdiag.protocol.transport import Channel, dial, probe_ports
from tbdiag.registry import Observation, check

USUAL_PORTS = (1883, 8883, 443)
"""MQTT, MQTT over TLS and the web interface: where ThingsBoard listens unless configured."""
DIAL_SHARE = 0.7
"""Share of this stage's time for the port asked for; the rest is for the usual ports."""
PROBE_SECONDS = 1.0

_VERBS = {
    "refused": "refused by",
    "timeout": "no answer from",
    "pending": "no answer from",
    "unreachable": "no route to",
    "reset": "reset by",
    "forbidden": "this machine forbids connecting to",
}


@check(
    "tcp.connect",
    title="TCP",
    order=30,
    requires=("dns.resolve",),
    timeout=5,
    transports=("mqtts", "mqtt", "https", "http"),
)
def connect(run: Run) -> Observation[TcpEvidence]:
    """Connect to every address of the host at once and report each.

    The first to answer is used by the stages that follow. When none answers, the server's other
    usual ports are tried briefly, to tell a closed port from a host that is down. With `--proxy`
    the proxy is connected to instead, and asked for a tunnel to the server.
    """
    if run.options.proxy:
        return _through_proxy(run, run.options.proxy)
    addresses = run.need(DnsEvidence).addresses
    limit = run.deadline.sooner(run.deadline.remaining() * DIAL_SHARE)
    attempts, channels = dial(addresses, run.target.effective_port, limit)
    connected = next(iter(channels), None)
    for address, channel in channels.items():
        if address == connected and run.target.transport.encrypted:
            run.keep(channel, channel.close)
        else:
            channel.close()
    other_ports = () if connected else _other_ports(attempts, run.deadline)
    evidence = TcpEvidence(attempts, connected, other_ports)
    return Observation(evidence, connected is not None, _summary(evidence))


def _through_proxy(run: Run, url: str) -> Observation[TcpEvidence]:
    """Open a tunnel through the proxy; the one that stands carries the TLS handshake."""
    from tbdiag.protocol.proxy import dial_through, parse_proxy

    proxy, target, started = parse_proxy(url), run.target, time.monotonic()
    attempts, way = dial_through(
        proxy, target.host, target.effective_port, run.options.family, run.deadline
    )
    elapsed = (time.monotonic() - started) * 1000
    if not isinstance(way, Channel):
        evidence = TcpEvidence(attempts, None, (), proxy.label, way.outcome, way.code, str(way))
        return Observation(evidence, False, f"the proxy {proxy.label}: {way}")
    if target.transport.encrypted:
        run.keep(way, way.close)
    else:
        way.close()
    evidence = TcpEvidence(attempts, target.host, (), proxy.label, "tunnel")
    through = f"{target.address} through the proxy {proxy.label} in {elapsed:.0f} ms"
    return Observation(evidence, True, through)


def _other_ports(attempts: tuple[TcpAttempt, ...], deadline: Deadline) -> tuple[TcpAttempt, ...]:
    """The usual ports of the address most likely alive: one that refused, else the first."""
    asked = next((a for a in attempts if a.outcome == "refused"), attempts[0])
    ports = [port for port in USUAL_PORTS if port != asked.port]
    return probe_ports(asked.family, asked.address, ports, deadline.sooner(PROBE_SECONDS))


def _summary(evidence: TcpEvidence) -> str:
    if evidence.connected:
        used = next(a for a in evidence.attempts if a.address == evidence.connected)
        where = _endpoint(used)
        return f"{where} in {used.elapsed_ms:.0f} ms" + _failed_beside(evidence)
    first = evidence.attempts[0]
    same = {a.outcome for a in evidence.attempts} == {first.outcome}
    shown = evidence.attempts if not same else evidence.attempts[:1]
    parts = [f"{_VERBS.get(a.outcome, a.detail + ',')} {_endpoint(a)}" for a in shown]
    more = len(evidence.attempts) - len(shown)
    return "; ".join(parts) + (f" and {more} more" if more else "")


def _failed_beside(evidence: TcpEvidence) -> str:
    failed = sum(1 for a in evidence.attempts if a.outcome != "connected")
    return f" ({failed} of {len(evidence.attempts)} addresses failed)" if failed else ""


def _endpoint(attempt: TcpAttempt) -> str:
    return f"{bracketed(attempt.address)}:{attempt.port}"
