"""`tbdiag check`: from flags to a target and options, then the report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import click

from tbdiag.cli.output import (
    Progress,
    emit,
    finish,
    mask_on_github,
    parse_also,
    summarise_on_github,
)
from tbdiag.errors import UsageError
from tbdiag.fact import replace
from tbdiag.model import Options, Report, Target, bracketed
from tbdiag.report import FORMATS
from tbdiag.targets.address import check_host, check_port, is_ip_literal, parse_target, with_preset

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
        click.option("-q", "--qos", type=click.IntRange(0, 1), help="0 or 1 (default)."),
        click.option("--no-connect", is_flag=True, help="Stop before MQTT CONNECT."),
        click.option("--no-publish", is_flag=True, help="Connect, but publish nothing."),
        click.option("--round-trip", is_flag=True, help="Prove storage: write and read back."),
        click.option("--mqtt-version", type=click.Choice(["auto", "5", "3.1.1"])),
    ]
    return _apply(flags, command)


def _judgement_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    flags = [
        click.option("--at", help="Judge validity at this moment (2027-06-01 or RFC 3339)."),
        click.option("--timeout", type=float, help="Seconds for the whole run; default 30."),
        click.option(
            "--client",
            type=click.Choice(["openssl", "python", "mbedtls"]),
            help="The device TLS stack whose verdict decides; default openssl.",
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
        click.option("--also", multiple=True, metavar="FORMAT=FILE", help="Write this format too."),
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
@click.option("--baseline", metavar="FILE", help="Compare the server with this saved baseline.")
@click.option("--save-baseline", metavar="FILE", help="Save what the server presents today.")
@click.option(
    "--mosquitto",
    metavar="COMMAND",
    help="Diagnose a pasted mosquitto_pub, curl or coap-client command; - reads it from stdin.",
)
@click.option(
    "--gateway-config", metavar="FILE", help="Diagnose what a tb_gateway.json (or .yaml) says."
)
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
    (`tbdiag list presets`); https://, http://, coaps:// and coap:// check devices that speak those.
    The token is read from TBDIAG_TOKEN.
    """
    from tbdiag.pipeline import Interrupted, check
    from tbdiag.targets.limits import output_file

    output_file(given["output"])
    given["also"] = parse_also(given["also"], FORMATS, given["output"])
    progress = Progress()
    with ExitStack() as stack:
        target, asked = _find_target(given, stack)
        target = _with_flags(target, given, progress.notify)
        options = _options(given, asked)
        if given["format_id"] == "github":
            mask_on_github(target, options)
        # The sentence about the live device's session is noise where the server is our own.
        notify = None if given["sandbox"] else progress.notify
        try:
            report = check(target, options, observer=progress, notify=notify)
        except Interrupted as stopped:
            progress.clear()
            _emit(stopped.report, given)
            raise
        finally:
            progress.clear()
    if given["save_baseline"]:
        from tbdiag.baseline import save_baseline

        save_baseline(report, given["save_baseline"])
    _emit(report, given)
    return finish(report, given["format_id"], strict=given["strict"])


def _emit(report: Report, given: Given) -> None:
    look = {name: given[name] for name in ("verbose", "strict")}
    emit(report, given["format_id"], given["output"], **look)
    for format_id, path in given["also"]:
        emit(report, format_id, str(path), **look)
    if given["format_id"] == "github":
        summarise_on_github(report)


def _find_target(given: Given, stack: ExitStack) -> tuple[Target, dict[str, Any]]:
    """The target, and the fields of Options that come with it; flags are laid over both later."""
    sources = ("target", "host", "mosquitto", "gateway_config", "sandbox")
    used = [name for name in sources if given[name] is not None]
    if len(used) > 1:
        names = " and ".join(_flag(name) for name in used)
        raise UsageError(f"{names} are given: each names a target, use one")
    if not used:
        return _asked_target(given), {}
    if used[0] == "sandbox":
        return _sandbox_target(given["sandbox"], stack)
    if used[0] in ("target", "host"):
        return _named_target(given), {}
    return _described_target(given)


def _flag(name: str) -> str:
    return "TARGET" if name == "target" else f"--{name.replace('_', '-')}"


def _asked_target(given: Given) -> Target:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "no target: type tbdiag check HOST:PORT --cafile ca.pem, or --sandbox to see it work"
        )
    from tbdiag.cli.wizard import ask

    return ask(given)


def _described_target(given: Given) -> tuple[Target, dict[str, Any]]:
    """The target of a pasted command or of a gateway's configuration."""
    if given["mosquitto"] is not None:
        from tbdiag.targets.pasted import parse_pasted

        text = given["mosquitto"]
        if text == "-":
            text = sys.stdin.buffer.read(1 << 20).decode("utf-8", "replace")
        pasted = parse_pasted(text)
    else:
        from tbdiag.targets.gateway import parse_gateway_config

        pasted = parse_gateway_config(given["gateway_config"], os.environ)
    if given["port"] is None:
        return pasted.target, pasted.options
    port = check_port(given["port"], f"--port {given['port']}")
    return replace(pasted.target, port=port), pasted.options


def _named_target(given: Given) -> Target:
    encrypted = True if given["cafile"] else None
    if given["target"] is not None:
        target = parse_target(given["target"], encrypted=encrypted)
        return target if given["port"] is None else _with_port(target, given)
    host = given["host"].strip()
    host = host.strip("[]") if is_ip_literal(host.strip("[]")) else check_host(host, "--host")
    port = check_port(given["port"], f"--port {given['port']}")
    text = bracketed(host)
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


def _sandbox_target(scenario: str, stack: ExitStack) -> tuple[Target, dict[str, Any]]:
    from tbdiag.sandbox import open_scenario

    stand = stack.enter_context(open_scenario(scenario))
    return stand.target, dict(stand.options)


def _with_flags(target: Target, given: Given, warn: Callable[[str], None]) -> Target:
    """The target with what the flags and the environment say about credentials, CA and names."""
    from tbdiag.targets import limits
    from tbdiag.targets.resolve import credentials_from

    credentials = credentials_from(given, target.credentials, _environment(target), warn)
    for name in ("token", "username", "password", "client_id"):
        held = getattr(credentials, name) or ""
        limits.mqtt_string(held if isinstance(held, str) else held.reveal(), f"the {name}")
    changes: dict[str, Any] = {"credentials": credentials}
    if given["cafile"]:
        changes["cafile"] = given["cafile"]
    if given["server_name"] is not None:
        changes["server_name"] = check_host(given["server_name"], "--server-name")
    if given["http_url"] is not None:
        changes["http_url"] = limits.http_base(given["http_url"])
    return with_preset(replace(target, **changes))


def _environment(target: Target) -> Mapping[str, str]:
    """The environment, unless what described the target holds the credentials already."""
    held = target.credentials
    token = held.token.reveal() if held.token else ""
    resolved = token and not token.startswith(("$", "%", "`"))
    return {} if resolved or held.username or held.certfile else os.environ


def _options(given: Given, asked: Mapping[str, Any]) -> Options:
    """The defaults, then what came with the target, then the flags that were given."""
    from tbdiag.moment import parse_moment
    from tbdiag.targets import limits
    from tbdiag.targets.resolve import known_rules, payload_from

    converted: dict[str, Callable[[Any], Any]] = {
        "at": parse_moment,
        "timeout": limits.seconds,
        "family": str,
        "client": str,
        "topic": limits.publish_topic,
        "payload": payload_from,
        "qos": int,
        "mqtt_version": str,
        "warn_days": lambda value: limits.days(value, "--warn-days"),
        "critical_days": lambda value: limits.days(value, "--critical-days"),
    }
    chosen = dict(asked)
    chosen |= {n: convert(given[n]) for n, convert in converted.items() if given[n] is not None}
    switches = {"no_connect": "connect", "no_publish": "publish", "no_compare_web": "compare_web"}
    chosen |= {name: False for flag, name in switches.items() if given[flag]}
    chosen |= {name: True for name in ("insecure", "round_trip") if given[name]}
    if given["alpn"] or "alpn" in chosen:
        chosen["alpn"] = limits.alpn(given["alpn"] or chosen["alpn"])
    if given["proxy"] is not None or "proxy" in chosen:
        chosen["proxy"] = limits.proxy_url(given["proxy"] or chosen.get("proxy", ""))
    if given["baseline"]:
        from tbdiag.baseline import load_baseline

        known = {"baseline": load_baseline(given["baseline"])}
        chosen["extra"] = {**chosen.get("extra", {}), **known}
    if given["ignore"]:
        chosen["ignore"] = known_rules(given["ignore"])
    return Options(**chosen)
