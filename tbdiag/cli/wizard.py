"""Ask for host, CA file and token, as ThingsBoard's own example script does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from tbdiag.model import Secret, Target
from tbdiag.targets.address import parse_target


def ask(given: dict[str, Any]) -> Target:
    """The target that the person at the terminal describes; the token is not echoed."""
    click.echo("No target given. Three questions (Ctrl-C to stop):", err=True)
    host = click.prompt("Host, host:port or preset", default="mqtt.thingsboard.cloud", err=True)
    target = parse_target(host, encrypted=True if given["cafile"] else None)
    if target.transport.encrypted and not given["cafile"]:
        cafile = click.prompt("CA file (path, URL, auto or public)", default="auto", err=True)
        target = replace(target, cafile=(cafile,))
    token = click.prompt(
        "Access token (not shown; empty to stop before MQTT)",
        default="",
        hide_input=True,
        show_default=False,
        err=True,
    )
    if token.strip():
        held = replace(target.credentials, token=Secret(token.strip()), token_source="prompt")
        target = replace(target, credentials=held)
    return target
