"""`tbdiag exporter`: watch a fleet for Prometheus and for people."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from tbdiag.errors import UsageError
from tbdiag.model import bracketed

LISTEN = "127.0.0.1:9883"
GRACE_SECONDS = 5


@click.command("exporter", context_settings={"help_option_names": ["--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--listen", default=LISTEN, show_default=True, metavar="ADDRESS:PORT")
@click.option(
    "--interval",
    type=click.FloatRange(1, 86400),
    default=300.0,
    show_default=True,
    help="Seconds between two checks of a target.",
)
@click.option("--only-tls", is_flag=True, help="Stop before MQTT: for expiry, without any token.")
@click.option("--timeout", type=click.FloatRange(0, 3600, min_open=True), help="Seconds a target.")
@click.option("--warn-days", type=float, help="Warn when fewer days are left.")
@click.option("--critical-days", type=float, help="Fail when fewer days are left.")
@click.option("--history", type=click.Path(path_type=Path), help="Where changes are remembered.")
@click.option("--no-history", is_flag=True, help="Remember nothing.")
def exporter_command(**given: Any) -> int:
    """Check every target of FILE again and again; serve metrics and a status page.

    /metrics for all targets, /probe?target=NAME for one, / for people, /-/healthy for supervisors.
    """
    try:
        from tbdiag.fleet.exporter import Exporter
    except ImportError as error:
        raise UsageError(
            f"tbdiag exporter needs {error.name}: pip install 'tbdiag[exporter]'"
        ) from None
    from tbdiag.cli import say
    from tbdiag.cli.fleet import open_history, require_secrets
    from tbdiag.fleet.config import load_fleet
    from tbdiag.fleet.listen import is_loopback, listening
    from tbdiag.fleet.watch import Watcher
    from tbdiag.fleet.work import Settings

    fleet = load_fleet(given["file"])
    if not given["only_tls"]:
        require_secrets(fleet)
    names = ("only_tls", "timeout", "warn_days", "critical_days")
    settings = Settings(**{name: given[name] for name in names})
    with ExitStack() as stack:
        listener = stack.enter_context(listening(given["listen"]))
        history = None if given["no_history"] else open_history(given["history"], say)
        if history:
            stack.callback(history.close)
        exporter = Exporter()
        watcher = Watcher(fleet, settings, given["interval"], history, exporter.seen)
        stack.enter_context(watcher)
        host, port = listener.getsockname()[:2]
        if not is_loopback(host):
            say("whoever can reach this address sees the targets and their state")
        say(f"{len(fleet.specs):,} targets, http://{bracketed(host)}:{port}/ (Ctrl-C stops it)")
        _serve(exporter.app(watcher), listener)
    say("stopped")
    return 0


def _serve(app: Any, listener: Any) -> None:
    """Answer until SIGTERM or Ctrl-C; requests under way are finished first."""
    import uvicorn

    class Server(uvicorn.Server):
        """Ends quietly on a signal instead of raising it again."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Both signals mean: stop."""
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self.handle_exit)
            yield

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=200,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    Server(config).run(sockets=[listener])
