"""`tbdiag sandbox run` and `check --sandbox`: what is printed is what works, and no more."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tbdiag.cli import run
from tbdiag.sandbox import open_scenario


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """A `tbdiag sandbox run` in a process of its own; yields what it prints."""
    command = [sys.executable, "-m", "tbdiag", "sandbox", "run", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield "".join(iter(process.stdout.readline, "Ctrl-C stops it.\n"))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        process.stdout.close()
        process.stderr.close()


def exported(printed: str) -> dict[str, str]:
    """The environment that the printed `export` lines make."""
    lines = re.findall(r"^export (\w+)=(.*)$", printed, re.MULTILINE)
    return {**os.environ, **{name: shlex.split(value)[0] for name, value in lines}}


@pytest.mark.parametrize("scenario", ["x509-device", "mqtt-basic", "proxy", "server-name", "alpn"])
def test_the_printed_commands_work(scenario: str) -> None:
    """The check line is green and mosquitto_pub delivers, with any kind of credentials."""
    with serving(scenario) as printed:
        environment = exported(printed)
        (check,) = re.findall(r"^tbdiag (check .*)$", printed, re.MULTILINE)
        words = [sys.executable, "-m", "tbdiag", *shlex.split(check), "--no-compare-web"]
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (publish,) = re.findall(r"^mosquitto_pub .*$", printed, re.MULTILINE)
        if shutil.which("mosquitto_pub") and scenario not in ("proxy", "server-name"):
            said = subprocess.run(
                ["sh", "-c", publish], env=environment, capture_output=True, timeout=30, check=True
            )
            assert b"received PUBACK" in said.stdout


@pytest.mark.parametrize(
    ("generation", "code"), [("3.4", 5), ("3.5.0", 4), ("3.5.1", 5), ("4.x", 5)]
)
def test_the_generation_decides_the_return_code(generation: str, code: int) -> None:
    """`--generation` names how old the server is: 3.5.0 alone answers a wrong token with 4."""
    with serving("wrong-token", "--generation", generation) as printed:
        (check,) = re.findall(r"^tbdiag (check .*)$", printed, re.MULTILINE)
        words = [*shlex.split(check), "--mqtt-version", "3.1.1", "--no-compare-web"]
        done = subprocess.run(
            [sys.executable, "-m", "tbdiag", *words],
            env=exported(printed),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert f"CONNACK {code} " in done.stdout


def test_our_own_server_needs_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """`check --sandbox` says nothing of a live device's session; a real target does, once."""
    assert run(["check", "--sandbox"]) == 0
    assert capsys.readouterr().err == ""
    with open_scenario("mqtt-basic") as stand:
        words = [*shlex.split(stand.check_line)[1:], "--password", "a-password"]
        assert run([*words, "--no-compare-web"]) == 0
    assert capsys.readouterr().err.count("closes the device's own MQTT session") == 1
