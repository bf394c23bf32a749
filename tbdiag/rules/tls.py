"""Judge the TLS handshake: what the server refused, or what it is instead of a TLS server."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterator

from tbdiag.context import Case
from tbdiag.evidence import HandshakeEvidence, VerifyEvidence
from tbdiag.model import Severity, Target, Transport, bracketed
from tbdiag.registry import Fault, rule
from tbdiag.rules._handshake import alert_of, broken_off, fault_of

LOG = "/var/log/thingsboard/thingsboard.log"
CONF = "/etc/thingsboard/conf/thingsboard.conf"
RESTART = "sudo systemctl restart thingsboard"
_SHOWN = 40


def _s_client(target: Target, tls: HandshakeEvidence, *more: str) -> str:
    """An openssl command that repeats the handshake."""
    name = ("-servername", tls.server_name) if tls.server_name else ("-noservername",)
    dtls = ("-dtls1_2",) if target.transport is Transport.COAPS else ()
    return shlex.join(["openssl", "s_client", *dtls, "-connect", target.address, *name, *more])


def _tbdiag(target: Target, scheme: str, port: int) -> str:
    return "tbdiag check " + shlex.quote(f"{scheme}://{bracketed(target.host)}:{port}")


breakage = functools.partial(rule, stage="tls.handshake", needs=HandshakeEvidence, when=broken_off)


@breakage("tls.plaintext-port")
def plaintext_port(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The port speaks plain MQTT, not TLS.

    A plain MQTT listener takes the ClientHello for a broken CONNECT and closes; ThingsBoard logs
    "Illegal BIT 2 or 1 in fixed header of CONNECT message". The proof is that it answers a plain
    CONNECT, which tbdiag sends without token or any credential. On 8883 it means that
    MQTT_SSL_ENABLED is not true, or not read from the file that was edited.
    """
    if fault_of(tls) != "tls.plaintext-port":
        return
    target = case.target
    if tls.outcome == "not-tls":
        seen = f"answered ClientHello with the MQTT bytes {tls.first_bytes[:8].hex(' ')}"
    else:
        seen = "closed on ClientHello and answered a plain MQTT CONNECT (sent without token)"
    yield Fault(
        message=f"{target.address} {seen}.",
        cause=f"Port {target.effective_port} is a plain MQTT listener: TLS is not switched on"
        " there.",
        fix=f"On the server set MQTT_SSL_ENABLED=true in {CONF} and make the key readable by its"
        f" user, then: {RESTART}. If the port is meant to be plain, and the token may travel in"
        f" clear: {_tbdiag(target, 'mqtt', target.effective_port)}",
        subject=target.address,
    )


@breakage("tls.not-tls", reference="RFC 8446 section 5")
def not_tls(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """Another protocol answers on this port.

    What came back is neither TLS nor MQTT: most often the web interface (HTTP, 8080 or 80) or SSH.
    MQTT over TLS is on 8883 unless configured otherwise.
    """
    if fault_of(tls) != "tls.not-tls":
        return
    target = case.target
    names = {"unknown": "a protocol that is neither TLS nor MQTT"}
    protocol = names.get(tls.speaks or "unknown", (tls.speaks or "").upper())
    yield Fault(
        message=f"{target.address} answered with {tls.first_bytes[:_SHOWN]!r}, which is not TLS.",
        cause=f"Port {target.effective_port} serves {protocol}, not {target.transport}.",
        fix=_right_port(target, tls),
        subject=target.address,
    )


def _right_port(target: Target, tls: HandshakeEvidence) -> str:
    usual = target.transport.default_port
    if target.transport is Transport.HTTPS and tls.speaks == "http":
        return (
            f"Use the port of https: {_tbdiag(target, 'https', usual)}. If the token may travel in"
            f" clear: {_tbdiag(target, 'http', target.effective_port)}"
        )
    if usual == target.effective_port:
        return f"On the server see which program has the port: sudo ss -lntup 'sport = :{usual}'"
    what = "MQTT over TLS" if target.transport is Transport.MQTTS else str(target.transport)
    return f"Use the port of {what}: {_tbdiag(target, target.transport, usual)}"


@breakage("tls.closed-in-handshake")
def closed_in_handshake(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The server closes the connection in the TLS handshake, without an alert.

    No TLS server is expected to. Before any byte it is a load balancer without a working server
    behind it, a service that is not TLS, or ThingsBoard refusing this address after too many
    failed logins (TB_TRANSPORT_IP_RATE_LIMITS_ENABLED). A close and a reset are the same fault.
    """
    if fault_of(tls) != "tls.closed-in-handshake":
        return
    if tls.outcome == "late-close":
        seen = "completed the handshake and closed at once"
        cause = "What stands behind the TLS listener closes the connection as soon as it is open."
    elif tls.bytes_received:
        seen = f"closed in the middle of the handshake ({tls.detail})"
        cause = "The server broke off its own handshake without saying why."
    elif tls.unprovoked == "closed":
        seen = "closes every connection from here at once, before anything is sent"
        cause = "What accepts connections on this port has no server behind it or blocks this"
        cause += " address."
    else:
        seen = "closed the connection on ClientHello, without an alert"
        cause = "What listens on this port speaks neither TLS nor plain MQTT."
    yield Fault(
        message=f"{case.target.address} {seen}.",
        cause=cause,
        fix="On the server look for the reason at this minute: "
        f"grep -iE 'ssl|handshake|blocked' {LOG} | tail -50",
        subject=case.target.address,
    )


@breakage("tcp.reset")
def tcp_reset(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The server resets every connection as soon as it is open.

    It accepts, then sends RST, also on a connection on which nothing was sent: a load balancer
    without a working server behind it, a firewall that resets, or ThingsBoard's HAProxy, which
    rejects an address with 50 or more connections.
    """
    if fault_of(tls) != "tcp.reset":
        return
    target = case.target
    yield Fault(
        message=f"{target.address} accepted the connection and reset it, before anything was sent.",
        cause="A load balancer or firewall before the server breaks every connection off.",
        fix="Check the load balancer's back ends and limits and the firewall, then: "
        f"nc -v {shlex.quote(target.host)} {target.effective_port}",
        subject=target.address,
    )


@breakage("tls.timeout")
def tls_timeout(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The TLS handshake does not finish in time.

    The connection was accepted, then too little came. Without a single byte the process behind the
    port hangs or waits for something else. With a part of the handshake, large packets are lost on
    the way (an MTU black hole, common over VPN and mobile networks), or the server is overloaded.
    """
    if fault_of(tls) != "tls.timeout":
        return
    if tls.bytes_received:
        cause = "The server began the handshake and stalled: its larger packets are lost, or it is"
        cause += " overloaded."
        fix = f"See whether large packets pass: ping -M do -s 1472 {shlex.quote(case.target.host)}"
    else:
        cause = "A process accepts connections on this port and does not answer TLS."
        fix = f"On the server see whether it hangs: tail -50 {LOG}; from here: "
        fix += _s_client(case.target, tls)
    yield Fault(
        message=f"{case.target.address} did not finish the handshake within"
        f" {tls.elapsed_ms / 1000:.1f} s ({tls.detail}).",
        cause=cause,
        fix=fix,
        subject=case.target.address,
    )


@breakage("tls.protocol-version", reference="RFC 8996, RFC 8446 section 6.2")
def protocol_version(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The server and this client have no TLS version in common.

    tbdiag offers TLS 1.2 and 1.3, as every current client does; TLS 1.0 and 1.1 are forbidden by
    RFC 8996 and switched off in Debian's OpenSSL and in Java. ThingsBoard on Java 17 speaks 1.2 and
    1.3 whatever MQTT_SSL_PROTOCOL says, so an old proxy stands before it, or a very old server.
    """
    if fault_of(tls) != "tls.protocol-version":
        return
    alert = alert_of(tls)
    seen = (
        f"refused with the alert {alert.name} ({alert.code})" if alert else "chose an old version"
    )
    if not alert and tls.version:
        seen = f"chose {tls.version}"
    yield Fault(
        message=f"{case.target.address} {seen}; TLSv1.2 and TLSv1.3 were offered.",
        cause="The server's TLS is limited to versions older than TLS 1.2.",
        fix="Enable TLS 1.2 or 1.3 on the server or the proxy before it, then: "
        + _s_client(case.target, tls, "-tls1_2"),
        subject=tls.version or "protocol_version",
    )


@breakage("tls.no-common-cipher", reference="RFC 8446 section 4.1.1")
def no_common_cipher(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The server and this client have no cipher suite, group or signature algorithm in common.

    The server answered ClientHello with handshake_failure before it showed a certificate, or wanted
    parameters weaker than OpenSSL's security level 2 allows. A server that loaded a certificate but
    no usable private key answers in the same way.
    """
    if fault_of(tls) != "tls.no-common-cipher":
        return
    alert = alert_of(tls)
    seen = f"offered what this client refuses: {tls.detail}"
    if alert:
        seen = f"refused ClientHello with the alert {alert.name} ({alert.code})"
    yield Fault(
        message=f"{case.target.address} {seen}.",
        cause="No cipher suite and key exchange that the server accepts is among those that a"
        " current OpenSSL client offers.",
        fix="Allow ECDHE with AES-GCM on the server and check that its private key is loaded; see"
        f" what it accepts with: {_s_client(case.target, tls, '-cipher', 'ALL:@SECLEVEL=0')}",
        subject=alert.name if alert else tls.detail,
    )


@breakage("tls.unrecognized-name", reference="RFC 6066 section 3")
def unrecognized_name(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The server does not serve the name in the server_name extension.

    A proxy chose by SNI and knows no such name. ThingsBoard Cloud's MQTT name cannot be
    white-labelled: devices connect to mqtt.thingsboard.cloud whatever the web address is.
    """
    if fault_of(tls) != "tls.unrecognized-name":
        return
    name = tls.server_name
    asked = f"the server_name {name}" if name else "a ClientHello without server_name"
    cause = f"The TLS proxy on this port has no certificate for {name}."
    if name is None:
        cause = "The TLS proxy on this port chooses by name, and an IP address sends none."
    yield Fault(
        message=f"{case.target.address} refused {asked} with the alert unrecognized_name (112).",
        cause=cause,
        fix="Use the host name that the server is configured for, or give it apart: "
        f"tbdiag check {shlex.quote(case.target.address)} --server-name NAME",
        subject=name or case.target.address,
    )


@breakage("tls.alert", reference="RFC 8446 section 6")
def alert_ended_it(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """An alert ended the TLS handshake.

    Either the server refused, for a reason that no more particular rule knows, or it sent something
    that this client's OpenSSL does not accept. The message names the alert and its number.
    """
    if fault_of(tls) != "tls.alert":
        return
    received, sent = alert_of(tls), alert_of(tls, "sent")
    alert = received or sent
    if received:
        message = f"{case.target.address} sent the alert {received.name} ({received.code})."
        cause = f"The server itself refused the handshake: {received.name}."
    else:
        name = f" with the alert {sent.name} ({sent.code})" if sent else ""
        message = f"This client broke off the handshake{name}: {tls.detail}."
        cause = f"What {case.target.address} sent is not acceptable TLS: {tls.detail}."
    yield Fault(
        message=message,
        cause=cause,
        fix=f"On the server look for the matching error: grep -iE 'ssl|handshake' {LOG} | tail -50;"
        f" and repeat it with: {_s_client(case.target, tls, '-msg')}",
        subject=alert.name if alert else tls.detail,
    )


@rule(
    "tls.verification-disabled",
    stage="tls.verify",
    needs=VerifyEvidence,
    severity=Severity.WARNING,
    reference="RFC 9325 section 3.6",
)
def verification_disabled(case: Case, verify: VerifyEvidence) -> Iterator[Fault]:
    """The server certificate is not required to be valid (--insecure).

    The token is sent to whoever answers, even when nothing proves that it is the server. It is for
    telling a certificate problem from everything else, never for a device.
    """
    if not verify.insecure:
        return
    decision = verify.deciding
    state = "is valid, so it is not needed" if verify.trusted else f"is not: {decision.reason}"
    yield Fault(
        message=f"--insecure: the certificate of {case.target.address} {state}.",
        cause="With --insecure a wrong certificate does not stop the token from being sent.",
        fix="Leave out --insecure and give the CA file: tbdiag check "
        f"{shlex.quote(case.target.address)} --cafile ca-root.pem",
        subject=case.target.address,
    )
