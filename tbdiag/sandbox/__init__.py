"""Inject: a local ThingsBoard-like server with one fault.

A scenario is a decorated context manager in `tbdiag/sandbox/scenarios/`; it gets a `Room` and
yields a `Stand`: a healthy server with one thing wrong, and the target that a device would have.
"""

from __future__ import annotations

import contextlib
import difflib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tbdiag import registry
from tbdiag.errors import UsageError

if TYPE_CHECKING:
    from tbdiag.registry import Scenario
    from tbdiag.sandbox.stand import Stand


def all_scenarios() -> dict[str, Scenario]:
    """Every registered scenario by id, in the order they are written in."""
    registry.load("sandbox.scenarios")
    return registry.SCENARIOS


@contextlib.contextmanager
def open_scenario(scenario_id: str, **room: object) -> Iterator[Stand]:
    """Start a scenario's server; it stops, and its files vanish, when the block ends.

    `room` goes to `Room` (port, profile, generation, now). Raises UsageError for an unknown id.
    """
    from tbdiag.sandbox.stand import Room

    chosen = all_scenarios().get(scenario_id)
    if chosen is None:
        near = difflib.get_close_matches(scenario_id, all_scenarios(), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "see tbdiag list scenarios"
        raise UsageError(f"there is no scenario {scenario_id!r}: {hint}")
    with (
        tempfile.TemporaryDirectory(prefix="tbdiag-sandbox-") as folder,
        chosen.start(Room(Path(folder), **room)) as stand,  # type: ignore[arg-type]
    ):
        yield stand
