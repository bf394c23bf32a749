"""The exporter as its users meet it: Prometheus, a browser, a supervisor, an attacker."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tbdiag.fleet.status_page import POLICY, page
from tbdiag.fleet.watch import Row
from tests.fleet.conftest import NOW, end, outcome

ARTEFACTS = Path(os.environ.get("TBDIAG_ARTEFACTS", "build/artefacts"))
HOSTILE = '"><script>alert(1)</script><img src=x onerror=1>\u202e\x1b[2J'


class Served:
    """A running exporter."""

    def __init__(self, program: Any) -> None:
        self.program = program
        line = program.hear("http://")
        self.base = re.search(r"http://[^/]+", line).group()  # type: ignore[union-attr]

    def get(self, path: str, **headers: str) -> tuple[int, str, Any]:
        request = urllib.request.Request(self.base + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), error.headers

    def until(self, path: str, enough: Callable[[str], bool]) -> str:
        """Ask until the answer has what is waited for; each answer takes its own time."""
        for _ in range(2000):
            text = self.get(path)[1]
            if enough(text):
                return text
        raise AssertionError(text)


@pytest.fixture
def served(fleet_file: Callable[..., Path], start: Callable[..., Any]) -> Served:
    """An exporter over one good target and one on a closed port."""
    flags = ("--only-tls", "--listen", "127.0.0.1:0", "--interval", "300")
    return Served(start("exporter", str(fleet_file(1, 1)), *flags))


def samples(text: str) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(text)
    return {(s.name, s.labels.get("target", "")): s.value for f in families for s in f.samples}


def test_metrics_come_from_the_latest_checks(served: Served) -> None:
    """/metrics has every target with the names of blackbox_exporter, and our own counters."""
    text = served.until("/metrics", lambda t: 'probe_success{target="plant-1"}' in t)
    found = samples(served.until("/metrics", lambda t: 'probe_success{target="plant-0"}' in t))
    assert found["probe_success", "plant-0"] == 1
    assert found["probe_success", "plant-1"] == 0
    assert found["probe_ssl_earliest_cert_expiry", "plant-0"] > 0
    assert "tbdiag_exporter_checks_total" in text
    if shutil.which("promtool"):
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=text, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stderr


def test_probe_checks_one_configured_target_and_no_other(served: Served) -> None:
    """/probe answers for names of the fleet file only: no address, no URL, no path."""
    status, text, _ = served.get("/probe?target=plant-0")
    assert (status, samples(text)["probe_success", ""]) == (200, 1)
    assert "Root cause" in served.get("/probe?target=plant-1&debug=true")[1]
    for name in ("127.0.0.1:22", "localhost", "http://127.0.0.1/", "/etc/passwd", "plant-0%00"):
        assert served.get(f"/probe?target={name}")[0] == 404
    assert served.get("/probe")[0] == 400


def test_the_page_and_every_answer_carry_the_strict_headers(served: Served) -> None:
    """No script may run, nothing may be loaded or framed."""
    for path in ("/", "/metrics", "/-/healthy", "/probe?target=none"):
        headers = served.get(path)[2]
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert served.get("/-/healthy")[:2] == (200, "healthy\n")
    assert "script-src" not in POLICY
    assert POLICY.startswith("default-src 'none'")


def test_sigterm_ends_it_cleanly(served: Served) -> None:
    """A supervisor's SIGTERM: exit code 0, nothing but 'stopped' on stderr."""
    served.get("/-/healthy")
    served.program.process.send_signal(signal.SIGTERM)
    assert served.program.end(10)[0] == 0
    assert [line.strip() for line in served.program.said[1:]] == ["tbdiag: stopped"]


def test_a_probe_of_a_mute_target_ends_before_the_scrape_does(
    tmp_path: Path, start: Callable[..., Any]
) -> None:
    """The scraper's own time-out bounds a probe, and other answers do not wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        path = tmp_path / "f.toml"
        port = mute.getsockname()[1]
        path.write_text(f'targets = ["mqtts://127.0.0.1:{port}"]\n')
        served = Served(
            start("exporter", str(path), "--only-tls", "--listen", "127.0.0.1:0", "--no-history")
        )
        scrape = {"X-Prometheus-Scrape-Timeout-Seconds": "1"}
        _, text, _ = served.get(f"/probe?target=127.0.0.1:{port}", **scrape)
        assert samples(text)["probe_success", ""] == 0
        assert 0.3 < samples(text)["probe_duration_seconds", ""] < 3
        assert served.get("/-/healthy")[0] == 200
        served.program.process.send_signal(signal.SIGTERM)
        assert served.program.end(10)[0] == 0


def test_a_killed_exporter_has_kept_its_history(
    fleet_file: Callable[..., Path], start: Callable[..., Any], state: Path
) -> None:
    """kill -9 after the first checks: the next exporter shows the last change from before."""
    flags = ("exporter", str(fleet_file(1)), "--only-tls", "--listen", "127.0.0.1:0")
    first = Served(start(*flags))
    first.until("/", lambda t: "first-seen" in t)
    first.program.process.kill()
    first.program.end(10)
    assert "first-seen" in Served(start(*flags)).get("/")[1]


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "203.0.113.9:1", ":80"])
def test_an_address_that_cannot_be_listened_on_is_exit_2(
    fleet_file: Callable[..., Path], start: Callable[..., Any], address: str
) -> None:
    """A wrong or foreign address is told in a sentence."""
    program = start("exporter", str(fleet_file(1)), "--only-tls", "--listen", address)
    assert program.end(10)[0] == 2
    assert "--listen" in "".join(program.said)


class Page(HTMLParser):
    """Collects the elements and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile_rows() -> list[Row]:
    made = outcome(HOSTILE, message=HOSTILE, cause=HOSTILE, verdict="failed")
    return [
        Row(HOSTILE, HOSTILE, made, None),
        Row("soon", "mqtt.test:8883", outcome("soon", ends=(end(HOSTILE, "root", 3),)), None),
        Row("new", "new.test:8883", None, None),
    ]


def test_hostile_text_is_text_on_the_page() -> None:
    """Names, messages and certificates full of markup add no element and no attribute."""
    html = page(hostile_rows(), NOW)
    seen = Page(html)
    assert seen.tags <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "p", "table", "thead", "tbody"),
        *("tr", "th", "td", "small"),
    }
    assert not {a for a in seen.attributes if a.startswith("on")}
    assert "<script>alert(1)</script>" in seen.text
    assert not set(html) & set("\u202e\x1b")
    assert 'http-equiv="refresh"' in html


@pytest.fixture
def chromium() -> str:
    """The browser; the test is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("Chromium is not installed")
    return found


def test_a_real_browser_shows_the_page(served: Served, chromium: str, tmp_path: Path) -> None:
    """Chromium renders it with its style, which the policy allows, and takes a screenshot."""
    served.until("/", lambda t: "plant-0" in t and "√ ok" in t and "× failed" in t)
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    picture = (ARTEFACTS / "status-page.png").resolve()
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
    done = subprocess.run(
        [
            chromium,
            *flags,
            f"--user-data-dir={tmp_path}/profile",
            "--window-size=1100,600",
            f"--screenshot={picture}",
            "--enable-logging=stderr",
            f"{served.base}/",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Content Security Policy" not in done.stderr
    assert picture.stat().st_size > 5000


def test_the_metrics_of_the_dashboard_and_the_alerts_exist(served: Served) -> None:
    """Every metric that the dashboard and the alert rules name is one that tbdiag can give."""
    from tbdiag.report.as_prometheus import HELP

    root = Path(__file__).parents[2] / "deploy"
    dashboard = json.loads((root / "grafana/tbdiag.json").read_text())
    named = [t["expr"] for p in dashboard["panels"] for t in p["targets"]]
    named.append((root / "prometheus/tbdiag.rules.yml").read_text())
    used = set(re.findall(r"\b((?:probe|ssl|tbdiag)_[a-z_]+)\{", " ".join(named)))
    assert len(used) > 8
    assert used <= set(HELP)
