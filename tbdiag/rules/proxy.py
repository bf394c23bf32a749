"""Judge the way through a proxy: whether it can be used, and whether it lets this device pass."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tbdiag.context import Case
from tbdiag.evidence import TcpEvidence
from tbdiag.model import bracketed
from tbdiag.registry import Fault, rule

LOGIN_WANTED = frozenset({401, 407, 0x100, 0x1FF})
"""HTTP statuses and SOCKS codes that are about the login (see `protocol.proxy`)."""
FORBIDDEN = frozenset({403, 405, 2})
CLOSED_THERE = 5
"""SOCKS: connection refused."""
NO_NAME = frozenset({400, 404, 8})
"""Bad request, not found, address type not supported: the proxy cannot use the name."""


def _curl(case: Case, tcp: TcpEvidence) -> str:
    """A curl command that asks the same proxy for the same tunnel."""
    proxy = (tcp.via_proxy or "").replace("socks5://", "socks5h://")
    words = ["curl", "-v", "-p", "-x", proxy, "-U", "USER:PASSWORD"]
    if case.options.proxy and "@" not in case.options.proxy:
        words = words[:-2]
    return shlex.join([*words, f"telnet://{case.target.address}"])


@rule(
    "tcp.proxy-refused",
    stage="tcp.connect",
    needs=TcpEvidence,
    reference="RFC 9110 section 9.3.6, RFC 1928 section 6",
)
def proxy_refused(case: Case, tcp: TcpEvidence) -> Iterator[Fault]:
    """The proxy does not open a connection to the server.

    It works and answered no. 407 is about the login, 403 about its rules: most proxies allow
    CONNECT to port 443 only, not to 8883. 502, 503 and 504, and the SOCKS replies 3, 4 and 5, say
    that it did not reach the server itself. Repair: by the code.
    """
    if tcp.proxy_outcome != "refused":
        return
    cause, fix = _refusal(case, tcp)
    yield Fault(
        message=f"The proxy {tcp.via_proxy} refused a tunnel to {case.target.address}:"
        f" {tcp.proxy_detail}.",
        cause=cause,
        fix=fix,
        subject=tcp.via_proxy or "",
    )


def _refusal(case: Case, tcp: TcpEvidence) -> tuple[str, str]:
    target, code = case.target, tcp.proxy_code or 0
    if code in LOGIN_WANTED:
        return _about_login(case, tcp)
    if code in FORBIDDEN:
        return (
            f"The proxy's rules do not allow a connection to port {target.effective_port}; many"
            " allow 443 only.",
            f"Have {target.address} allowed on the proxy, or let the server offer MQTT on 443 and"
            f" try: tbdiag check mqtts://{bracketed(target.host)}:443 --proxy {tcp.via_proxy}",
        )
    if code in NO_NAME:
        return (
            f"The proxy does not know what to do with the name {target.host}.",
            f"See that the host name is right, and try it there: {_curl(case, tcp)}",
        )
    if code == CLOSED_THERE:
        return (
            f"The proxy reached {target.host}, and nothing listens on port {target.effective_port}"
            " there.",
            f"See that host and port are those of the MQTT transport: {_curl(case, tcp)}",
        )
    return (
        f"The proxy itself cannot reach {target.address}: from where it stands the name does not"
        " resolve, the port is closed, or a firewall is in between.",
        f"Open the way from the proxy to {target.address}; see it with: {_curl(case, tcp)}",
    )


def _about_login(case: Case, tcp: TcpEvidence) -> tuple[str, str]:
    proxy, asked = tcp.via_proxy or "", tcp.proxy_detail.partition("it asks for ")[2]
    cause = "It wants a login, and none was given."
    if "@" in (case.options.proxy or ""):
        cause = "It does not take the user name and password that were given."
    if asked and "basic" not in asked.lower():
        cause = f"It wants a login by {asked.rstrip(')')}, and tbdiag knows only Basic."
        return cause, f"Have {case.target.address} allowed on the proxy without a login."
    return cause, (
        "Give user name and password as the proxy's administrator set them (special characters"
        f" percent-encoded): --proxy '{proxy.replace('://', '://USER:PASSWORD@')}'"
    )


@rule(
    "tcp.proxy-failed",
    stage="tcp.connect",
    needs=TcpEvidence,
    reference="RFC 9110 section 9.3.6, RFC 1928",
)
def proxy_failed(case: Case, tcp: TcpEvidence) -> Iterator[Fault]:
    """The proxy cannot be used: it is not reached, says nothing, or is none.

    Nothing is known about the server behind it. A wrong port and the wrong scheme (an HTTP proxy
    given as socks5://, or the opposite) look like a proxy that closes the connection or answers in
    another protocol.
    """
    if tcp.proxy_outcome in (None, "tunnel", "refused"):
        return
    cause, fix = _failure(case, tcp)
    yield Fault(
        message=f"The proxy {tcp.via_proxy} cannot be used: {tcp.proxy_detail}.",
        cause=cause,
        fix=fix,
        subject=tcp.via_proxy or "",
    )


def _failure(case: Case, tcp: TcpEvidence) -> tuple[str, str]:
    proxy = tcp.via_proxy or ""
    host, _, port = proxy.partition("://")[2].rpartition(":")
    if tcp.proxy_outcome == "unreachable":
        return (
            "Nothing answers at the address that --proxy names.",
            f"Correct --proxy, or see whether it runs: nc -vz -w 5 {shlex.quote(host)} {port}",
        )
    if tcp.proxy_outcome == "timeout":
        return (
            f"The proxy took the request and still waits for {case.target.address}, to which a"
            " firewall drops its packets, or it hangs itself.",
            f"Open the way from the proxy to {case.target.address}; see it with:"
            f" {_curl(case, tcp)}",
        )
    other = "socks5://" if proxy.startswith("http") else "http://"
    kind = "an HTTP" if proxy.startswith("http") else "a SOCKS5"
    return (
        f"What listens there is not {kind} proxy.",
        f"Correct --proxy: another port, or {other} in front of {host}:{port}.",
    )
