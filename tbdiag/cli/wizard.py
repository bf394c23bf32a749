"""Ask for host, CA file and token, as ThingsBoard's own example script does."""

from __future__ import annotations

import os
from typing import Any

import click

from tbdiag.errors import UsageError
from tbdiag.fact import replace
from tbdiag.model import Secret, Target
from tbdiag.targets.address import parse_target


def ask(given: dict[str, Any]) -> Target:
    """The target that the person at the terminal describes; the token is not echoed.

    What the flags or the environment say already is not asked. A host or file that cannot be is
    asked again.
    """
    click.echo("No target given. A few questions (Ctrl-C to stop):", err=True)
    encrypted = True if given["cafile"] else None
    target: Target = click.prompt(
        "Host, host:port or preset",
        default="mqtt.thingsboard.cloud",
        value_proc=lambda text: _again(lambda: parse_target(text, encrypted=encrypted)),
        err=True,
    )
    if target.transport.encrypted and not given["cafile"]:
        default = target.cafile[0]
        source = click.prompt(
            "CA file (path, URL, auto or public)", default=default, value_proc=_source, err=True
        )
        target = replace(target, cafile=(source,))
    return target if _has_token(given) else _with_token(target)


def _has_token(given: dict[str, Any]) -> bool:
    flags = ("token", "token_file", "username", "cert")
    return any(given[name] for name in flags) or bool(os.environ.get("TBDIAG_TOKEN"))


def _with_token(target: Target) -> Target:
    token = click.prompt(
        "Access token (not shown; empty to stop before MQTT)",
        default="",
        hide_input=True,
        show_default=False,
        err=True,
    ).strip()
    if not token:
        return target
    held = replace(target.credentials, token=Secret(token), token_source="prompt")
    return replace(target, credentials=held)


def _again(parse: Any) -> Any:
    """Let click say what is wrong and ask again."""
    try:
        return parse()
    except UsageError as error:
        raise click.UsageError(str(error)) from None


def _source(text: str) -> str:
    text = text.strip()
    if text in ("auto", "public") or "://" in text or os.path.exists(text):
        return text
    raise click.UsageError(f"there is no file {text!r}: type its path, a URL, auto or public")
