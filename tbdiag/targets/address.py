"""Parse what a person types as TARGET."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from tbdiag.errors import UsageError
from tbdiag.fact import replace
from tbdiag.model import Target, Transport
from tbdiag.targets.presets import PRESETS, preset_for_host

PLAIN_PORTS = {1883, 11883}
"""Ports that ThingsBoard serves plain MQTT on (11883: Edge beside a server on one host)."""


def parse_target(text: str, *, encrypted: bool | None = None) -> Target:
    """The target that `text` names: host, host:port, scheme://host[:port], or a preset's name.

    Without a scheme, port 1883 means plain MQTT and every other port MQTT over TLS, unless
    `encrypted` says otherwise (a CA file was given). A host that belongs to a preset gets its HTTP
    base. Raises UsageError that says what to type instead, without repeating what may be a secret.
    """
    text = text.strip()
    if text in PRESETS:
        return PRESETS[text]
    if not text.isprintable():
        raise UsageError("the target holds a line end or another control character: type it again")
    if "@" in text:
        raise UsageError(
            "the target holds credentials (an @): take them out of it and set TBDIAG_TOKEN, "
            "or use --token-file"
        )
    if "://" in text:
        return with_preset(_from_url(text))
    host, port = _host_and_port(text)
    plain = port in PLAIN_PORTS if encrypted is None else not encrypted
    transport = Transport.MQTT if plain else Transport.MQTTS
    return with_preset(Target(check_host(host), port, transport))


def with_preset(target: Target) -> Target:
    """`target` with the HTTP base, CA and notes of the preset that its host belongs to."""
    preset = preset_for_host(target.host)
    if preset is None or target.preset:
        return target
    notes = tuple(note for note in preset.notes if note not in target.notes)
    return replace(
        target,
        cafile=preset.cafile if target.cafile == ("auto",) else target.cafile,
        http_url=target.http_url or preset.http_url,
        preset=preset.preset,
        notes=target.notes + notes,
    )


def _from_url(text: str) -> Target:
    known = ", ".join(f"{t}://" for t in Transport)
    try:
        url = urlsplit(text)
        port = url.port
        host = url.hostname
    except ValueError as error:
        reason = "the port is no number from 1 to 65535" if "ort" in str(error) else str(error)
        raise UsageError(
            f"that URL is not a target: {reason}; type for example {_EXAMPLE}"
        ) from None
    if url.scheme not in {t.value for t in Transport}:
        raise UsageError(f"{url.scheme}:// is not a target: the scheme must be one of {known}")
    if not host:
        raise UsageError(f"{text!r} names no host; type for example {_EXAMPLE}")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise UsageError(
            f"the target has a path after {host!r}: it is only scheme, host and port, "
            "and the token goes into TBDIAG_TOKEN"
        )
    return Target(check_host(host), check_port(port, text), Transport(url.scheme))


_EXAMPLE = "mqtts://mqtt.thingsboard.cloud:8883"


def _host_and_port(text: str) -> tuple[str, int | None]:
    if not text:
        raise UsageError(f"the target is empty; type for example {_EXAMPLE}")
    if is_ip_literal(text):
        return text, None
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not is_ip_literal(host) or (rest and not rest.startswith(":")):
            raise UsageError(f"{text!r} is not an IPv6 target; type for example [2001:db8::1]:8883")
        return host, check_port(rest[1:] if rest else None, text)
    if "/" in text:
        raise UsageError(
            "the target has a path and no scheme: type host:port, or for example " + _EXAMPLE
        )
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, None
    if not host or ":" in host:
        raise UsageError(f"{text!r} is not a target; type host:port, or [IPv6]:port")
    return host, check_port(port, text)


def check_host(host: str, what: str = "the host") -> str:
    """`host` if it can be a host name or an IP address; UsageError says what it is instead."""
    if not host.strip(" .[]"):
        raise UsageError(f"{what} is empty; type for example {_EXAMPLE}")
    if "@" in host:
        raise UsageError(f"{what} holds an @: take the credentials out and set TBDIAG_TOKEN")
    if host.startswith(("<", "$", "%", "{")):
        raise UsageError(f"{what} {host!r} is a placeholder: put the real host name there")
    if any(c.isspace() or not c.isprintable() or c in "/\\<>\"'`,;|?#&=*(){}[]" for c in host):
        raise UsageError(
            f"{what} {host!r} cannot be a host: it holds a space or a sign that no name has"
        )
    if ":" in host and not is_ip_literal(host):
        raise UsageError(f"{what} {host!r} holds a colon: give the port with --port, or host:port")
    if host.startswith("-"):
        raise UsageError(f"{what} {host!r} begins with a dash: is a value missing before it?")
    return host


def is_ip_literal(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address (an IPv6 zone is allowed)."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def check_port(port: str | int | None, text: str) -> int | None:
    """`port` as a number from 1 to 65535, or None; UsageError names `text` otherwise."""
    if port is None:
        return None
    if str(port).isascii() and str(port).isdigit() and 1 <= int(port) <= 65535:
        return int(port)
    raise UsageError(f"{text!r} has the port {str(port)!r}: a port is a number from 1 to 65535")
