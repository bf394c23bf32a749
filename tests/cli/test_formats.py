"""What the formats ask of the command line: exit codes, masks, summaries, files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

TOKEN = "canaryToken123456789"


def tbdiag(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "TBDIAG_"))}
    return subprocess.run(
        [sys.executable, "-m", "tbdiag", *arguments],
        capture_output=True,
        text=True,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def test_nagios_keeps_the_plugin_convention() -> None:
    """Under -f nagios a failure is CRITICAL, exit 2, and the first line carries the cause."""
    done = tbdiag("check", "--sandbox", "wrong-ca-file", "-f", "nagios")
    assert done.returncode == 2
    assert done.stdout.startswith("TBDIAG CRITICAL - ")
    assert "x509.wrong-ca-file" in done.stdout.splitlines()[0]


def test_nagios_says_unknown_to_wrong_usage() -> None:
    """Under -f nagios wrong usage is UNKNOWN, exit 3, on stdout."""
    done = tbdiag("check", "host:notaport", "-f", "nagios")
    assert (done.returncode, done.stdout[:16]) == (3, "TBDIAG UNKNOWN -")


def test_a_healthy_target_is_ok_to_nagios() -> None:
    """Under -f nagios a healthy target exits 0."""
    done = tbdiag("check", "--sandbox", "healthy", "-f", "nagios")
    assert (done.returncode, done.stdout[:11]) == (0, "TBDIAG OK -")


def test_github_masks_the_token_first(tmp_path: Path) -> None:
    """On a GitHub runner the first line masks the token, and the step gets its summary."""
    summary = tmp_path / "summary.md"
    done = tbdiag(
        "check",
        "127.0.0.1:1",
        "-f",
        "github",
        TBDIAG_TOKEN=TOKEN,
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(summary),
    )
    first, *rest = done.stdout.splitlines()
    assert first == f"::add-mask::{TOKEN}"
    assert TOKEN not in "\n".join(rest) + done.stderr + summary.read_text()
    assert "tcp.refused" in summary.read_text()


def test_elsewhere_the_token_is_never_printed() -> None:
    """Off a GitHub runner -f github prints no mask, for that would show the token."""
    done = tbdiag("check", "127.0.0.1:1", "-f", "github", TBDIAG_TOKEN=TOKEN)
    assert TOKEN not in done.stdout + done.stderr
    assert done.returncode == 1


def test_a_report_goes_into_a_file(tmp_path: Path) -> None:
    """-o writes the report into the file and nothing to stdout."""
    file = tmp_path / "report.json"
    done = tbdiag("check", "127.0.0.1:1", "-f", "json", "-o", str(file))
    assert (done.stdout, done.returncode) == ("", 1)
    assert '"tcp.refused"' in file.read_text()


def test_one_run_gives_several_formats(tmp_path: Path) -> None:
    """--also writes the same report in other formats: nobody has to connect twice for them."""
    json_file, junit_file = tmp_path / "r.json", tmp_path / "r.xml"
    done = tbdiag(
        *("check", "--sandbox", "wrong-ca-file"),
        *("--also", f"json={json_file}", "--also", f"junit={junit_file}"),
    )
    assert done.returncode == 1
    assert "Root cause  x509.wrong-ca-file" in done.stdout
    assert json.loads(json_file.read_text())["primary"] == "x509.wrong-ca-file"
    assert ElementTree.parse(junit_file).getroot().get("failures") == "1"


@pytest.mark.parametrize(
    "given", ["json", "=r.json", "xml=r.xml", "json=", "json=-", "json=.", "json=no/r.json"]
)
@pytest.mark.parametrize("command", ["check", "fleet"])
def test_a_wrong_also_is_told_before_anything_is_checked(
    given: str, command: str, tmp_path: Path
) -> None:
    """Exit 2 and one sentence that holds what was given."""
    done = tbdiag(command, "127.0.0.1:1", "--also", given)
    assert done.returncode == 2
    assert done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert given.partition("=")[2] in sentence


def test_two_results_do_not_go_into_one_file(tmp_path: Path) -> None:
    """The second would overwrite the first."""
    path = tmp_path / "r"
    done = tbdiag("check", "127.0.0.1:1", "-o", str(path), "--also", f"json={path}")
    assert done.returncode == 2
    assert "another result goes into that file already" in done.stderr
