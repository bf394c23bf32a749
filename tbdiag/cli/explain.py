"""`tbdiag explain` and `tbdiag list`: what the registry knows."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from tbdiag.cli.output import style
from tbdiag.cli.streams import put
from tbdiag.errors import UsageError

MAX_INPUT = 256 * 1024
"""Bytes kept of a log on standard input."""
NARROWEST = 20
"""Columns that the last column of a list needs to be readable."""
KINDS = ("checks", "rules", "formats", "presets", "scenarios")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("-f", "--format", "format_id", type=click.Choice(["table", "json"]), default="table")
def list_command(kind: str, format_id: str) -> int:
    """List checks, rules, formats, presets or scenarios."""
    from tbdiag.catalogue import entries

    rows = entries(kind)
    if format_id == "json":
        put(json.dumps(rows, indent=2) + "\n")
        return 0
    put(_listing(rows, style()["width"]))
    return 0


def _listing(rows: list[dict[str, Any]], width: int) -> str:
    """A table, or where it is wider than the terminal, every entry as lines of its own."""
    from tabulate import tabulate

    columns = list(rows[0])
    last = width - 2 * len(columns) - sum(_widest(rows, c) for c in columns[:-1])
    if last < NARROWEST:
        return "\n".join(_entry(row, width) for row in rows)
    table: str = tabulate(
        [[str(row[c]) for c in columns] for row in rows],
        headers=columns,
        disable_numparse=True,
        maxcolwidths=[None] * (len(columns) - 1) + [last],
    )
    return table + "\n"


def _entry(row: dict[str, Any], width: int) -> str:
    from tbdiag.report.text import wrap

    first, *rest = (str(value) for value in row.values())
    told = [wrap(value, width) for value in rest if value != "-"]
    return "\n".join([first, *told]) + "\n"


def _widest(rows: list[dict[str, Any]], column: str) -> int:
    return max(len(column), *(len(str(row[column])) for row in rows))


@click.command("explain", context_settings={"ignore_unknown_options": True})
@click.argument("text", nargs=-1, required=True)
def explain_command(text: tuple[str, ...]) -> int:
    """Explain a rule id, or an error text pasted from a device or server log.

    Quote the text; `-` alone reads it from standard input.
    """
    from tbdiag.catalogue import explain

    words = " ".join(text) if text != ("-",) else _standard_input()
    explained = explain(words, **style())
    if explained is None:
        raise UsageError(_unknown(words))
    put(explained)
    return 0


def _standard_input() -> str:
    """What is on stdin: of a long log, the last part is what counts."""
    data = b""
    while chunk := sys.stdin.buffer.read(1 << 20):
        data = (data + chunk)[-MAX_INPUT:]
    return data.decode("utf-8", "replace")


def _unknown(words: str) -> str:
    from tbdiag.catalogue import similar_ids

    if not words.strip():
        return "the text is empty: paste the error line of the device or server"
    similar = similar_ids(words) if len(words) < 60 else []
    if similar:
        return f"{words!r} is no rule: did you mean {' or '.join(similar)}?"
    return (
        f"nothing is known about that text ({len(words):,} characters): try only its error line, "
        "see tbdiag list rules, or run tbdiag check"
    )
