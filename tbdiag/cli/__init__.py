"""The command line: parse, call, render, exit code. Nothing else prints or exits."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

import click

from tbdiag import __version__
from tbdiag.cli.streams import forget_stdout
from tbdiag.errors import UsageError
from tbdiag.report.escape import visible

COMMANDS = {
    "check": ("check", "Diagnose one endpoint: every stage, the root cause, the repair."),
    "ca": ("ca", "Inspect, fetch, recommend and verify CA files."),
    "explain": ("explain", "Explain a rule id, or an error text from a device or server log."),
    "list": ("explain", "List checks, rules, formats, presets or scenarios."),
    "sandbox": ("sandbox", "A local ThingsBoard-like server with one fault."),
    "fleet": ("fleet", "Check many targets at once."),
    "exporter": ("exporter", "Prometheus exporter and status page."),
    "history": ("history", "What changed on the watched targets, and when."),
}
"""Command name -> (module, short help); a module is imported when its command runs."""


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands whose module exists, in the order of the table."""
        del ctx
        here = os.path.dirname(__file__)
        return [n for n, (m, _) in COMMANDS.items() if os.path.exists(f"{here}/{m}.py")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported; None for an unknown name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"tbdiag.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command list of `--help`, from the table: no module is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(n, COMMANDS[n][1]) for n in self.list_commands(ctx)])


@click.group(cls=LazyGroup, invoke_without_command=True, no_args_is_help=False)
@click.version_option(__version__, message="tbdiag %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Why a device cannot talk to ThingsBoard, in one sentence, with the repair.

    Start with: tbdiag check HOST:PORT --cafile ca.pem (the token in TBDIAG_TOKEN).
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code (0, 1, 2, 3, 130 or 141) and never raises."""
    try:
        with _reconfigured_output():
            code = main.main(args=list(arguments), prog_name="tbdiag", standalone_mode=False)
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        return 130
    except BrokenPipeError:
        forget_stdout()
        return 128 + signal.SIGPIPE
    except (UsageError, click.ClickException) as error:
        return _usage(error, arguments)
    except OSError as error:
        forget_stdout()
        say(f"cannot write the result: {error.strerror or error}")
        return 2
    except Exception as error:  # noqa: BLE001 - the last net: exit 3, one sentence, no traceback
        return _failed(error, arguments)


def _usage(error: UsageError | click.ClickException, arguments: Sequence[str]) -> int:
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    text = _without_secrets(text, arguments)
    if _wants(arguments, "nagios"):
        return _unknown(text)
    say(text)
    return 2


def _unknown(text: str) -> int:
    from tbdiag.report.as_nagios import nagios_unknown

    click.echo(nagios_unknown(text), nl=False)
    return 3


def _failed(error: Exception, arguments: Sequence[str]) -> int:
    """An error of ours can quote anything: what was given as a secret is taken out of it."""
    text = f"tbdiag itself failed: {type(error).__name__}: {error}"
    text = _without_secrets(text, arguments)
    if _wants(arguments, "nagios"):
        return _unknown(text)
    say(text)
    if os.environ.get("TBDIAG_DEBUG"):
        import traceback

        trace = "".join(traceback.format_exception(error))
        click.echo(_without_secrets(trace, arguments), err=True, nl=False)
    else:
        say("set TBDIAG_DEBUG=1 and run it again to see where; please report it")
    return 3


def _without_secrets(text: str, arguments: Sequence[str]) -> str:
    from tbdiag.redact import given_secrets, masking

    mask = masking(given_secrets(arguments, os.environ))
    return mask(text) if mask else text


def _wants(arguments: Sequence[str], format_id: str) -> bool:
    joined = " ".join(arguments)
    return any(form in joined for form in (f"-f {format_id}", f"-f{format_id}", f"={format_id}"))


def say(text: str) -> None:
    """One line on stderr, free of control characters."""
    with contextlib.suppress(OSError, AttributeError):  # closed, or there is none
        sys.stderr.write(f"tbdiag: {visible(text)}\n")
        sys.stderr.flush()


@contextlib.contextmanager
def _reconfigured_output():  # type: ignore[no-untyped-def]
    """Text that the locale cannot encode becomes an escape, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    yield
