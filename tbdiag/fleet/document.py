"""A fleet file as plain values, with the line that each of them stands on.

TOML, YAML and CSV give the same `Document`: defaults, entries, and lines for error messages.
"""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tbdiag.errors import UsageError
from tbdiag.fact import Fact, field
from tbdiag.targets.yaml_text import safe_loader

MAX_BYTES = 32 << 20
"""Octets of a fleet file that are read: enough for hundreds of thousands of targets."""
DEFAULTS = -1
"""The entry number under which the lines of the defaults are kept."""

Lines = dict[tuple[int, str], int]
"""(entry number or DEFAULTS, key) -> line from 1; the key "" is the entry itself."""


class Document(Fact, frozen=True):
    """What a fleet file says, not validated yet. Entries are dicts, or strings (a TARGET each)."""

    path: Path
    defaults: Any
    entries: Any
    unknown: tuple[str, ...] = ()
    """Keys at the top that mean nothing."""
    lines: Lines = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    """The header of a CSV file; then every value is text, and numbers have to be read from it."""

    def where(self, entry: int, key: str = "") -> str:
        """`file:line` of a key, else of its entry, else of the file."""
        line = self.lines.get((entry, key)) or self.lines.get((entry, ""))
        return f"{self.path}:{line}" if line else str(self.path)


def read_document(path: Path) -> Document:
    """Read a fleet file by its suffix: .toml, .yaml, .yml or .csv.

    Raises UsageError with file name and line when it cannot be read or is not of its format.
    """
    readers = {".toml": _toml, ".yaml": _yaml, ".yml": _yaml, ".csv": _csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{str(path)!r}: a fleet file ends in .toml, .yaml, .yml or .csv")
    try:
        return reader(path, _text(path))
    except RecursionError:
        raise UsageError(f"{path}: it is nested too deeply for a fleet file") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: it is longer than {MAX_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}:{line}: it is not UTF-8 text") from None


def _top(path: Path, raw: Any, lines: Lines) -> Document:
    if not isinstance(raw, dict) or "targets" not in raw:
        raise UsageError(f"{path}: it names no targets; see docs/monitoring.md for an example")
    unknown = tuple(str(key) for key in raw if key not in ("defaults", "targets"))
    return Document(path, raw.get("defaults") or {}, raw["targets"], unknown, lines)


def _toml(path: Path, text: str) -> Document:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        where = f"{path}:{found.group(1)}" if found else str(path)
        reason = re.sub(r" \(at .*\)$", "", str(error))
        raise UsageError(f"{where}: not TOML: {reason}") from None
    return _top(path, raw, _toml_lines(text))


_HEADER = re.compile(r"""\[(\[?)\s*["']?([\w-]+)["']?\s*\]""")
_KEY = re.compile(r"""["']?([\w-]+)["']?\s*=""")


def _toml_lines(text: str) -> Lines:
    """The lines of keys and table headers; tomllib keeps none."""
    lines: Lines = {}
    section: int | None = None
    count = -1
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if header := _HEADER.match(line):
            if header.group(2) == "targets" and header.group(1):
                count += 1
                section = count
            else:
                section = DEFAULTS if header.group(2) == "defaults" else None
            if section is not None:
                lines.setdefault((section, ""), number)
        elif (key := _KEY.match(line)) and section is not None:
            lines.setdefault((section, key.group(1)), number)
    return lines


def _yaml(path: Path, text: str) -> Document:
    try:
        import yaml
    except ImportError:
        raise UsageError(
            f"{path}: YAML needs PyYAML: pip install 'tbdiag[yaml]', or write the fleet as TOML"
        ) from None
    try:
        raw, node = _loaded(text)
        return _top(path, raw, dict(_yaml_lines(yaml, node)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise UsageError(f"{where}: not YAML: {reason}") from None
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise UsageError(f"{path}: not YAML that can be used: {error}") from None


def _loaded(text: str) -> tuple[Any, Any]:
    """The values, and the nodes that know their lines."""
    loader = safe_loader(text)
    try:
        node = loader.get_single_node()
        return (loader.construct_document(node) if node else None), node
    finally:
        loader.dispose()


def _yaml_lines(yaml: Any, root: Any) -> Iterator[tuple[tuple[int, str], int]]:
    for key, value in getattr(root, "value", ()) if isinstance(root, yaml.MappingNode) else ():
        if key.value == "defaults":
            yield from _yaml_entry(yaml, DEFAULTS, value)
        elif key.value == "targets" and isinstance(value, yaml.SequenceNode):
            for number, entry in enumerate(value.value):
                yield from _yaml_entry(yaml, number, entry)


def _yaml_entry(yaml: Any, number: int, node: Any) -> Iterator[tuple[tuple[int, str], int]]:
    yield (number, ""), node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, _ in node.value:
            if isinstance(key.value, str):
                yield (number, key.value), key.start_mark.line + 1


def _csv(path: Path, text: str) -> Document:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    entries: list[dict[str, str]] = []
    lines: Lines = {}
    header: list[str] = []
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = _csv_header(path, row, rows.line_num)
                continue
            if len(row) > len(header):
                cells = f"the row has {len(row)} cells, the header {len(header)}"
                raise UsageError(f"{path}:{rows.line_num}: {cells}")
            lines[len(entries), ""] = rows.line_num
            pairs = zip(header, row, strict=False)
            entries.append({key: cell.strip() for key, cell in pairs if cell.strip()})
    except csv.Error as error:
        raise UsageError(f"{path}:{rows.line_num}: not CSV: {error}") from None
    return Document(path, {}, entries, (), lines, tuple(header))


def _csv_header(path: Path, row: list[str], line: int) -> list[str]:
    header = [cell.strip() for cell in row]
    twice = next((key for key in header if header.count(key) > 1), None)
    if twice is not None:
        raise UsageError(f"{path}:{line}: the column {twice!r} is there twice")
    return header
