"""Heavy libraries are imported by one thread, one after the other, while the network is waited for.

Two threads that import libraries with circular imports at the same moment can hand each other half
a module: Python breaks the deadlock that way. So only this thread imports what a check declares,
and each stage waits for its own.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterable


class ImportAhead:
    """Imports `names` in order in a thread of its own, then calls `last`."""

    def __init__(self, names: Iterable[str], last: Callable[[], object]) -> None:
        self._imported = {name: threading.Event() for name in names}
        self._last = last
        threading.Thread(target=self._run, name="tbdiag imports", daemon=True).start()

    def wait(self, names: Iterable[str]) -> None:
        """Return once each of `names` was imported, or could not be: its user will hear of it."""
        for name in names:
            if name in self._imported:
                self._imported[name].wait()

    def _run(self) -> None:
        for name, imported in self._imported.items():
            with contextlib.suppress(Exception):
                importlib.import_module(name)
            imported.set()
        self._last()
