"""`tbdiag check`: where its target comes from, and what it refuses."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tbdiag.cli import run
from tbdiag.sandbox import open_scenario
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.http import CA_DOWNLOAD, HttpApi
from tbdiag.sandbox.profile import DEFAULT_TOKEN
from tbdiag.sandbox.stand import Stand

SECRET = "A1SECRETTOKEN"


@pytest.fixture(autouse=True)
def quiet_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TBDIAG_TOKEN", "TBDIAG_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with open_scenario("healthy") as opened:
        yield opened


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    code = run(["check", *arguments, "--no-compare-web", "-f", "json"])
    printed = capsys.readouterr()
    assert code in (0, 1), printed.err
    assert DEFAULT_TOKEN not in printed.out + printed.err
    document: dict[str, Any] = json.loads(printed.out)
    return document


def diagnosis(document: dict[str, Any]) -> tuple[Any, ...]:
    """What a report says, without times and without how the token was given."""
    rules = [f["rule"] for f in document["findings"] if f["rule"] != "token.in-arguments"]
    stages = [(s["id"], s["status"]) for s in document["stages"]]
    target = {k: document["target"][k] for k in ("host", "port", "transport")}
    return document["verdict"], document["primary"], stages, rules, target


def documentation_line(stand: Stand) -> str:
    return (
        f"mosquitto_pub --cafile {stand.target.cafile[0]} -d -q 1 -h localhost "
        f'-p "{stand.target.port}" -t "v1/devices/me/telemetry" -u "{DEFAULT_TOKEN}" '
        '-m {"temperature":25}'
    )


def test_the_documentation_s_command_is_the_same_as_the_flags(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pasting the command and typing its options give one diagnosis."""
    line = documentation_line(stand)
    flags = [w for w in shlex.split(line)[1:] if w != "-d"]
    pasted = diagnosis(report(capsys, "--mosquitto", line))
    assert pasted == diagnosis(report(capsys, *flags))
    assert pasted[0] == "ok"


def test_a_wrong_token_is_the_same_as_the_flags(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal is, too."""
    line = documentation_line(stand).replace(DEFAULT_TOKEN, "A1_WRONG_TOKEN_000000")
    flags = [w for w in shlex.split(line)[1:] if w != "-d"]
    pasted = diagnosis(report(capsys, "--mosquitto", line))
    assert pasted == diagnosis(report(capsys, *flags))
    assert pasted[1] == "mqtt.bad-credentials"


def test_a_check_connectivity_block_fetches_the_ca_and_sends_no_token_in_clear(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The curl line gives the CA file; its plain http:// is no leave to send the token there."""
    root = Authority.root()
    issued = root.intermediate().issue_server()
    broker = Broker(tls=Tls(issued))
    with broker, HttpApi(broker.platform, ca_file=root.pem()) as api:
        block = (
            f"curl -f -S -o ca-root.pem {api.url}{CA_DOWNLOAD}\n"
            f"mosquitto_pub -d -q 1 --cafile ca-root.pem -h localhost -p {broker.port} "
            f'-t v1/devices/me/telemetry -u "{DEFAULT_TOKEN}" -m "{{temperature:25}}"'
        )
        document = report(capsys, "--mosquitto", block)
        assert DEFAULT_TOKEN.encode() not in api.received_bytes()
        asked = report(capsys, "--mosquitto", block, "--http-url", api.url)
    stages = {s["id"]: s["status"] for s in document["stages"]}
    assert (document["verdict"], stages["http.token"]) == ("ok", "not-applicable")
    assert {s["id"]: s["status"] for s in asked["stages"]}["http.token"] == "ok"


def test_the_sandbox_s_own_line_takes_the_token_from_the_environment(
    stand: Stand, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """-u "$TBDIAG_TOKEN" in a pasted line is the variable of that name."""
    monkeypatch.setenv("TBDIAG_TOKEN", DEFAULT_TOKEN)
    assert report(capsys, "--mosquitto", stand.mosquitto_line)["verdict"] == "ok"


def test_the_token_of_a_pasted_line_wins_over_the_environment(
    stand: Stand, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly that command is diagnosed, whatever TBDIAG_TOKEN holds."""
    monkeypatch.setenv("TBDIAG_TOKEN", SECRET)
    assert report(capsys, "--mosquitto", documentation_line(stand))["verdict"] == "ok"
    assert report(capsys, "--sandbox")["verdict"] == "ok"


def test_a_pasted_line_from_standard_input(
    stand: Stand, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--mosquitto -` keeps the token out of the process list."""
    line = documentation_line(stand).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line)))
    assert report(capsys, "--mosquitto", "-")["verdict"] == "ok"


def test_flags_are_laid_over_a_pasted_line(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flag beside --mosquitto wins: another port, no publish."""
    line = documentation_line(stand).replace(f'"{stand.target.port}"', "1")
    document = report(capsys, "--mosquitto", line, "--port", str(stand.target.port), "--no-publish")
    stages = {s["id"]: s["status"] for s in document["stages"]}
    assert (stages["mqtt.connect"], stages["mqtt.publish"]) == ("ok", "not-applicable")


def test_remarks_are_shown(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    """What a pasted line does otherwise than it seems is a finding worth knowing."""
    document = report(capsys, "--mosquitto", f"{documentation_line(stand)} --retain")
    assert [f["severity"] for f in document["findings"] if f["rule"] == "target.remark"] == ["info"]


def gateway_config(stand: Stand, folder: Path, **security: str) -> str:
    shutil.copy(stand.target.cafile[0], folder / "ca.pem")
    section = {
        "host": "localhost",
        "port": stand.target.port,
        "security": {"type": "tlsAccessToken", "accessToken": DEFAULT_TOKEN, "caCert": "ca.pem"}
        | security,
    }
    path = folder / "tb_gateway.json"
    path.write_text(json.dumps({"thingsboard": section}))
    return str(path)


def test_a_gateway_s_configuration(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Host, CA and token come from the file; that the gateway verifies nothing is remarked."""
    document = report(capsys, "--gateway-config", gateway_config(stand, tmp_path))
    assert document["verdict"] == "ok"
    remarks = [f["message"] for f in document["findings"] if f["rule"] == "target.remark"]
    assert any("verifies no server certificate" in text for text in remarks)


def test_a_gateway_s_inline_ca_certificate(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The PEM in the file itself is the trust anchor."""
    pem = Path(stand.target.cafile[0]).read_text()
    document = report(capsys, "--gateway-config", gateway_config(stand, tmp_path, caCert=pem))
    assert document["verdict"] == "ok"


REFUSED = [
    "h:99999",
    "h:",
    "[::1]:x",
    "''",
    "' '",
    "'a b'",
    "-h ''",
    "-h 'a b'",
    "h -p x",
    "h:1 -p 2",
    "h -h h",
    "h --sandbox",
    "h --mosquitto 'mosquitto_pub -h h'",
    "--sandbox --gateway-config x",
    "--sandbox nonsense",
    "--mosquitto ''",
    f"--mosquitto 'mosquitto_pub -u {SECRET} -h'",
    "--gateway-config absent.json",
    "--mosquitto 'mosquitto_pub -h h -m m --proxy nonsense'",
    "--mosquitto 'mosquitto_pub -h h -m m --tls-alpn \u00fc'",
    f"mqtts://{SECRET}@h",
    f"mqtts://{SECRET}@h:x",
    f"{SECRET}@h",
    f"https://h/api/v1/{SECRET}/telemetry",
    "wss://h",
    "h --at garbage",
    "h --timeout nan",
    "h --timeout inf",
    "h --timeout -1",
    "h --timeout 0",
    "h --timeout x",
    "h --warn-days nan",
    "h --critical-days -1",
    "h --ignore no.such-rule",
    "h -o absent/report",
    "h -o .",
    "h --proxy nonsense",
    f"h --proxy ftp://u:{SECRET}@p",
    f"h --http-url https://u:{SECRET}@h",
    "h --http-url h",
    "h --server-name ''",
    "h --server-name 'a b'",
    "h --alpn ''",
    "h -t ''",
    "h -t a/+",
    "h -m @absent",
    "h -q 2",
    "h --token-file absent",
    f"h -u {SECRET} --token-file x",
    "h --key k",
    "h --mqtt-version 4",
    "h --client nonsense",
    "h -f nonsense",
    "h --nonsense",
    "a b c",
    "",
]


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_is_refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One clear sentence on stderr, nothing on stdout, exit code 2, and no secret."""
    assert run(["check", *shlex.split(arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("tbdiag: ")
    assert printed.err.count("\n") == 1
    assert SECRET not in printed.err


def test_a_huge_token_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """MQTT strings end at 65,535 bytes."""
    assert run(["check", "h", "-u", "x" * 70_000]) == 2
    assert len(capsys.readouterr().err) < 200
