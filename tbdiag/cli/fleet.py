"""`tbdiag fleet`: check many targets at once."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tbdiag.cli.output import Progress, parse_also, style
from tbdiag.cli.streams import fitting, put_all
from tbdiag.errors import UsageError
from tbdiag.fleet.formats import FORMATS, FleetReport
from tbdiag.model import Verdict

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from tbdiag.fleet.campaign import Campaign
    from tbdiag.fleet.config import Fleet
    from tbdiag.fleet.history import History
    from tbdiag.fleet.journal import Journal
    from tbdiag.fleet.work import Result, Settings

Given = dict[str, Any]
JOBS = 32
QUEUED = 64
"""Checks that wait for a free thread, so that none is idle while results are written down."""
PROGRESS_SECONDS = 0.1


@click.command("fleet", context_settings={"help_option_names": ["--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-j", "--jobs", type=click.IntRange(1, 5000), default=JOBS, help="Checks at once.")
@click.option("--only-tls", is_flag=True, help="Stop before MQTT: for expiry, without any token.")
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@click.option("--journal", type=click.Path(path_type=Path), help="Where a run can be resumed from.")
@click.option("--history", type=click.Path(path_type=Path), help="Where changes are remembered.")
@click.option("--no-history", is_flag=True, help="Remember nothing.")
@click.option("--dask", metavar="ADDRESS", help="Check on a Dask cluster: tcp://scheduler:8786.")
@click.option("--at", help="Judge validity at this moment (2027-06-01 or RFC 3339).")
@click.option("--timeout", type=click.FloatRange(0, 3600, min_open=True), help="Seconds a target.")
@click.option("--warn-days", type=float, help="Warn when fewer days are left.")
@click.option("--critical-days", type=float, help="Fail when fewer days are left.")
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("-f", "--format", "format_id", type=click.Choice(list(FORMATS)), default="table")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write into this file.")
@click.option("--also", multiple=True, metavar="FORMAT=FILE", help="Write this format too.")
@click.option("-v", "--verbose", is_flag=True, help="List every target, also those that are ok.")
def fleet_command(**given: Any) -> int:
    """Check every target of FILE (.toml, .yaml or .csv) at once.

    Tokens stand in FILE only as ${NAME} of an environment variable, or as the path of a file.
    """
    from tbdiag.fleet.config import load_fleet

    given["also"] = parse_also(given["also"], FORMATS, given["output"])
    fleet = load_fleet(given["file"])
    settings = _settings(given)
    if not settings.only_tls and not given["dask"]:
        require_secrets(fleet)
    with ExitStack() as stack:
        campaign = _campaign(fleet, settings, given, stack)
        started_at, started = datetime.now(UTC), time.monotonic()
        interrupted = _carry_out(campaign, given)
        report = FleetReport(
            results=lambda: campaign.journal.results(fleet.specs),
            summary=campaign.summary,
            started_at=started_at,
            duration_ms=round((time.monotonic() - started) * 1000, 3),
            expected=len(fleet.specs),
            strict=given["strict"],
            verbose=given["verbose"],
        )
        _put_out(report, given)
        campaign.journal.close(done=not interrupted)
    if interrupted:
        _say(f"interrupted: {_counted(campaign, fleet)}; --resume goes on")
        return 130
    return _exit_code(report, given["format_id"])


def _settings(given: Given) -> Settings:
    from tbdiag.fleet.work import Settings
    from tbdiag.moment import parse_moment

    return Settings(
        only_tls=given["only_tls"],
        inline=given["only_tls"],
        formats=(given["format_id"], *(name for name, _ in given["also"])),
        strict=given["strict"],
        at=parse_moment(given["at"]) if given["at"] else None,
        timeout=given["timeout"],
        warn_days=given["warn_days"],
        critical_days=given["critical_days"],
    )


def require_secrets(fleet: Fleet) -> None:
    """Say before the first check which environment variables are not set."""
    missing: dict[str, int] = {}
    for spec in fleet.specs:
        for reference in spec.references if spec.options.connect else ():
            if reference.kind == "environment" and not os.environ.get(reference.name, "").strip():
                missing.setdefault(reference.name, spec.line)
    if missing:
        shown = ", ".join(f"{name} (line {line})" for name, line in list(missing.items())[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise UsageError(
            f"{fleet.path}: environment variables that are not set: {shown}{more}; "
            "set them, or check without a token: --only-tls"
        )


def _campaign(fleet: Fleet, settings: Settings, given: Given, stack: ExitStack) -> Campaign:
    from tbdiag.fleet.campaign import Campaign

    journal = _journal(fleet, settings, given)
    stack.callback(journal.close, done=False)
    history = None if given["no_history"] else open_history(given["history"], _say)
    if history:
        stack.callback(history.close)
    return Campaign(fleet, settings, journal, history)


def _journal(fleet: Fleet, settings: Settings, given: Given) -> Journal:
    from tbdiag.fleet.journal import Journal, default_path

    path = given["journal"] or default_path(fleet.path, settings)
    try:
        return Journal(path, repr(settings), resume=given["resume"])
    except UsageError as error:
        if given["resume"] or given["journal"]:
            raise
        _say(f"{error}: this run cannot be resumed")
        return Journal(None, repr(settings))


def open_history(path: Path | None, say: Callable[[str], None]) -> History | None:
    """The history in `path`, else the user's own; None, and a word, where there can be none.

    Raises UsageError when a path was given and cannot be used.
    """
    from tbdiag.fleet.history import FILE_NAME, History
    from tbdiag.fleet.state import state_folder

    if path is not None:
        return History(path, say)
    folder = state_folder()
    if folder is None:
        say("no state directory to write to: nothing is remembered (--history FILE names one)")
        return None
    try:
        return History(folder / FILE_NAME, say)
    except UsageError as error:
        say(f"{error}: nothing is remembered")
        return None


def _carry_out(campaign: Campaign, given: Given) -> bool:
    """Run the checks; True when Ctrl-C ended them before all were done."""
    gc.set_threshold(2_000, 20, 20)  # the imports are over: garbage is to be reused soon
    at_once = given["format_id"] == "jsonl" and given["output"] is None
    bar = Bar(len(campaign.fleet.specs), campaign)
    try:
        for result in campaign.earlier():
            _stream(result, at_once)
        with executor_for(given, campaign.settings) as (executor, jobs):
            for result in campaign.results(executor, jobs):
                _stream(result, at_once)
                bar.update()
    except KeyboardInterrupt:
        return True
    finally:
        bar.clear()
    return False


def _stream(result: Result, at_once: bool) -> None:
    if at_once:
        from tbdiag.fleet.formats import document_line

        sys.stdout.write(fitting(document_line(result) + "\n", "jsonl"))
        sys.stdout.flush()


@contextlib.contextmanager
def executor_for(given: Given, settings: Settings) -> Iterator[tuple[Executor, int]]:
    """The executor of a run, and how many checks to hand it at once."""
    jobs = given["jobs"]
    if given["dask"]:
        from tbdiag.fleet.cluster import connected

        with connected(given["dask"]) as executor:
            yield executor, jobs
        return
    from tbdiag.fleet.loop import Loop
    from tbdiag.fleet.threads import DaemonThreads

    executor = Loop(jobs) if settings.inline else DaemonThreads(jobs)
    try:
        yield executor, jobs + QUEUED
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _put_out(report: FleetReport, given: Given) -> None:
    from tbdiag.fact import replace
    from tbdiag.files import write_output

    render, output = FORMATS[given["format_id"]], given["output"]
    files = list(given["also"])
    if output is not None:
        files.append((given["format_id"], output))
    elif given["format_id"] != "jsonl":
        put_all(render(replace(report, **style())), given["format_id"])
    for name, path in files:
        write_output(path, (text.encode() for text in FORMATS[name](report)))


def _exit_code(report: FleetReport, format_id: str) -> int:
    """0, 1 or 3 as in `tbdiag check`; of the Nagios format the plugin's 0 to 3."""
    from tbdiag.fleet.formats import nagios_code
    from tbdiag.pipeline import exit_code

    if format_id == "nagios":
        return nagios_code(report.summary, strict=report.strict)
    if report.summary.counts[Verdict.FAILED.value]:
        return 1
    return exit_code(report.summary.verdict, strict=report.strict)


def _counted(campaign: Campaign, fleet: Fleet) -> str:
    return f"{campaign.summary.total:,} of {len(fleet.specs):,} done, {campaign.summary.in_words()}"


def _say(text: str) -> None:
    from tbdiag.cli import say

    say(text)


class Bar:
    """The progress bar on stderr; nothing where stderr is not a terminal."""

    def __init__(self, total: int, campaign: Campaign) -> None:
        self._total = total
        self._campaign = campaign
        self._line = Progress()
        self._next = 0.0
        self._started = time.monotonic()

    def update(self) -> None:
        """Draw it anew, at most ten times a second."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PROGRESS_SECONDS
        done = self._campaign.summary.total
        filled = 20 * done // max(self._total, 1)
        rate = done / max(now - self._started, 0.001)
        self._line.line(
            f"[{'#' * filled}{'.' * (20 - filled)}] {done:,}/{self._total:,}  "
            f"{self._campaign.summary.in_words()}  {rate:,.0f}/s"
        )

    def clear(self) -> None:
        """Take it away."""
        self._line.clear()
