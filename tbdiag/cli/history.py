"""`tbdiag history`: what changed on the watched targets, and when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tbdiag.cli.output import style
from tbdiag.cli.streams import put
from tbdiag.errors import UsageError

if TYPE_CHECKING:
    from tbdiag.fleet.history import Change, History


@click.command("history", context_settings={"help_option_names": ["--help"]})
@click.argument("target", required=False)
@click.option("--history", "path", type=click.Path(path_type=Path), help="The history file.")
@click.option("-n", "--limit", type=click.IntRange(1), default=200, help="Changes to show.")
@click.option("--accept", is_flag=True, help="TARGET's new issuer or root is wanted: stop warning.")
@click.option("-f", "--format", "format_id", type=click.Choice(["table", "json"]), default="table")
def history_command(
    target: str | None, path: Path | None, limit: int, accept: bool, format_id: str
) -> int:
    """Show every change of certificate, issuer, root and cause, of TARGET or of all targets."""
    from tbdiag.cli import say

    if accept and target is None:
        raise UsageError("--accept needs the TARGET whose change is wanted")
    history = _opened(path)
    if history is None:
        say("nothing has been remembered yet: tbdiag fleet and tbdiag exporter do that")
        changes: list[Change] = []
    else:
        changes = history.changes(target, limit)
        if accept and target is not None:
            _accept(history, target)
        elif target is not None and not changes:
            raise UsageError(_unknown(target, history))
        history.close()
    if format_id == "json":
        put(json.dumps([_document(change) for change in changes], indent=2) + "\n")
    elif changes:
        put(_table(changes) + "\n")
    return 0


def _opened(path: Path | None) -> History | None:
    from tbdiag.cli import say
    from tbdiag.fleet.history import FILE_NAME, History
    from tbdiag.fleet.state import state_folder

    if path is None:
        folder = state_folder()
        path = folder / FILE_NAME if folder else None
    return History(path, say) if path and path.exists() else None


def _accept(history: History, target: str) -> None:
    from tbdiag.cli import say

    if history.accept(target):
        say(f"what {target} presents at its next check is its new baseline")
    else:
        raise UsageError(_unknown(target, history))


def _unknown(target: str, history: History) -> str:
    import difflib

    near = difflib.get_close_matches(target, history.states(), 1)
    return f"nothing is known of {target!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _document(change: Change) -> dict[str, Any]:
    from tbdiag.report.document import rfc3339

    return {
        "target": change.target,
        "at": rfc3339(change.at),
        "what": change.what,
        "before": change.before,
        "after": change.after,
    }


def _table(changes: list[Change]) -> str:
    from tabulate import tabulate

    from tbdiag.report.escape import visible

    width = style()["width"]
    rows = [
        [f"{c.at:%Y-%m-%d %H:%M}", visible(c.target), c.what, visible(c.before), visible(c.after)]
        for c in changes
    ]
    share = max((width - 36) // 3, 12)
    text: str = tabulate(
        rows,
        headers=["When (UTC)", "Target", "What", "Before", "After"],
        disable_numparse=True,
        maxcolwidths=[None, share, None, share, share],
    )
    return text
