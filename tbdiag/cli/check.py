"""`tbdiag check`: from flags to a target and options, then the report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import click

from tbdiag.cli.output import Progress, emit
from tbdiag.errors import UsageError
from tbdiag.model import Options, Target
from tbdiag.report import FORMATS
from tbdiag.targets.address import check_port, is_ip_literal, parse_target, with_preset

Given = dict[str, Any]


def _target_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    flags = [
        click.option("-h", "--host", help="Host name or IP address, as mosquitto_pub takes it."),
        click.option("-p", "--port", help="Port; default 8883, or 1883 for mqtt://."),
        click.option("-u", "--token", help="Access token. Better: TBDIAG_TOKEN or --token-file."),
        click.option("--token-file", help="File that holds the access token; - for stdin."),
        click.option("--username", help="MQTT Basic user name."),
        click.option("-P", "--password", help="MQTT Basic password. Better: TBDIAG_PASSWORD."),
        click.option("-i", "--client-id", help="MQTT Client Identifier; default random."),
        click.option(
            "--cafile",
            multiple=True,
            help="CA file: a path, a URL, - for stdin, auto (default) or public. May be repeated.",
        ),
        click.option("--cert", help="Client certificate (PEM) of an X.509 device."),
        click.option("--key", help="Private key (PEM) of the client certificate."),
        click.option("--server-name", help="Name the certificate must carry; default the host."),
        click.option("--http-url", help="HTTP base of the installation: proves the token there."),
        click.option("--proxy", help="http://host:port (CONNECT) or socks5://host:port."),
        click.option("--alpn", multiple=True, help="ALPN protocol to offer. May be repeated."),
        click.option("-4", "family", flag_value="4", help="IPv4 only."),
        click.option("-6", "family", flag_value="6", help="IPv6 only."),
    ]
    return _apply(flags, command)


def _message_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    flags = [
        click.option("-t", "--topic", help="Topic of the test message."),
        click.option("-m", "--payload", help="The test message; @FILE from a file, - from stdin."),
        click.option("-q", "--qos", type=click.IntRange(0, 1), default=1, help="0 or 1."),
        click.option("--no-connect", is_flag=True, help="Stop before MQTT CONNECT."),
        click.option("--no-publish", is_flag=True, help="Connect, but publish nothing."),
        click.option("--round-trip", is_flag=True, help="Prove storage: write and read back."),
        click.option("--mqtt-version", type=click.Choice(["auto", "5", "3.1.1"]), default="auto"),
    ]
    return _apply(flags, command)


def _judgement_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    flags = [
        click.option("--at", help="Judge validity at this moment (2027-06-01 or RFC 3339)."),
        click.option("--timeout", type=float, default=30.0, help="Seconds for the whole run."),
        click.option(
            "--client",
            type=click.Choice(["openssl", "python", "mbedtls"]),
            default="openssl",
            help="The device TLS stack whose verdict decides.",
        ),
        click.option("--warn-days", type=float, help="Warn when fewer days are left."),
        click.option("--critical-days", type=float, help="Fail when fewer days are left."),
        click.option("--insecure", is_flag=True, help="Go on although the server is not verified."),
        click.option("--strict", is_flag=True, help="Warnings fail too."),
        click.option("--ignore", multiple=True, metavar="RULE", help="Leave this rule out."),
        click.option(
            "--no-compare-web", is_flag=True, help="Never fetch port 443's certificate to compare."
        ),
        click.option("-f", "--format", "format_id", type=click.Choice(FORMATS), default="table"),
        click.option("-o", "--output", help="Write the report into this file."),
        click.option("-v", "--verbose", is_flag=True, help="Every client stack, all details."),
    ]
    return _apply(flags, command)


def _apply(flags: list[Any], command: Callable[..., Any]) -> Callable[..., Any]:
    for flag in reversed(flags):
        command = flag(command)
    return command


@click.command("check", context_settings={"help_option_names": ["--help"], "show_default": False})
@click.argument("target", required=False)
@_target_flags
@_message_flags
@_judgement_flags
@click.option(
    "--sandbox",
    is_flag=False,
    flag_value="healthy",
    metavar="[SCENARIO]",
    help="Diagnose a local sandbox started for this run.",
)
def check_command(**given: Any) -> int:
    """Diagnose one endpoint.

    TARGET is host, host:port, mqtts://host[:port], mqtt://host[:port] or a preset's name
    (`tbdiag list presets`). The token is read from TBDIAG_TOKEN.
    """
    from tbdiag.pipeline import check, exit_code

    progress = Progress()
    with ExitStack() as stack:
        target = _find_target(given, progress.notify, stack)
        options = _options(given)
        try:
            report = check(target, options, observer=progress, notify=progress.notify)
        finally:
            progress.clear()
    emit(
        report,
        given["format_id"],
        given["output"],
        verbose=given["verbose"],
        strict=given["strict"],
    )
    return exit_code(report.verdict, strict=given["strict"])


def _find_target(given: Given, warn: Callable[[str], None], stack: ExitStack) -> Target:
    if given["sandbox"]:
        target = _sandbox_target(given["sandbox"], given, stack)
    elif given["target"] or given["host"]:
        target = _named_target(given)
    elif sys.stdin.isatty() and sys.stderr.isatty():
        from tbdiag.cli.wizard import ask

        return ask(given)
    else:
        raise UsageError(
            "no target: type tbdiag check HOST:PORT --cafile ca.pem, or --sandbox to see it work"
        )
    return _with_flags(target, given, warn)


def _named_target(given: Given) -> Target:
    if given["target"] and given["host"]:
        raise UsageError(
            f"both TARGET {given['target']!r} and --host {given['host']!r} are given: use one"
        )
    encrypted = True if given["cafile"] else None
    if given["target"]:
        target = parse_target(given["target"], encrypted=encrypted)
        return target if given["port"] is None else _with_port(target, given)
    host = given["host"].strip("[]") if is_ip_literal(given["host"].strip("[]")) else given["host"]
    port = check_port(given["port"], f"--port {given['port']}")
    text = f"[{host}]" if ":" in host else host
    return parse_target(text if port is None else f"{text}:{port}", encrypted=encrypted)


def _with_port(target: Target, given: Given) -> Target:
    port = check_port(given["port"], f"--port {given['port']}")
    if target.port is not None and target.port != port and target.preset is None:
        raise UsageError(f"the target says port {target.port} and --port says {port}: use one")
    if "://" in given["target"]:
        return replace(target, port=port)
    encrypted = True if given["cafile"] else None
    moved = parse_target(f"{target.address.rpartition(':')[0]}:{port}", encrypted=encrypted)
    return replace(target, port=port, transport=moved.transport)


def _sandbox_target(scenario: str, given: Given, stack: ExitStack) -> Target:
    if given["target"] or given["host"]:
        raise UsageError("--sandbox starts its own server: leave the target out")
    from tbdiag.sandbox import open_scenario

    stand = stack.enter_context(open_scenario(scenario))
    for name, value in stand.options.items():
        if given.get(name) in (None, (), False):
            given[name] = value
    return stand.target


def _with_flags(target: Target, given: Given, warn: Callable[[str], None]) -> Target:
    from tbdiag.targets.resolve import credentials_from

    changes: dict[str, Any] = {
        "credentials": credentials_from(given, target.credentials, os.environ, warn)
    }
    if given["cafile"]:
        changes["cafile"] = given["cafile"]
    for name in ("server_name", "http_url"):
        if given[name]:
            changes[name] = given[name]
    return with_preset(replace(target, **changes))


def _options(given: Given) -> Options:
    from tbdiag.moment import parse_moment
    from tbdiag.targets.resolve import known_rules, payload_from

    if given["timeout"] <= 0:
        raise UsageError(f"--timeout {given['timeout']:g} must be more than 0 seconds")
    defaults = Options()
    return Options(
        at=parse_moment(given["at"]) if given["at"] else None,
        timeout=given["timeout"],
        connect=not given["no_connect"],
        publish=not given["no_publish"],
        mqtt_version=given["mqtt_version"],
        family=given["family"],
        insecure=given["insecure"],
        client=given["client"],
        topic=given["topic"] or defaults.topic,
        payload=payload_from(given["payload"]),
        qos=given["qos"],
        warn_days=given["warn_days"],
        critical_days=given["critical_days"],
        proxy=given["proxy"],
        alpn=tuple(given["alpn"]),
        round_trip=given["round_trip"],
        compare_web=not given["no_compare_web"],
        ignore=known_rules(given["ignore"]),
    )
