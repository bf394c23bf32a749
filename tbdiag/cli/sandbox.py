"""`tbdiag sandbox`: serve a scenario until Ctrl-C."""

from __future__ import annotations

import shlex
import shutil
import signal
import threading
from typing import Any

import click

from tbdiag.cli.explain import list_command

SANDBOX_GENERATIONS = ("3.4", "3.5.0", "3.5.1", "4.x")
SANDBOX_PROFILES = ("default", "custom-topic", "protobuf", "sparkplug", "coap")


@click.group("sandbox")
def sandbox_command() -> None:
    """A local ThingsBoard-like server with one fault."""


@sandbox_command.command("list")
@click.pass_context
def sandbox_list(ctx: click.Context) -> int:
    """List the scenarios."""
    code = ctx.invoke(list_command, kind="scenarios", format_id="table")
    return int(code or 0)


@sandbox_command.command("run")
@click.argument("scenario", default="healthy")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=0, help="0: any free port.")
@click.option("--profile", type=click.Choice(SANDBOX_PROFILES), default="default")
@click.option("--generation", type=click.Choice(SANDBOX_GENERATIONS), default="4.x")
@click.option("--cafile-copy", metavar="FILE", help="Copy the device's CA file to FILE.")
def sandbox_run(scenario: str, cafile_copy: str | None, **room: Any) -> int:
    """Serve SCENARIO (default: healthy) until Ctrl-C.

    Prints the host, the port, the token, the CA file, and the commands that diagnose it.
    """
    from tbdiag.errors import UsageError
    from tbdiag.sandbox import open_scenario

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        with open_scenario(scenario, **room) as stand:
            if cafile_copy:
                shutil.copyfile(stand.target.cafile[0], cafile_copy)
            click.echo(_described(scenario, stand), nl=False)
            stop.wait()
    except OSError as error:
        raise UsageError(f"the sandbox cannot start: {error.strerror or error}") from None
    click.echo("stopped", err=True)
    return 0


def _described(scenario: str, stand: Any) -> str:
    from tbdiag.sandbox import all_scenarios

    target = stand.target
    lines = [
        f"Scenario  {scenario}: {all_scenarios()[scenario].doc.splitlines()[0]}",
        f"Host      {target.host}",
        f"Port      {target.effective_port}  ({target.transport})",
    ]
    if target.transport.encrypted:
        lines.append(f"CA file   {', '.join(target.cafile)}")
    lines += _credentials(target.credentials)
    lines += [f"Proxy     {stand.options['proxy']}"] if stand.options.get("proxy") else []
    lines += ["", *(f"export {name}={shlex.quote(v)}" for name, v in stand.secrets.items())]
    lines += [stand.check_line, stand.device_line, "", "Ctrl-C stops it."]
    return "\n".join(lines) + "\n"


def _credentials(held: Any) -> list[str]:
    """What the device of this sandbox proves itself with, a line each."""
    named = (
        ("Token", held.token and held.token.reveal()),
        ("Client Id", held.client_id),
        ("Username", held.username),
        ("Password", held.password and held.password.reveal()),
        ("Cert", held.certfile),
        ("Key", held.keyfile),
    )
    return [f"{name:<9} {value}" for name, value in named if value]
