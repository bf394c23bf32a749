"""The questions asked on a terminal, through a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tbdiag.sandbox import open_scenario
from tbdiag.sandbox.profile import DEFAULT_TOKEN
from tbdiag.sandbox.stand import Stand

PATIENCE = 60
ON_ITS_TERMINAL = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("tbdiag", run_name="__main__", alter_sys=True)
"""


class Terminal:
    """A program on a pseudo-terminal: what it shows, and keys to press."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.shown = ""
        parent, child = pty.openpty()
        surroundings = {k: v for k, v in os.environ.items() if not k.startswith("TBDIAG_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_ITS_TERMINAL, "check", *arguments],
            stdin=child,
            stdout=subprocess.PIPE,
            stderr=child,
            env={**surroundings, "TERM": "xterm", **environment},
            start_new_session=True,
        )
        os.close(child)
        self.parent = parent

    def expect(self, text: str) -> None:
        """Wait until `text` is shown."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.parent], [], [], left)[0]:
                pytest.fail(f"{text!r} was not shown: {self.shown!r}")
            try:
                self.shown += os.read(self.parent, 4096).decode()
            except OSError:
                pytest.fail(f"{text!r} was not shown before the end: {self.shown!r}")

    def expect_reading(self) -> None:
        """Wait until the program reads from the terminal, where Linux tells (root only).

        A signal that arrives between the prompt and that read is seen by Python, and acted on only
        after the next key: nobody types so fast, but a test does.
        """
        state = Path(f"/proc/{self.process.pid}/wchan")
        deadline = time.monotonic() + PATIENCE
        while (
            os.geteuid() == 0
            and state.exists()
            and state.read_text() not in ("wait_woken", "n_tty_read")
        ):
            if time.monotonic() > deadline:
                pytest.fail(f"it does not read: {state.read_text()}")
            select.select([self.parent], [], [], 0.01)

    def type(self, keys: str) -> None:
        """Press these keys."""
        os.write(self.parent, keys.encode())

    def end(self) -> tuple[int, str]:
        """The exit code and what was printed on stdout, once it is done."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        while select.select([self.parent], [], [], 0)[0]:
            try:
                self.shown += os.read(self.parent, 4096).decode()
            except OSError:
                break
        return self.process.returncode, output.decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        os.close(self.parent)


@pytest.fixture
def terminal() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with open_scenario("healthy") as opened:
        yield opened


def started(terminals: list[Terminal], *arguments: str, **environment: str) -> Terminal:
    terminals.append(Terminal(*arguments, **environment))
    return terminals[-1]


def test_a_whole_conversation(stand: Stand, terminal: list[Terminal]) -> None:
    """Host, CA file and token lead to a green report; the token is never shown."""
    session = started(terminal, "-f", "json")
    session.expect("Host, host:port or preset")
    session.type(f"localhost:{stand.target.port}\n")
    session.expect("CA file")
    session.type(f"{stand.target.cafile[0]}\n")
    session.expect("Access token")
    session.type(f"{DEFAULT_TOKEN}\n")
    code, output = session.end()
    assert (code, json.loads(output)["verdict"]) == (0, "ok")
    assert DEFAULT_TOKEN not in session.shown + output


def test_wrong_answers_are_asked_again(stand: Stand, terminal: list[Terminal]) -> None:
    """A port that cannot be and a file that is not there do not end the conversation."""
    session = started(terminal, "--no-connect", "-f", "json")
    session.expect("Host, host:port or preset")
    session.type("localhost:99999\n")
    session.expect("a port is a number from 1 to 65535")
    session.type(f"localhost:{stand.target.port}\n")
    session.expect("CA file")
    session.type("absent.pem\n")
    session.expect("there is no file 'absent.pem'")
    session.type(f"{stand.target.cafile[0]}\n")
    session.expect("Access token")
    session.type("\n")
    assert session.end()[0] == 0


def test_flags_are_not_asked_for(stand: Stand, terminal: list[Terminal]) -> None:
    """--cafile and TBDIAG_TOKEN leave one question."""
    arguments = ("--cafile", stand.target.cafile[0], "--server-name", "localhost", "-f", "json")
    session = started(terminal, *arguments, TBDIAG_TOKEN=DEFAULT_TOKEN)
    session.expect("Host, host:port or preset")
    session.type(f"localhost:{stand.target.port}\n")
    code, output = session.end()
    assert (code, json.loads(output)["target"]["server_name"]) == (0, "localhost")
    assert "Access token" not in session.shown


@pytest.mark.parametrize("question", ["Host, host:port or preset", "CA file", "Access token"])
def test_ctrl_c_stops_at_every_question(question: str, terminal: list[Terminal]) -> None:
    """Exit code 130, one line, no traceback."""
    session = started(terminal)
    for asked in ("Host, host:port or preset", "CA file", "Access token"):
        session.expect(asked)
        if asked == question:
            break
        session.type("localhost:1\n" if asked.startswith("Host") else "public\n")
    session.expect_reading()
    session.type("\x03")
    assert session.end()[0] == 130
    assert "interrupted" in session.shown
    assert "Traceback" not in session.shown


def test_the_end_of_input_stops_too(terminal: list[Terminal]) -> None:
    """Ctrl-D is no answer."""
    session = started(terminal)
    session.expect("Host, host:port or preset")
    session.type("\x04")
    assert session.end()[0] == 130


def test_ctrl_c_during_the_diagnosis(terminal: list[Terminal]) -> None:
    """While stages wait for a silent server, Ctrl-C ends with 130 as well."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        session = started(terminal, address, "--cafile", "public", "--timeout", "60")
        session.expect("tls.handshake")
        session.type("\x03")
        assert session.end()[0] == 130
    assert "Traceback" not in session.shown


def test_without_a_terminal_nothing_is_asked() -> None:
    """In a pipeline the missing target is a usage error."""
    done = subprocess.run(
        [sys.executable, "-m", "tbdiag", "check"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "no target" in done.stderr
