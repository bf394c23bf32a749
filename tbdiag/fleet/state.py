"""Where tbdiag may remember things between runs: the user's state directory, if there is one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path


def state_folder(environment: Mapping[str, str] | None = None) -> Path | None:
    """`$STATE_DIRECTORY` (systemd), `$XDG_STATE_HOME/tbdiag` or `~/.local/state/tbdiag`.

    Created for this user alone. None where there is no home, or nothing can be written in it.
    """
    environment = os.environ if environment is None else environment
    for folder in _candidates(environment):
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    return None


def _candidates(environment: Mapping[str, str]) -> list[Path]:
    if environment.get("STATE_DIRECTORY"):
        return [Path(environment["STATE_DIRECTORY"].split(":")[0])]
    base, home = environment.get("XDG_STATE_HOME", ""), environment.get("HOME", "")
    if os.path.isabs(base):
        return [Path(base) / "tbdiag"]
    return [Path(home) / ".local" / "state" / "tbdiag"] if os.path.isabs(home) else []
