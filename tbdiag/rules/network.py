"""Judge the way to the server: its name, and whether anything listens there."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterator

from tbdiag.context import Case
from tbdiag.evidence import DnsEvidence, TcpAttempt, TcpEvidence
from tbdiag.model import Severity, bracketed
from tbdiag.protocol.hostnames import InvalidName, ascii_name
from tbdiag.registry import Fault, rule

LIVE_DEMO = "demo.thingsboard.io"
MQTT, MQTTS = 1883, 8883
_SHOWN = 80
"""Characters shown of what was given as a host."""
_DECISIVE = ("refused", "timeout", "unreachable", "forbidden", "other")
"""Which outcome speaks for all when every address failed: the one with an answer first."""
_LOCAL_ERRORS = ("ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT")
"""This machine has no network of that family: nothing that the server could change."""


def unresolved(dns: DnsEvidence) -> bool:
    """Whether the name has no address."""
    return dns.error is not None


def unconnected(tcp: TcpEvidence) -> bool:
    """Whether no address accepted the connection."""
    return tcp.connected is None


@rule(
    "dns.name-not-found",
    stage="dns.resolve",
    needs=DnsEvidence,
    reference="RFC 8499 section 3",
    when=unresolved,
)
def name_not_found(case: Case, dns: DnsEvidence) -> Iterator[Fault]:
    """The host name has no address.

    The name servers answered, and there is no such name, or it has no address of the family asked
    for. Usual causes are a typing error, a name of an internal network used from outside, and a
    white-label web address taken for the MQTT host: on ThingsBoard Cloud that is
    mqtt.thingsboard.cloud, whatever the web interface is called.
    """
    if dns.error != "name-not-found":
        return
    family = case.options.family
    kind = f"IPv{family} address" if family else "address"
    host = shlex.quote(dns.host)
    yield Fault(
        message=f"{dns.host} has no {kind} ({dns.detail}).",
        cause=f"The name servers that this machine asks know no {kind} for {dns.host}.",
        fix=f"Correct the host name; see what it resolves to with: getent ahosts {host}",
        subject=dns.host,
    )


@rule(
    "dns.timeout",
    stage="dns.resolve",
    needs=DnsEvidence,
    when=unresolved,
)
def dns_timeout(case: Case, dns: DnsEvidence) -> Iterator[Fault]:
    """The name servers of this machine do not answer.

    The name could not be looked up at all, so nothing is known about the host itself. That no
    answer came in time and that the resolver reports a temporary failure (EAI_AGAIN) are the same
    fault seen at different moments.
    """
    del case
    if dns.error not in ("timeout", "temporary-failure"):
        return
    detail = f" ({dns.detail})" if dns.error == "temporary-failure" else ""
    yield Fault(
        message=f"Looking up {dns.host} gave no answer in {dns.elapsed_ms:.0f} ms{detail}.",
        cause="The name server that this machine is configured to ask cannot be reached or fails.",
        fix="Check the name server and the network to it with:"
        f" cat /etc/resolv.conf; getent ahosts {shlex.quote(dns.host)}",
        subject=dns.host,
    )


@rule(
    "dns.invalid-name",
    stage="dns.resolve",
    needs=DnsEvidence,
    reference="RFC 1123 section 2.1, RFC 5891",
    when=unresolved,
)
def invalid_name(case: Case, dns: DnsEvidence) -> Iterator[Fault]:
    """What is given as host is not a host name.

    Labels of letters, digits, hyphens and underscores with dots between them, at most 253
    characters, or an IP address: anything else cannot be looked up. Most often a whole URL, a
    port or a line break came along when it was copied.
    """
    if dns.error != "invalid-name":
        return
    given = dns.host if len(dns.host) <= _SHOWN else dns.host[:_SHOWN] + "…"
    yield Fault(
        message=f"{given!r} is not a host name: {dns.detail}.",
        cause="A host name or IP address is needed, and this is neither.",
        fix=f"Give the bare name, the port apart, as in: {_corrected(case, dns.host)}",
        subject=given,
    )


def _corrected(case: Case, host: str) -> str:
    """The command with the name that was probably meant, else with an example."""
    scheme, _, rest = host.strip().rpartition("://")
    if scheme not in ("mqtt", "mqtts"):
        scheme = case.target.transport.value
    bare, _, port = rest.partition("/")[0].rpartition("@")[2].partition(":")
    if not port.isdecimal():
        port = str(case.target.effective_port)
    try:
        name = ascii_name(bare.strip().strip("."))
    except InvalidName:
        name = "mqtt.thingsboard.cloud"
    return f"tbdiag check {scheme}://{name}:{port}"


def _decisive(tcp: TcpEvidence) -> TcpAttempt | None:
    """The attempt that says why no address answered; None when one did, or a proxy was asked."""
    if tcp.connected or tcp.via_proxy:
        return None
    ranked = {outcome: rank for rank, outcome in enumerate(_DECISIVE)}
    return min(tcp.attempts, key=lambda a: ranked.get(a.outcome, len(ranked)), default=None)


def _where(attempt: TcpAttempt) -> str:
    return f"{bracketed(attempt.address)}:{attempt.port}"


def _answering(tcp: TcpEvidence) -> set[int]:
    """The other usual ports that accepted a connection."""
    return {a.port for a in tcp.other_ports if a.outcome == "connected"}


def _listed(ports: set[int]) -> str:
    return " and ".join(str(port) for port in sorted(ports))


@rule(
    "tcp.refused",
    stage="tcp.connect",
    needs=TcpEvidence,
    reference="RFC 9293 section 3.5.2",
    when=unconnected,
)
def refused(case: Case, tcp: TcpEvidence) -> Iterator[Fault]:
    """The server refuses the connection: nothing listens on that port.

    The host is up and answered with RST. ThingsBoard listens on 8883 only with
    MQTT_SSL_ENABLED=true, which is not its default. When its certificate or key cannot be loaded
    the whole process ends, and 1883 is closed too. The Live Demo (demo.thingsboard.io) offers no
    MQTT over TLS at all.
    """
    attempt = _decisive(tcp)
    if attempt is None or attempt.outcome != "refused":
        return
    cause, fix = _refusal(case, tcp)
    yield Fault(
        message=f"{_where(attempt)} refused the connection ({attempt.detail}).",
        cause=cause,
        fix=fix,
        subject=_where(attempt),
    )


def _refusal(case: Case, tcp: TcpEvidence) -> tuple[str, str]:
    """Cause and fix of a refusal, by which other ports answer."""
    port, host, answering = case.target.effective_port, case.target.host, _answering(tcp)
    if host.lower().rstrip(".") == LIVE_DEMO and port == MQTTS:
        return (
            "The ThingsBoard Live Demo offers no MQTT over TLS: port 8883 is closed there.",
            "Use ThingsBoard Cloud (tbdiag check mqtts://mqtt.thingsboard.cloud), or accept that"
            f" the token travels in clear: tbdiag check mqtt://{LIVE_DEMO}",
        )
    if port == MQTTS and MQTT in answering:
        return (
            "MQTT over TLS is switched off on this server: 1883 (plain MQTT) listens, 8883 does"
            " not, and ThingsBoard's MQTT_SSL_ENABLED is false unless set.",
            "On the server set MQTT_SSL_ENABLED=true, MQTT_SSL_PEM_CERT and MQTT_SSL_PEM_KEY in"
            " /etc/thingsboard/conf/thingsboard.conf, then: sudo systemctl restart thingsboard",
        )
    if port == MQTT and MQTTS in answering:
        return (
            "The server offers MQTT only over TLS: 8883 listens, 1883 does not.",
            f"Use TLS: tbdiag check {shlex.quote(f'mqtts://{host}:{MQTTS}')}",
        )
    return _unusual_refusal(port, host, answering)


def _unusual_refusal(port: int, host: str, answering: set[int]) -> tuple[str, str]:
    mqtt_ports = answering & {MQTT, MQTTS}
    if mqtt_ports:
        usual = MQTTS if MQTTS in mqtt_ports else MQTT
        scheme = "mqtts" if usual == MQTTS else "mqtt"
        return (
            f"Nothing listens on port {port}; the server's MQTT ports are {_listed(mqtt_ports)}.",
            f"Use the right port: tbdiag check {shlex.quote(f'{scheme}://{host}:{usual}')}",
        )
    if answering:
        return (
            "The web interface answers on 443, but no MQTT listener runs: ThingsBoard's MQTT"
            " transport is not started, or its port is not forwarded to it.",
            "On the server look for the reason: grep -iE 'mqtt|ssl'"
            " /var/log/thingsboard/thingsboard.log | tail -50; ss -ltn",
        )
    return (
        f"The host is up, but nothing listens on port {port} or on the usual ports: ThingsBoard"
        " is not running there, as happens when its TLS certificate or key cannot be loaded.",
        "On the server see why it stopped: sudo systemctl status thingsboard;"
        " tail -100 /var/log/thingsboard/thingsboard.log",
    )


@rule(
    "tcp.timeout",
    stage="tcp.connect",
    needs=TcpEvidence,
    reference="RFC 9293 section 3.8.3",
    when=unconnected,
)
def tcp_timeout(case: Case, tcp: TcpEvidence) -> Iterator[Fault]:
    """The server does not answer the connection attempt.

    Not even a refusal came back. When another port of the same host answers, a firewall or
    security group on the way drops the packets to this port; when none does, the address is wrong,
    the host is down, or everything from here is dropped.
    """
    attempt = _decisive(tcp)
    if attempt is None or attempt.outcome != "timeout":
        return
    port, others = attempt.port, _answering(tcp)
    if others:
        cause = (
            f"A firewall on the way drops packets to port {port}: the host is up, it answers on"
            f" {_listed(others)}."
        )
        fix = f"Open TCP port {port} in the firewall or security group, then: "
    else:
        cause = f"Nothing at all came back from {attempt.address}: it is down or filtered."
        fix = "Check the address and the network to it, then: "
    yield Fault(
        message=f"{_where(attempt)} did not answer within {attempt.elapsed_ms / 1000:.1f} s.",
        cause=cause,
        fix=fix + f"nc -vz -w 5 {shlex.quote(case.target.host)} {port}",
        subject=_where(attempt),
    )


@rule(
    "tcp.unreachable",
    stage="tcp.connect",
    needs=TcpEvidence,
    when=unconnected,
)
def unreachable(case: Case, tcp: TcpEvidence) -> Iterator[Fault]:
    """There is no way to the server's address.

    This machine has no route to it, a router on the way reports it unreachable, or this machine's
    own firewall forbids the connection. A host name with only IPv6 addresses on a machine without
    IPv6 shows the same.
    """
    attempt = _decisive(tcp)
    if attempt is None or attempt.outcome in ("refused", "timeout"):
        return
    cause = f"This machine has no route to {attempt.address}, or a router on the way has none."
    fix = f"Check the route: ip route get {shlex.quote(attempt.address)}"
    if attempt.outcome == "forbidden":
        cause = "A firewall or sandbox on this machine forbids the connection."
        fix = "Look at its outgoing rules: sudo nft list ruleset"
    elif attempt.family == "IPv6" and attempt.detail.startswith(_LOCAL_ERRORS):
        cause = f"This machine has no IPv6 network, and {case.target.host} gave only IPv6 here."
        fix = "Use IPv4: tbdiag check -4 "
        fix += shlex.quote(f"{case.target.transport}://{case.target.address}")
    yield Fault(
        message=f"{_where(attempt)} cannot be reached ({attempt.detail}).",
        cause=cause,
        fix=fix,
        subject=_where(attempt),
    )


@rule(
    "tcp.address-unreachable",
    stage="tcp.connect",
    needs=TcpEvidence,
    severity=Severity.WARNING,
    reference="RFC 8305",
)
def address_unreachable(case: Case, tcp: TcpEvidence) -> Iterator[Fault]:
    """Some addresses of the host do not answer, others do.

    tbdiag tries all of them at once. mosquitto, paho and most devices try one after the other, and
    hang for as long as their time-out when the dead one comes first: they fail now and then. On
    loopback, and for IPv6 on a machine without IPv6, it is only worth knowing.
    """
    if tcp.connected is None or tcp.via_proxy:
        return
    for attempt in tcp.attempts:
        if attempt.outcome == "connected":
            continue
        how = attempt.detail
        if attempt.outcome in ("timeout", "pending"):
            how = f"no answer within {attempt.elapsed_ms:.0f} ms"
        yield Fault(
            message=f"{_where(attempt)} failed ({how}) while {tcp.connected} answered.",
            cause=f"{case.target.host} has several addresses, and this one serves no"
            f" port {attempt.port}.",
            fix=f"Remove {attempt.address} from the DNS records of {case.target.host}, or let the"
            f" server listen there; see them with: getent ahosts {shlex.quote(case.target.host)}",
            subject=_where(attempt),
            severity=Severity.INFO if _is_harmless(attempt) else None,
        )


def _is_harmless(attempt: TcpAttempt) -> bool:
    address = ipaddress.ip_address(attempt.address.partition("%")[0])
    return address.is_loopback or attempt.detail.startswith(_LOCAL_ERRORS)
