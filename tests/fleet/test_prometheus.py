"""Prometheus itself: its rule tests, and a server that scrapes until an alert fires."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.profile import DEFAULT_TOKEN
from tests.fleet.test_exporter import Served

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "tbdiag.rules.yml"


def needs(program: str) -> str:
    found = shutil.which(program)
    if not found:
        pytest.skip(f"{program} is not installed (Debian package prometheus)")
    return found


def promtool(*arguments: str) -> None:
    done = subprocess.run([needs("promtool"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alert_rules_pass_their_own_tests() -> None:
    """`promtool test rules` on what deploy/prometheus holds, and its configuration is valid."""
    promtool("test", "rules", str(RULES.with_suffix(".test.yml")))
    promtool("check", "config", str(RULES.with_name("prometheus.yml")))


def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    """promtool parses each panel's query once Grafana's variables are filled in."""
    dashboard = json.loads((DEPLOY / "grafana" / "tbdiag.json").read_text())
    queries = [t["expr"] for p in dashboard["panels"] for t in p["targets"]]
    rules = [
        {"record": f"panel:{n}", "expr": re.sub(r"\$\w+", ".*", query)}
        for n, query in enumerate(queries)
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(path))
    assert len({p["id"] for p in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.fixture
def prometheus(
    fleet_file: Callable[..., Path], start: Callable[..., Any], tmp_path: Path
) -> Iterator[str]:
    """A real Prometheus that scrapes an exporter every second; alerts do not wait."""
    program = needs("prometheus")
    served = Served(
        start("exporter", str(fleet_file(1, 1)), "--only-tls", "--listen", "127.0.0.1:0")
    )
    rules = tmp_path / "rules.yml"
    rules.write_text(re.sub(r"for: \w+", "for: 0s", RULES.read_text()))
    scrape = {
        "job_name": "tbdiag",
        "static_configs": [{"targets": [served.base.removeprefix("http://")]}],
    }
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [scrape],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = _free_port()
    process = subprocess.Popen(
        [
            program,
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait(10)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def firing(base: str) -> set[tuple[str, str]]:
    try:
        with urllib.request.urlopen(f"{base}/api/v1/alerts", timeout=5) as answer:
            alerts = json.load(answer)["data"]["alerts"]
    except (urllib.error.URLError, OSError):
        return set()
    names = ((a["labels"]["alertname"], a["labels"].get("target", "")) for a in alerts)
    return {name for name, alert in zip(names, alerts, strict=True) if alert["state"] == "firing"}


def test_a_real_prometheus_scrapes_and_the_alert_fires(prometheus: str) -> None:
    """The target on a closed port fires ThingsBoardUnreachable; the good one fires nothing."""
    import threading
    import time

    limit, pause = time.monotonic() + 30, threading.Event()
    while ("ThingsBoardUnreachable", "plant-1") not in firing(prometheus):
        assert time.monotonic() < limit, firing(prometheus)
        pause.wait(0.2)
    assert not {alert for alert in firing(prometheus) if alert[1] == "plant-0"}


def test_the_service_runs_a_command_that_exists() -> None:
    """The systemd unit's command line is one that tbdiag takes."""
    from tbdiag.cli.exporter import exporter_command

    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / "tbdiag-exporter.service")
    words = unit["Service"]["ExecStart"].split()
    assert words[1] == "exporter"
    context = exporter_command.make_context("exporter", words[2:], resilient_parsing=False)
    assert context.params["interval"] == 300


def test_the_action_passes_every_input_through_the_environment() -> None:
    """No input of the GitHub Action is pasted into a script, and each is used."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    step = action["runs"]["steps"][-1]
    assert "${{" not in step["run"]
    wanted = {f"${{{{ inputs.{name} }}}}" for name in action["inputs"]}
    assert wanted == set(step["env"].values())


def test_the_action_script_gives_verdict_cause_and_exit_code(
    fleet_file: Callable[..., Path], tmp_path: Path
) -> None:
    """check.sh on a fleet with a failing target: exit 1, outputs, summary and both reports."""
    done = action(tmp_path, FLEET=str(fleet_file(1, 1)), ONLY_TLS="true")
    assert done.returncode == 1, done.stderr
    outputs = (tmp_path / "output").read_text().splitlines()
    assert outputs == ["verdict=failed", "primary=tcp.refused"]
    assert "tcp.refused" in (tmp_path / "summary").read_text()
    assert (tmp_path / "tbdiag.xml").read_text().count("<testsuite ") == 2


def test_the_action_connects_as_the_device_once(tmp_path: Path) -> None:
    """Annotations, summary and JSON come from one run: one session, one test message."""
    with Broker() as broker:
        target = f"mqtt://127.0.0.1:{broker.port}"
        done = action(tmp_path, TARGET=target, TBDIAG_TOKEN=DEFAULT_TOKEN)
        assert done.returncode == 0, done.stderr
        assert len(broker.connects) == 1
        assert len(broker.telemetry) == 1
    assert "::notice title=tbdiag::" in done.stdout
    assert (tmp_path / "output").read_text().splitlines()[0] == "verdict=ok"
    assert json.loads((tmp_path / "tbdiag.json").read_text())["verdict"] == "ok"


def action(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run what the GitHub Action runs, with its inputs as the runner passes them."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        **inputs,
    }
    script = ["bash", str(DEPLOY / "github" / "check.sh")]
    return subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True)
