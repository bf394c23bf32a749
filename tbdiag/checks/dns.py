"""Observe the name: which addresses the host has."""

from __future__ import annotations

from tbdiag.checks._applies import proxied
from tbdiag.context import Run
from tbdiag.evidence import DnsEvidence
from tbdiag.protocol.hostnames import InvalidName, ascii_name
from tbdiag.protocol.transport import resolve
from tbdiag.protocol.x509_identity import ip_literal
from tbdiag.registry import NotApplicable, Observation, check

_FAILURES = {
    "name-not-found": "no address for",
    "timeout": "the resolver gave no answer for",
    "temporary-failure": "the resolver could not answer for",
    "invalid-name": "not a host name:",
}
_SHOWN = 3
_SHOWN_NAME = 80


@check(
    "dns.resolve",
    title="DNS",
    order=20,
    timeout=5,
    transports=("mqtts", "mqtt", "https", "http", "coaps", "coap"),
)
def resolve_host(run: Run) -> Observation[DnsEvidence] | NotApplicable:
    """Resolve the host to its IPv4 and IPv6 addresses with the system's own resolver.

    An IP address is taken as it is. The lookup runs in a thread with a deadline, because the
    system's resolver cannot be interrupted. With `--proxy` the proxy resolves the name, and here it
    is only seen to be one.
    """
    target = run.target
    if proxied(target, run.options) and not _invalid(target.host):
        return NotApplicable("the proxy resolves the name")
    evidence = resolve(target.host, target.effective_port, run.options.family, run.deadline)
    return Observation(evidence, evidence.error is None, _summary(evidence))


def _invalid(host: str) -> bool:
    try:
        return not ip_literal(host) and not ascii_name(host)
    except InvalidName:
        return True


def _summary(evidence: DnsEvidence) -> str:
    if evidence.error:
        return f"{_FAILURES[evidence.error]} {evidence.host[:_SHOWN_NAME]!r}"
    if evidence.literal:
        return f"{evidence.host} is an address already"
    shown = ", ".join(address for _, address in evidence.addresses[:_SHOWN])
    more = len(evidence.addresses) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
