"""The shape of the package: which way imports go, and how long things may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tbdiag
from tbdiag import registry
from tbdiag.model import Transport

ROOT = Path(tbdiag.__file__).parent
LAYERS = [
    {"fact", "model", "errors", "evidence", "deadline", "turns", "__init__"},
    {"context", "importing", "registry"},
    {"protocol"},
    {"clients"},
    {"checks"},
    {"rules"},
    {
        "pipeline",
        "judgement",
        "report",
        "targets",
        "redact",
        "files",
        "moment",
        "baseline",
        "explanations",
    },
    {"offline", "recommend", "ca_commands"},
    {"fleet", "sandbox"},
    {"catalogue", "_generate"},
    {"cli", "__main__"},
]
"""Each layer imports from itself and from the layers before it."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
REPORT_MAY = {"fact", "model", "evidence", "errors", "registry", "report", "redact", "__init__"}
SOCKETS = {"socket", "ssl", "OpenSSL", "OpenSSL.SSL"}
FILES = sorted(ROOT.rglob("*.py"))


def part_of(path: Path) -> str:
    """The part of the package that a file belongs to: its folder, or its own name."""
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside its functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_parts(path: Path) -> set[str]:
    """The parts of tbdiag that a file imports from."""
    names = {name.split(".")[1] for name in imported(path) if name.startswith("tbdiag.")}
    return {name for name in names if name in LEVEL}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    """No module imports from a layer above its own."""
    if path.name == "__init__.py" and path.parent == ROOT:
        pytest.skip("the public API gathers names from every layer")
    level = LEVEL[part_of(path)]
    assert {name for name in own_parts(path) if LEVEL[name] > level} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "report").glob("*.py")), ids=lambda p: p.name)
def test_renderers_know_only_the_model(path: Path) -> None:
    """A renderer imports the model and its own shared words, nothing that observes or judges."""
    assert own_parts(path) <= REPORT_MAY


@pytest.mark.parametrize("part", ["rules"])
def test_rules_do_no_io(part: str) -> None:
    """A rule imports nothing that opens a socket, a file or a clock."""
    forbidden = SOCKETS | {"httpx", "paho", "time", "pathlib", "os", "subprocess"}
    for path in (ROOT / part).glob("*.py"):
        assert imported(path) & forbidden == set(), path.name


def test_only_transport_opens_sockets() -> None:
    """Only protocol/transport and protocol/tls, the checks and the sandbox import socket or TLS."""
    allowed = {
        "protocol/transport",
        "protocol/tls",
        "sandbox/",
        "errors.py",
        "checks/",
        "clients/",
        "fleet/",
    }
    for path in FILES:
        relative = str(path.relative_to(ROOT))
        if not any(relative.startswith(a) for a in allowed):
            assert imported(path) & {"socket", "OpenSSL.SSL", "OpenSSL"} == set(), relative


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_short(path: Path) -> None:
    """No file is over 400 lines and no function over sixty."""
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


@pytest.mark.parametrize("transport", [t.value for t in Transport])
def test_no_stage_needs_a_later_one(transport: str) -> None:
    """The pipeline's order is one in which the stages can run one after the other, as fleets do."""
    registry.load("checks")
    earlier: set[str] = set()
    present = {check.id for check in registry.ordered_checks(transport)}
    for check in registry.ordered_checks(transport):
        assert present.intersection(check.requires) <= earlier
        assert present.intersection(check.after) <= earlier
        earlier.add(check.id)
