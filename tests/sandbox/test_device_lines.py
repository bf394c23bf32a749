"""The command that a scenario prints for a device works as it is printed."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tbdiag.sandbox import open_scenario
from tbdiag.sandbox.profile import DEFAULT_TOKEN


@pytest.mark.parametrize(
    "scenario",
    [
        "healthy",
        "http-healthy",
        "https-healthy",
        "coap-healthy",
        "coaps-healthy",
        "coaps-x509-device",
    ],
)
def test_the_printed_command_delivers_telemetry(scenario: str) -> None:
    """Pasted into a shell with TBDIAG_TOKEN set, it stores its value."""
    with open_scenario(scenario) as stand:
        line = stand.device_line
        program = line.split()[0]
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
        environment = {**os.environ, "TBDIAG_TOKEN": DEFAULT_TOKEN}
        subprocess.run(
            ["sh", "-c", line], env=environment, timeout=30, check=True, capture_output=True
        )
        stored = stand.server.platform.telemetry  # type: ignore[union-attr]
    assert [values for _, values in stored] == [{"temperature": 25}]
