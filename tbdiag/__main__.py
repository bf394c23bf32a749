"""The console script: `--version` answers before anything heavy is imported."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run tbdiag with the process's arguments and leave with its exit code.

    The process ends at once: a stage that was abandoned at its deadline may still hang in a library
    call in its thread, and the interpreter's own way out would wait for it or trip over it.
    """
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:  # before there was anything to interrupt
        code = 130
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # closed by whoever started us
            continue
    os._exit(code)


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        from tbdiag import __version__

        return _say(f"tbdiag {__version__}\n")
    import gc
    import signal

    signal.signal(signal.SIGTERM, _terminate)
    from tbdiag.cli.streams import prepare

    prepare()
    from tbdiag.cli import run

    gc.set_threshold(50_000, 20, 20)  # imports make objects that stay: do not look through them
    return run(arguments)


def _say(text: str) -> int:
    try:
        os.write(1, text.encode())
    except OSError as error:
        os.write(2, f"tbdiag: cannot write the result: {error.strerror}\n".encode())
        return 2
    return 0


def _terminate(number: int, _frame: object) -> None:
    """SIGTERM: give everything back on the way out (temporary files, sockets, the terminal)."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
