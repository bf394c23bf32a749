"""`tbdiag ca`: inspect, fetch, verify and recommend CA files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tbdiag.cli.output import emit, write
from tbdiag.model import CaReport, Options
from tbdiag.report import FORMATS
from tbdiag.targets.address import parse_target

CLIENTS = click.Choice(["openssl", "python", "mbedtls"])


@click.group("ca")
def ca_command() -> None:
    """Inspect, fetch, recommend and verify CA files."""


def _judgement(command: Callable[..., Any]) -> Callable[..., Any]:
    flags = [
        click.option("--at", help="Judge validity at this moment (2027-06-01 or RFC 3339)."),
        click.option("--warn-days", type=float, help="Warn when fewer days are left."),
        click.option("--critical-days", type=float, help="Fail when fewer days are left."),
        click.option("--strict", is_flag=True, help="Warnings fail too."),
        click.option("--ignore", multiple=True, metavar="RULE", help="Leave this rule out."),
        click.option("-v", "--verbose", is_flag=True, help="All details."),
    ]
    for flag in reversed(flags):
        command = flag(command)
    return command


_FORMAT = click.option(
    "-f", "--format", "format_id", type=click.Choice(["table", "json"]), default="table"
)


def _options(given: dict[str, Any], **more: Any) -> Options:
    from tbdiag.moment import parse_moment
    from tbdiag.targets.resolve import known_rules

    return Options(
        at=parse_moment(given["at"]) if given["at"] else None,
        warn_days=given["warn_days"],
        critical_days=given["critical_days"],
        ignore=known_rules(given["ignore"]),
        **more,
    )


def _show(report: CaReport, given: dict[str, Any], output: str | None = None) -> int:
    from tbdiag.pipeline import exit_code
    from tbdiag.report.inspect import ca_json, ca_table

    def rendered(**look: Any) -> str:
        if given["format_id"] == "json":
            return ca_json(report)
        return ca_table(report, verbose=given["verbose"], **look)

    write(rendered, output)
    return exit_code(report.verdict, strict=given["strict"])


@ca_command.command("inspect")
@click.argument("source")
@_judgement
@_FORMAT
@click.option("-o", "--output", help="Write the report into this file.")
def ca_inspect(source: str, output: str | None, **given: Any) -> int:
    """What is in a CA file: every certificate, the paths they form, what is wrong.

    SOURCE is a path, a URL, - for stdin, or public.
    """
    from tbdiag.ca_commands.inspect import inspect

    return _show(inspect(source, options=_options(given)), given, output)


@ca_command.command("fetch")
@click.argument("target")
@_judgement
@_FORMAT
@click.option("-o", "--output", help="The file to write; an old one stays on any failure.")
@click.option("--http-url", help="HTTP base of the installation; default https:// and the host.")
@click.option("--proxy", help="http://host:port for the download.")
def ca_fetch(
    target: str, output: str | None, http_url: str | None, proxy: str | None, **given: Any
) -> int:
    """Download the CA that the platform offers, prove it is one, and write it.

    TARGET is a host, a preset's name, or the URL of a CA file.
    """
    from dataclasses import replace

    from tbdiag.ca_commands.fetch import fetch

    if target.startswith(("https://", "http://")):
        source: Any = target
    else:
        source = parse_target(target, encrypted=True)
        if http_url:
            source = replace(source, http_url=http_url)
    return _show(fetch(source, output, _options(given, proxy=proxy)), given)


@ca_command.command("verify")
@click.option("--cafile", multiple=True, required=True, help="CA file; may be repeated.")
@click.option("--presented", required=True, help="PEM of what the server presents, its own first.")
@click.option("--server-name", required=True, help="Name that the certificate must carry.")
@click.option("--client", type=CLIENTS, default="openssl", help="Whose verdict decides.")
@_judgement
@click.option("-f", "--format", "format_id", type=click.Choice(FORMATS), default="table")
@click.option("-o", "--output", help="Write the report into this file.")
def ca_verify(
    cafile: tuple[str, ...],
    presented: str,
    server_name: str,
    client: str,
    output: str | None,
    **given: Any,
) -> int:
    """Offline: what each device TLS stack decides about a presented chain with this CA file."""
    from tbdiag.ca_commands.verify import as_ca_report
    from tbdiag.offline import verify_files
    from tbdiag.pipeline import exit_code

    report = verify_files(cafile, presented, server_name, options=_options(given, client=client))
    if given["format_id"] in ("table", "json"):
        return _show(as_ca_report(report), given, output)
    look = {name: given[name] for name in ("verbose", "strict")}
    emit(report, given["format_id"], output, **look)
    return exit_code(report.verdict, strict=given["strict"])
