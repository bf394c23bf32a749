"""dns.* and tcp.*: which fault the way to the server shows, and what to do about it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tbdiag import registry
from tbdiag.context import Case
from tbdiag.evidence import DnsEvidence, TcpAttempt, TcpEvidence
from tbdiag.model import Finding, Options, Severity, Target, Transport

registry.load("rules")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
RULES = [r for r in registry.RULES.values() if r.needs in (DnsEvidence, TcpEvidence)]
TARGET = Target("broker.example", 8883)
OUTCOMES = ("refused", "timeout", "unreachable", "forbidden", "reset", "other")


def judged(
    evidence: DnsEvidence | TcpEvidence, target: Target = TARGET, options: Options | None = None
) -> list[Finding]:
    case = Case(target, options or Options(), NOW, {type(evidence): evidence})
    return [finding for rule in RULES for finding in rule.findings(case)]


def only(
    evidence: DnsEvidence | TcpEvidence, target: Target = TARGET, options: Options | None = None
) -> Finding:
    (finding,) = judged(evidence, target, options)
    return finding


def unresolved(host: str, error: str, detail: str = "") -> DnsEvidence:
    return DnsEvidence(host, literal=False, error=error, detail=detail, elapsed_ms=5000)


def failed(*outcomes: str, answering: tuple[int, ...] = (), port: int = 8883) -> TcpEvidence:
    attempts = tuple(
        TcpAttempt("IPv4", f"192.0.2.{n}", port, outcome, f"E{n}: said the system", 700)
        for n, outcome in enumerate(outcomes, 1)
    )
    others = tuple(
        TcpAttempt("IPv4", "192.0.2.1", p, "connected" if p in answering else "refused")
        for p in (1883, 8883, 443)
        if p != port
    )
    return TcpEvidence(attempts, None, others)


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        ("name-not-found", "dns.name-not-found"),
        ("timeout", "dns.timeout"),
        ("temporary-failure", "dns.timeout"),
        ("invalid-name", "dns.invalid-name"),
    ],
)
def test_each_dns_error_has_one_rule(error: str, rule: str) -> None:
    """Every way in which a lookup fails gives exactly one finding, which names the host."""
    finding = only(unresolved("broker.example", error, "said the resolver"))
    assert (finding.rule, finding.severity, finding.stage) == (rule, Severity.ERROR, "dns.resolve")
    assert "broker.example" in finding.message


def test_a_resolved_name_has_none() -> None:
    """A name that resolves gives no finding."""
    found = DnsEvidence("x.example", literal=False, addresses=(("IPv4", "192.0.2.1"),))
    assert judged(found) == []


def test_the_family_asked_for_is_named() -> None:
    """With -6 the finding speaks of an IPv6 address."""
    finding = only(unresolved("broker.example", "name-not-found"), options=Options(family="6"))
    assert "no IPv6 address" in finding.message


@pytest.mark.parametrize(
    ("host", "command"),
    [
        ("mqtts://broker.example/x", "tbdiag check mqtts://broker.example:8883"),
        ("broker.example:1884", "tbdiag check mqtts://broker.example:1884"),
        ("mqtt://user@broker.example.", "tbdiag check mqtt://broker.example:8883"),
        ("https://broker.example", "tbdiag check mqtts://broker.example:8883"),
        ("a b'; rm -rf /", "tbdiag check mqtts://mqtt.thingsboard.cloud:8883"),
    ],
)
def test_the_repair_of_a_name_is_a_safe_command(host: str, command: str) -> None:
    """The bare name is taken out of what was pasted; what is no name never reaches a command."""
    assert only(unresolved(host, "invalid-name", "it is odd")).fix.endswith(command)


@pytest.mark.parametrize("first", OUTCOMES)
@pytest.mark.parametrize("second", OUTCOMES)
def test_every_failure_to_connect_has_one_rule(first: str, second: str) -> None:
    """However two addresses fail, there is exactly one error, the same in either order."""
    finding = only(failed(first, second))
    assert finding.severity is Severity.ERROR
    assert finding.rule == only(failed(second, first)).rule


def test_an_address_that_refuses_speaks_for_the_host() -> None:
    """A refusal is an answer: it counts more than an address without a route."""
    finding = only(failed("unreachable", "refused"))
    assert (finding.rule, finding.subject) == ("tcp.refused", "192.0.2.2:8883")


@pytest.mark.parametrize(
    ("port", "answering", "cause", "fix"),
    [
        (8883, (1883, 443), "switched off", "MQTT_SSL_ENABLED=true"),
        (1883, (8883,), "only over TLS", "mqtts://broker.example:8883"),
        (8884, (8883, 1883), "MQTT ports are 1883 and 8883", "mqtts://broker.example:8883"),
        (8884, (1883,), "MQTT ports are 1883", "mqtt://broker.example:1883"),
        (8883, (443,), "no MQTT listener runs", "thingsboard.log"),
        (8883, (), "not running there", "systemctl status thingsboard"),
    ],
)
def test_a_refusal_is_explained_by_the_other_ports(
    port: int, answering: tuple[int, ...], cause: str, fix: str
) -> None:
    """What the server's usual ports say tells TLS switched off from a server that is down."""
    evidence = failed("refused", answering=answering, port=port)
    finding = only(evidence, Target("broker.example", port))
    assert (cause in finding.cause, fix in finding.fix) == (True, True)


def test_the_live_demo_offers_no_tls() -> None:
    """demo.thingsboard.io on 8883 is refused by design, and the finding says so."""
    finding = only(failed("refused", answering=(1883, 443)), Target("Demo.ThingsBoard.io"))
    assert "Live Demo" in finding.cause
    assert "mqtt://demo.thingsboard.io" in finding.fix


@pytest.mark.parametrize(
    ("answering", "cause"), [((443,), "answers on 443"), ((), "down or filtered")]
)
def test_a_timeout_is_explained_by_the_other_ports(answering: tuple[int, ...], cause: str) -> None:
    """A host that answers on another port has a firewall before this one."""
    finding = only(failed("timeout", answering=answering))
    assert finding.rule == "tcp.timeout"
    assert cause in finding.cause


@pytest.mark.parametrize(
    ("outcome", "detail", "family", "fix"),
    [
        ("unreachable", "EHOSTUNREACH: No route to host", "IPv4", "ip route get 192.0.2.1"),
        ("unreachable", "ENETUNREACH: Network is unreachable", "IPv6", "tbdiag check -4"),
        ("forbidden", "EPERM: Operation not permitted", "IPv4", "nft list ruleset"),
    ],
)
def test_no_way_to_the_address(outcome: str, detail: str, family: str, fix: str) -> None:
    """No route, no IPv6 and a local firewall each have their own repair."""
    attempt = TcpAttempt(family, "192.0.2.1", 8883, outcome, detail)
    finding = only(TcpEvidence((attempt,), None))
    assert finding.rule == "tcp.unreachable"
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("address", "outcome", "detail", "severity"),
    [
        ("192.0.2.9", "refused", "ECONNREFUSED: Connection refused", Severity.WARNING),
        ("2001:db8::9", "pending", "no answer", Severity.WARNING),
        ("2001:db8::9", "unreachable", "EHOSTUNREACH: No route to host", Severity.WARNING),
        ("2001:db8::9", "unreachable", "ENETUNREACH: Network is unreachable", Severity.INFO),
        ("::1", "refused", "ECONNREFUSED: Connection refused", Severity.INFO),
        ("fe80::1%eth0", "timeout", "no answer", Severity.WARNING),
    ],
)
def test_one_dead_address_among_good_ones(
    address: str, outcome: str, detail: str, severity: Severity
) -> None:
    """A dead address beside a good one is a warning; on loopback or without IPv6 only a remark."""
    good = TcpAttempt("IPv4", "192.0.2.1", 8883, "connected")
    dead = TcpAttempt("IPv6", address, 8883, outcome, detail)
    finding = only(TcpEvidence((good, dead), "192.0.2.1"))
    assert (finding.rule, finding.severity) == ("tcp.address-unreachable", severity)
    assert address in finding.subject


def test_good_addresses_have_no_finding() -> None:
    """A host that answers on all its addresses gives no finding, on a plain port too."""
    good = TcpAttempt("IPv4", "192.0.2.1", 1883, "connected")
    target = Target("broker.example", transport=Transport.MQTT)
    assert judged(TcpEvidence((good,), "192.0.2.1"), target) == []
