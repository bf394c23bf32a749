"""Judge ALPN: MQTT that shares a port, often 443, with other protocols."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tbdiag.context import Case
from tbdiag.evidence import HandshakeEvidence
from tbdiag.registry import Fault, rule
from tbdiag.rules._handshake import broken_off, fault_of


@rule(
    "tls.no-application-protocol",
    stage="tls.handshake",
    needs=HandshakeEvidence,
    reference="RFC 7301 section 3.2",
    when=broken_off,
)
def no_application_protocol(case: Case, tls: HandshakeEvidence) -> Iterator[Fault]:
    """The server knows none of the protocol names that ALPN offered.

    A listener that serves MQTT and HTTPS on one port, often 443, tells them apart by ALPN, and
    refuses a name that it does not know with the alert no_application_protocol. ThingsBoard itself
    has no ALPN: it is a proxy or load balancer in front that chooses. Repair: offer the name that
    it is configured for, usually `mqtt`.
    """
    if fault_of(tls) != "tls.no-application-protocol":
        return
    offered, where = case.options.alpn, case.target.address
    line = ["tbdiag", "check", f"{case.target.transport}://{where}"]
    if offered:
        names = " and ".join(repr(name) for name in offered)
        cause = f"The listener is configured for other names than {names}."
        fix = "Ask its operator for the name; without ALPN: "
    else:
        names, fix = "a ClientHello without ALPN", "Offer the name of MQTT there: "
        cause = "The listener chooses by ALPN, and this client offered no name."
        line += ["--alpn", "mqtt"]
    yield Fault(
        message=f"{where} refused {names} with the alert no_application_protocol (120).",
        cause=cause,
        fix=fix + shlex.join(line),
        subject=", ".join(offered),
    )
