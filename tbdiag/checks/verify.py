"""tls.verify: what every device TLS stack decides about the certificates the server presented."""

from __future__ import annotations

from collections.abc import Callable

from tbdiag.checks._applies import encrypted_only
from tbdiag.checks._second_opinion import second_opinion
from tbdiag.clients import Client, client_named, decide_all, require_verdict
from tbdiag.context import Run
from tbdiag.evidence import (
    CaEvidence,
    ClientDecision,
    DnsEvidence,
    HandshakeEvidence,
    TcpEvidence,
    VerifyEvidence,
)
from tbdiag.model import Transport
from tbdiag.protocol.x509 import name_match
from tbdiag.registry import Blocked, Observation, check

IMPORTS = ("OpenSSL.SSL", "cryptography.x509.verification", "mbedtls.x509", "mbedtls.version")
NOTHING_SENT = ("client-key-mismatch", "client-certificate-unreadable")
"""Outcomes of tls.handshake that come before its first byte."""


@check(
    "tls.verify",
    title="Server certificate",
    order=50,
    after=("ca.load", "tls.handshake"),
    timeout=6.0,
    transports=("mqtts", "mqtt", "https", "http", "coaps", "coap"),
    applies=encrypted_only,
    imports=IMPORTS,
)
def verify(run: Run) -> Observation[VerifyEvidence] | Blocked:
    """The certification path and the name, as each device TLS stack judges them.

    The captured certificate_list is validated offline against the CA file, at `--at` or now, by
    every stack; the verdict of `--client` (default openssl) decides. When it refuses, second
    opinions are asked for: the public roots, and what port 443 of the same host presents. Where
    the platform's HTTP address is known, the CA file it offers is compared as well.
    """
    client = client_named(run.options.client)
    ca, shown = run.get(CaEvidence), run.get(HandshakeEvidence)
    if ca is None or not ca.certificates:
        return Blocked("ca.load", "there is no CA certificate to verify with")
    if shown is None or not shown.certificate_list:
        return Blocked(_blocker(run), _without_certificate(shown))
    presented, server_name = shown.certificate_list, run.target.reference_name
    ask = decide_all if run.options.all_stacks else _asked_alone(client)
    decisions = ask(presented, ca.certificates, server_name, run.now)
    evidence = VerifyEvidence(
        at=run.now,
        name=name_match(server_name, presented[0]),
        decided_by=client.id,
        decisions=decisions,
        insecure=run.options.insecure,
    )
    require_verdict(evidence.deciding)
    opinion = second_opinion(run, ca, presented, trusted=evidence.trusted)
    evidence = evidence.with_opinion(opinion)
    return Observation(evidence, evidence.trusted, summary(evidence))


def _asked_alone(client: Client) -> Callable[..., tuple[ClientDecision, ...]]:
    return lambda *question: (client.decide(*question),)


def summary(evidence: VerifyEvidence) -> str:
    """One line for the table: through which anchor and until when, or the stack's own reason."""
    decision = evidence.deciding
    if not evidence.trusted:
        return f"not trusted: {decision.reason}"
    anchor, until = decision.path[-1], min(c.not_after for c in decision.path)
    return f"trusted through {anchor.name} until {until.date()} (path of {len(decision.path)})"


def _without_certificate(shown: HandshakeEvidence | None) -> str:
    if shown is None:
        return "there was no handshake"
    if shown.outcome in NOTHING_SENT:
        return "the handshake was not begun: the client certificate cannot be used"
    return "the server presented no certificate"


def _blocker(run: Run) -> str:
    """The stage that kept the server's certificate from being seen."""
    dns, tcp = run.get(DnsEvidence), run.get(TcpEvidence)
    if dns is not None and dns.error:
        return "dns.resolve"
    over_tcp = run.target.transport is not Transport.COAPS
    if over_tcp and (dns or tcp) and (tcp is None or tcp.connected is None):
        return "tcp.connect"
    return "tls.handshake"
