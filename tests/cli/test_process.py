"""tbdiag as a process: signals, streams that are closed or full, bare environments, line ends."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from tbdiag.fleet.config import load_fleet
from tbdiag.sandbox.authority import Authority
from tests.conformance.issuing import leaf, root
from tests.conformance.registry import HOST, NOW

PROGRAM = (sys.executable, "-m", "tbdiag")
HEALTHY = ("check", "--sandbox", "healthy")
EXPIRED = ("check", "--sandbox", "expired")
LIMIT = 60
TRACES = re.compile(r"Traceback|Error:|Exception ignored")


def surroundings(**changes: str | None) -> dict[str, str]:
    """This environment without what decides about output, with these changes (None: unset)."""
    mine = ("TBDIAG_", "LC_", "LANG", "PYTHON", "GITHUB_", "XDG_", "COLUMNS")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(mine)}
    kept |= {name: value for name, value in changes.items() if value is not None}
    return {k: v for k, v in kept.items() if changes.get(k, "") is not None}


def tbdiag(*arguments: str, **environment: str | None) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end with pipes on stdout and stderr."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=surroundings(**environment),
        timeout=LIMIT,
        check=False,
    )


def through_a_shell(redirections: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run it with a shell's redirections, such as `>&-`."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirections}', "sh", *PROGRAM, *arguments],
        capture_output=True,
        env=surroundings(),
        timeout=LIMIT,
        check=False,
    )


def quiet(done: subprocess.CompletedProcess[bytes]) -> str:
    """What was said on stderr, which is no traceback."""
    said = done.stderr.decode()
    assert not TRACES.search(said), said
    return said


@contextmanager
def held_up(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """tbdiag while it waits in its TLS handshake for a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(LIMIT)
        target = f"127.0.0.1:{mute.getsockname()[1]}"
        process = subprocess.Popen(
            [*PROGRAM, "check", target, "--cafile", "public", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=surroundings(**environment),
        )
        connection, _ = mute.accept()
        with connection, process:
            connection.settimeout(LIMIT)
            assert connection.recv(1) == b"\x16", "that is no ClientHello"
            try:
                yield process
            finally:
                process.kill()


def test_ctrl_c_shows_what_is_done_and_exits_130() -> None:
    """SIGINT in a handshake: at once a report with the stages before it, the rest is blocked."""
    with held_up("-f", "json", "--timeout", "50") as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    stages = {stage["id"]: stage for stage in json.loads(out)["stages"]}
    assert process.returncode == 130
    assert stages["tcp.connect"]["status"] == "ok"
    assert (stages["mqtt.connect"]["status"], stages["mqtt.connect"]["reason"]) == (
        "blocked",
        "interrupted",
    )
    assert b"Traceback" not in err
    assert b"tbdiag: interrupted" in err


def test_sigterm_ends_with_143_and_nothing_is_left() -> None:
    """SIGTERM in a handshake ends the process with the shell's number for it, without a word."""
    with held_up("--timeout", "50") as process:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (143, b"", b"")


def test_sigterm_removes_the_sandbox(tmp_path: Path) -> None:
    """A run that is terminated takes its temporary files away."""
    process = subprocess.Popen(
        [*PROGRAM, "check", "--sandbox", "silent", "-f", "github", "--timeout", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=surroundings(TMPDIR=str(tmp_path), GITHUB_ACTIONS="true"),
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"::add-mask::")
        assert list(tmp_path.iterdir()) != []
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 143
    assert b"Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code"), [(HEALTHY, 0), ((*EXPIRED, "-f", "html"), 1), (("list", "rules"), 0)]
)
def test_a_reader_that_leaves_changes_no_verdict(arguments: tuple[str, ...], code: int) -> None:
    """Piped to `head`: no traceback, no message, and a failed diagnosis does not become a 0."""
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=surroundings(),
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(LIMIT) == code


@pytest.mark.parametrize(
    ("redirections", "reason"),
    [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")],
)
@pytest.mark.parametrize("arguments", [HEALTHY, ("list", "rules"), ("--version",)])
def test_a_result_that_cannot_be_written_is_one_sentence(
    redirections: str, reason: str, arguments: tuple[str, ...]
) -> None:
    """stdout closed or on a full disk: exit 2, and one line that says so."""
    done = through_a_shell(redirections, *arguments)
    assert done.returncode == 2
    assert quiet(done) == f"tbdiag: cannot write the result: {reason}\n"


def test_an_output_file_on_a_full_disk_is_one_sentence() -> None:
    """-o /dev/full: exit 2, and the sentence names the file."""
    done = tbdiag(*HEALTHY, "-o", "/dev/full")
    assert done.returncode == 2
    assert quiet(done).startswith("tbdiag: cannot write '/dev/full': No space left on device")


def test_an_output_file_needs_no_stdout(tmp_path: Path) -> None:
    """With -o it does not matter that stdout, stdin and stderr are closed."""
    out = tmp_path / "report.json"
    done = through_a_shell("<&- >&- 2>&-", *HEALTHY, "-f", "json", "-o", str(out))
    assert done.returncode == 0
    assert json.loads(out.read_text())["verdict"] == "ok"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(HEALTHY, 0), (("check",), 2), (("explain", "-"), 2), (("ca", "inspect", "-"), 1)],
)
def test_a_closed_stdin_is_an_empty_one(arguments: tuple[str, ...], code: int) -> None:
    """Nothing is asked and nothing hangs; what is read from stdin is empty."""
    done = through_a_shell("<&-", *arguments)
    assert done.returncode == code
    quiet(done)


def test_there_may_be_no_home(tmp_path: Path) -> None:
    """Without HOME, or with one that nobody can write to, a diagnosis goes on as always."""
    for home in (None, "/proc", str(tmp_path / "missing")):
        done = tbdiag(*HEALTHY, HOME=home)
        assert (done.returncode, quiet(done)) == (0, "")


def test_a_fleet_needs_no_home(tmp_path: Path) -> None:
    """Where nothing can be remembered the fleet is checked all the same, and that is said."""
    fleet = tmp_path / "fleet.csv"
    fleet.write_text("host,port\n127.0.0.1,1\n")
    done = tbdiag("fleet", str(fleet), "--only-tls", "--timeout", "5", HOME="/proc")
    assert done.returncode == 1
    assert "tcp.refused" in done.stdout.decode()
    assert "nothing is remembered" in quiet(done)


COMMANDS: tuple[tuple[str, ...], ...] = (
    (*HEALTHY, "-v"),
    ("check", "--sandbox", "wrong-ca-file"),
    ("check", "--sandbox", "wrong-ca-file", "-f", "markdown"),
    ("list", "rules"),
    ("list", "scenarios"),
    ("explain", "x509.wrong-ca-file"),
    ("explain", "mqtt return code 5"),
    ("ca", "inspect", "public"),
    ("check", "--help"),
)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_the_c_locale_gets_ascii(arguments: tuple[str, ...]) -> None:
    """With LC_ALL=C every output is ASCII, and none fails for a character it cannot write."""
    done = tbdiag(*arguments, LC_ALL="C")
    assert done.returncode in (0, 1)
    quiet(done)
    assert done.stdout.isascii()
    assert done.stdout


def umlauts(tmp_path: Path) -> Path:
    """A CA file whose names no ASCII terminal can show."""
    path = tmp_path / "ca.pem"
    path.write_bytes(Authority.root("Zertifizierungsstelle Übersee 東京", now=NOW).pem())
    return path


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_is_whole_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    """Where the locale has no such characters JSON says them with its own escapes."""
    path = str(umlauts(tmp_path))
    done = tbdiag("ca", "inspect", path, "-f", "json", PYTHONIOENCODING=encoding)
    assert json.loads(done.stdout.decode("ascii"))["certificates"][0]["common_name"].endswith(
        "東京"
    )


def test_a_name_that_the_c_locale_cannot_write_is_escaped(tmp_path: Path) -> None:
    """The table shows backslash escapes for what ASCII has not."""
    done = tbdiag("ca", "inspect", str(umlauts(tmp_path)), LC_ALL="C")
    assert b"Zertifizierungsstelle \\xdcbersee \\u6771\\u4eac" in done.stdout
    quiet(done)


def on_a_terminal(columns: int, *arguments: str) -> str:
    """What a terminal of that width is sent on stdout."""
    parent, child = pty.openpty()
    ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=child,
        stderr=subprocess.DEVNULL,
        env=surroundings(TERM="xterm", LC_ALL="C.UTF-8"),
    )
    os.close(child)
    shown = b""
    with process:
        while select.select([parent], [], [], LIMIT)[0]:
            try:
                shown += os.read(parent, 65_536)
            except OSError:
                break
        process.wait(LIMIT)
    os.close(parent)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())


@pytest.mark.parametrize(
    "arguments",
    [HEALTHY, ("check", "--sandbox", "wrong-ca-file"), ("explain", "x509.wrong-ca-file"),
     ("list", "rules"), ("list", "scenarios")],
)  # fmt: skip
def test_a_terminal_of_40_columns_is_enough(arguments: tuple[str, ...]) -> None:
    """No line of prose or table is wider; a command or path to be copied stays in one piece."""
    lines = on_a_terminal(40, *arguments).splitlines()
    wide = [line for line in lines if len(line) > 40]
    assert lines
    assert all(len(max(line.split(), key=len)) > 24 or "tbdiag" in line for line in wide), wide


def crlf(path: Path) -> str:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    return str(path)


def test_windows_line_ends_in_certificate_files(tmp_path: Path) -> None:
    """A CA file and a presented chain with CRLF are judged as with LF."""
    top = root()
    cafile, presented = tmp_path / "ca.pem", tmp_path / "presented.pem"
    cafile.write_bytes(top.pem())
    presented.write_bytes(leaf(top.intermediate()).chain_pem())
    done = tbdiag(
        *("ca", "verify", "--cafile", crlf(cafile), "--presented", crlf(presented)),
        *("--server-name", HOST, "--at", NOW.isoformat(), "-f", "json"),
    )
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "ok")


FLEETS = {
    "toml": '[defaults]\ncafile = "ca.pem"\n\n[[targets]]\nname = "one"\nhost = "a.example"\n',
    "yaml": "defaults:\n  cafile: ca.pem\ntargets:\n  - name: one\n    host: a.example\n",
    "csv": "name,host,cafile\none,a.example,ca.pem\n",
}


@pytest.mark.parametrize("suffix", sorted(FLEETS))
def test_windows_line_ends_in_fleet_files(tmp_path: Path, suffix: str) -> None:
    """A fleet file with CRLF is the same fleet as with LF, to the line."""
    if suffix == "yaml":
        pytest.importorskip("yaml")
    path = tmp_path / f"fleet.{suffix}"
    path.write_text(FLEETS[suffix])
    plain = load_fleet(path).specs
    crlf(path)
    assert load_fleet(path).specs == plain


def test_windows_line_ends_in_a_gateway_configuration(tmp_path: Path) -> None:
    """tb_gateway.json with CRLF and a byte order mark is read."""
    path = tmp_path / "tb_gateway.json"
    security = {"type": "accessToken", "accessToken": "TOKEN"}
    section = {"host": "127.0.0.1", "port": 1, "security": security}
    text = json.dumps({"thingsboard": section}, indent=2)
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    report = reported("--gateway-config", str(path))
    assert report["primary"] == "tcp.refused"


def reported(*arguments: str) -> dict[str, Any]:
    done = tbdiag("check", *arguments, "--no-compare-web", "-f", "json")
    quiet(done)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"C:\certs\ca.pem", r"C:\certs\ca.pem"),
        (r'"C:\Program Files\mosquitto\ca.pem"', r"C:\Program Files\mosquitto\ca.pem"),
        (r"\\server\share\ca.pem", r"\\server\share\ca.pem"),
    ],
)
def test_windows_paths_in_a_pasted_command(written: str, meant: str) -> None:
    """A path with backslashes is the path that was written, and the report names it so."""
    line = rf'"C:\mosquitto\mosquitto_pub.exe" --cafile {written} -h 127.0.0.1 -p 1 -u T -t t -m x'
    report = reported("--mosquitto", line)
    found = {finding["rule"]: finding["message"] for finding in report["findings"]}
    assert meant in found["ca.file-not-found"]


def test_a_pasted_command_with_windows_line_ends() -> None:
    """A command continued with ^ over CRLF lines is one command."""
    line = "mosquitto_pub.exe -h 127.0.0.1 ^\r\n  -p 1 ^\r\n  -u T -t t -m x\r\n"
    assert reported("--mosquitto", line)["primary"] == "tcp.refused"
