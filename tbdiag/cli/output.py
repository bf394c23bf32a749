"""Where a result goes, and how the terminal there looks."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, TextIO

import click

from tbdiag.cli.streams import put
from tbdiag.errors import UsageError
from tbdiag.model import Options, Report, StageResult, Target


def style(stream: TextIO | None = None) -> dict[str, Any]:
    """Width, colour and character set of the terminal that `stream` (stdout) is."""
    stream = stream or sys.stdout
    terminal = stream.isatty()
    width = shutil.get_terminal_size((100, 24)).columns if terminal else _columns()
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    return {
        "width": max(40, min(width, 140)),
        "color": terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
        "unicode": encoding.startswith("utf"),
    }


def _columns() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) else 100


def emit(report: Report, format_id: str, output: str | None, **more: Any) -> None:
    """Render `report` to stdout, or atomically into the file `output`."""
    from tbdiag.report import render

    write(lambda **look: render(report, format_id, **look, **more), output, format_id)


def parse_also(
    texts: Iterable[str], formats: Collection[str], output: str | Path | None
) -> tuple[tuple[str, Path], ...]:
    """What `--also FORMAT=FILE` asks for; UsageError for an unknown format or an unusable file.

    Also where two results, that of `-o` among them, would go into the same file.
    """
    from tbdiag.targets.limits import output_file

    taken = {Path(str(output))} if output is not None else set()
    found: list[tuple[str, Path]] = []
    for text in texts:
        name, _, file = text.partition("=")
        if name not in formats or file in ("", "-"):
            raise UsageError(
                f"--also {text!r} is not FORMAT=FILE, with one of {', '.join(formats)}"
            )
        if Path(file) in taken:
            raise UsageError(f"--also {text!r}: another result goes into that file already")
        output_file(file)
        taken.add(Path(file))
        found.append((name, Path(file)))
    return tuple(found)


def finish(report: Report, format_id: str, *, strict: bool) -> int:
    """The exit code of a report in this format; Nagios has its own convention."""
    if format_id == "nagios":
        from tbdiag.report.as_nagios import nagios_code

        return nagios_code(report, strict)
    from tbdiag.pipeline import exit_code

    return exit_code(report.verdict, strict=strict)


def mask_on_github(target: Target, options: Options) -> None:
    """Have the GitHub runner mask this run's secrets, before anything else is printed.

    Only there: the command itself carries the secret, and the runner swallows it.
    """
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from tbdiag.redact import secrets_of
        from tbdiag.report.as_github import mask_commands

        click.echo(mask_commands(secrets_of(target, options)), nl=False)
        sys.stdout.flush()


def summarise_on_github(report: Report) -> None:
    """Append the Markdown report to the step's summary, where the runner names a file for it."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        from tbdiag.report.as_github import step_summary

        with contextlib.suppress(OSError), Path(path).open("a", encoding="utf-8") as file:
            file.write(step_summary(report))


def write(rendered: Any, output: str | None, format_id: str = "table") -> None:
    """Call `rendered(**style)` and put its text on stdout or atomically into the file `output`."""
    if output in (None, "-"):
        put(rendered(**style()), format_id)
        return
    from tbdiag.files import write_output

    text = rendered(width=100, color=False, unicode=True)
    write_output(Path(str(output)), text.encode())


class Progress:
    """A live line on stderr that says what is going on; nothing where stderr is not a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._running: list[str] = []

    def __call__(self, stage_id: str, result: StageResult | None) -> None:
        """A stage started (no result) or ended."""
        if result is None:
            self._running.append(stage_id)
        elif stage_id in self._running:
            self._running.remove(stage_id)
        if self._running:
            self.line(f"{', '.join(self._running)} …")

    def line(self, text: str) -> None:
        """Replace the live line by `text`, cut to the terminal's width."""
        if self._live:
            width = shutil.get_terminal_size((80, 24)).columns
            self._stream.write(f"\r\x1b[2K{text[: width - 1]}")
            self._stream.flush()

    def clear(self) -> None:
        """Take the live line away."""
        if self._live:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()

    def notify(self, text: str) -> None:
        """One sentence that stays on stderr, above the live line."""
        from tbdiag.cli import say

        self.clear()
        say(text)
