"""The console script: `--version` answers before anything heavy is imported."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run tbdiag with the process's arguments and leave with its exit code.

    The process ends at once: a stage that was abandoned at its deadline may still hang in a library
    call in its thread, and the interpreter's own way out would wait for it or trip over it.
    """
    if sys.argv[1:] == ["--version"]:
        from tbdiag import __version__

        print(f"tbdiag {__version__}")
        return
    import gc

    from tbdiag.cli import run

    gc.set_threshold(50_000, 20, 20)  # imports make objects that stay: do not look through them
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # closed by whoever started us
            continue
    os._exit(code)


if __name__ == "__main__":
    main()
