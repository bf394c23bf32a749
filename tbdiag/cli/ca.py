"""`tbdiag ca`: inspect, fetch, verify and recommend CA files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tbdiag.cli.output import emit, finish, write
from tbdiag.fact import replace
from tbdiag.model import CaReport, Options, Target
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

    write(rendered, output, given["format_id"])
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
    from tbdiag.ca_commands.fetch import fetch

    if target.startswith(("https://", "http://")):
        source: Any = target
    else:
        source = parse_target(target, encrypted=True)
        if http_url:
            source = replace(source, http_url=http_url)
    return _show(fetch(source, output, _options(given, proxy=proxy)), given)


@ca_command.command("recommend")
@click.argument("target")
@_judgement
@_FORMAT
@click.option("-o", "--output", help="The file to write.")
@click.option(
    "--as", "form", type=click.Choice(["pem", "der", "c", "esp-idf", "arduino"]), default="pem"
)
@click.option("--cafile", multiple=True, help="A CA file that may hold the right root already.")
@click.option("--server-name", help="Name the certificate must carry; default the host.")
@click.option("--http-url", help="HTTP base of the installation, for its CA download.")
@click.option("--proxy", help="http://host:port or socks5://host:port.")
@click.option("--client", type=CLIENTS, default="openssl", help="The device's TLS stack.")
@click.option("--aia", is_flag=True, help="Fetch absent issuers from where certificates say.")
@click.option("--timeout", type=float, default=30.0, help="Seconds for the whole run.")
def ca_recommend(target: str, output: str | None, form: str, aia: bool, **given: Any) -> int:
    """Which CA file a device needs for TARGET; proved with every client stack, then written.

    TARGET is host, host:port, mqtts://host[:port] or a preset's name. Nothing but a TLS handshake
    is sent: no token is needed.
    """
    from tbdiag.ca_commands.recommend import recommend_for
    from tbdiag.pipeline import exit_code
    from tbdiag.report.inspect import ca_json
    from tbdiag.report.recommendation import recommendation_text
    from tbdiag.targets import limits

    options = _options(
        given,
        proxy=given["proxy"],
        timeout=limits.seconds(given["timeout"]),
        client=given["client"],
    )
    report = recommend_for(_recommend_target(target, given), options, output, form, aia=aia)

    def rendered(**look: Any) -> str:
        return (
            ca_json(report) if given["format_id"] == "json" else recommendation_text(report, **look)
        )

    write(rendered, None, given["format_id"])
    return exit_code(report.verdict, strict=given["strict"])


def _recommend_target(text: str, given: dict[str, Any]) -> Target:
    from tbdiag.targets import limits

    changes: dict[str, Any] = {}
    if given["cafile"]:
        changes["cafile"] = given["cafile"]
    if given["server_name"]:
        changes["server_name"] = given["server_name"]
    if given["http_url"]:
        changes["http_url"] = limits.http_base(given["http_url"])
    return replace(parse_target(text, encrypted=True), **changes)


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

    report = verify_files(cafile, presented, server_name, options=_options(given, client=client))
    if given["format_id"] in ("table", "json"):
        return _show(as_ca_report(report), given, output)
    look = {name: given[name] for name in ("verbose", "strict")}
    emit(report, given["format_id"], output, **look)
    return finish(report, given["format_id"], strict=given["strict"])
