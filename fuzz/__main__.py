"""`python -m fuzz [TARGET …]`: each target for FUZZ_SECONDS (60), by atheris or by hypothesis.

Coverage-guided by atheris where it is installed, else hypothesis makes up the inputs. An input that
fails is kept in fuzz/found/ and named on stderr; the exit code is 1 then. To run it again:
python -m fuzz TARGET FILE.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fuzz.targets import SECONDS, TARGETS, Target

FOUND = Path(__file__).parent / "found"
CHILD = "--in-this-process"


def main(arguments: list[str]) -> int:
    """Fuzz the targets named, or all; 1 when any input failed, 2 for an unknown name."""
    if arguments[:1] == [CHILD]:
        _with_atheris(TARGETS[arguments[1]], arguments[2:])
        return 0
    if len(arguments) == 2 and arguments[0] in TARGETS and arguments[1] not in TARGETS:
        TARGETS[arguments[0]].run(Path(arguments[1]).read_bytes())
        return 0
    unknown = [name for name in arguments if name not in TARGETS]
    if unknown:
        _say(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
        return 2
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    guided = importlib.util.find_spec("atheris") is not None
    run = _guided if guided else _random
    _say(f"{'atheris' if guided else 'hypothesis (atheris is not installed)'}, {seconds} s each")
    results = [run(TARGETS[name], seconds) for name in arguments or TARGETS]
    return 0 if all(results) else 1


def _guided(target: Target, seconds: int) -> bool:
    """Let libFuzzer run the target in a process of its own, since it ends the process."""
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds()):
            (Path(folder) / str(number)).write_bytes(seed)
        words = Path(folder) / "words.dict"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words if word))
        options = (
            f"-max_total_time={seconds}",
            f"-timeout={SECONDS:.0f}",
            "-max_len=16384",
            "-rss_limit_mb=2048",
            f"-artifact_prefix={FOUND}/{target.name}-",
            *([f"-dict={words}"] if target.words else []),
        )
        command = [sys.executable, "-m", "fuzz", CHILD, target.name, *options, folder]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    _say(f"{target.name}: {_summary(done.stderr)} in {time.monotonic() - started:.0f} s")
    if done.returncode:
        _say(done.stdout[-4000:] + done.stderr[-4000:])
    return done.returncode == 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word)


def _summary(log: str) -> str:
    lines = [line for line in log.splitlines() if line.startswith(("Done", "#", "=="))]
    return lines[-1].strip() if lines else "no output"


def _with_atheris(target: Target, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["tbdiag"]):
        target.run(target.seeds()[0])  # what it imports is what is watched
    atheris.Setup([sys.argv[0], *options], target.run)
    atheris.Fuzz()


def _random(target: Target, seconds: int) -> bool:
    """Let hypothesis make up inputs until the time is over."""
    from hypothesis import HealthCheck, given, settings

    from fuzz.inputs import inputs

    limit = time.monotonic() + seconds
    counted = [0]

    @settings(max_examples=2000, deadline=None, database=None, suppress_health_check=HealthCheck)
    @given(inputs(target))
    def once(data: bytes) -> None:
        if time.monotonic() < limit:
            counted[0] += 1
            _checked(target, data)

    try:
        while time.monotonic() < limit:
            once()
    except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
        _say(traceback.format_exc())
        return False
    finally:
        _say(f"{target.name}: {counted[0]:,} inputs")
    return True


def _checked(target: Target, data: bytes) -> None:
    started = time.monotonic()
    try:
        target.run(data)
        assert time.monotonic() - started < SECONDS, "it took too long"
    except BaseException:
        FOUND.mkdir(exist_ok=True)
        name = f"{target.name}-{hashlib.sha256(data).hexdigest()[:16]}"
        (FOUND / name).write_bytes(data)
        raise


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
