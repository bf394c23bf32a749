"""`tbdiag explain` and `tbdiag list`: what the registry knows."""

from __future__ import annotations

import json
from typing import Any

import click

from tbdiag.cli.output import style
from tbdiag.errors import UsageError

KINDS = ("checks", "rules", "formats", "presets", "scenarios")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("-f", "--format", "format_id", type=click.Choice(["table", "json"]), default="table")
def list_command(kind: str, format_id: str) -> int:
    """List checks, rules, formats, presets or scenarios."""
    from tbdiag.catalogue import entries

    rows = entries(kind)
    if format_id == "json":
        click.echo(json.dumps(rows, indent=2))
        return 0
    from tabulate import tabulate

    width = style()["width"]
    columns = list(rows[0])
    last = max(width - 2 * len(columns) - sum(_widest(rows, c) for c in columns[:-1]), 20)
    click.echo(
        tabulate(
            [[str(row[c]) for c in columns] for row in rows],
            headers=columns,
            disable_numparse=True,
            maxcolwidths=[None] * (len(columns) - 1) + [last],
        )
    )
    return 0


def _widest(rows: list[dict[str, Any]], column: str) -> int:
    return max(len(column), *(len(str(row[column])) for row in rows))


@click.command("explain")
@click.argument("text", nargs=-1, required=True)
def explain_command(text: tuple[str, ...]) -> int:
    """Explain a rule id, or an error text pasted from a device or server log."""
    from tbdiag.catalogue import explain

    words = " ".join(text)
    explained = explain(words, **style())
    if explained is None:
        raise UsageError(
            f"nothing known about {words[:200]!r}: see tbdiag list rules, or run tbdiag check"
        )
    click.echo(explained, nl=False)
    return 0
