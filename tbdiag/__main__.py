"""The console script: `--version` answers before anything heavy is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run tbdiag with the process's arguments and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        from tbdiag import __version__

        print(f"tbdiag {__version__}")
        return
    import gc

    from tbdiag.cli import run

    gc.set_threshold(50_000, 20, 20)  # imports make objects that stay: do not look through them
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
