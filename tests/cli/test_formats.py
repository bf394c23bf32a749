"""What the formats ask of the command line: exit codes, masks, summaries, files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
