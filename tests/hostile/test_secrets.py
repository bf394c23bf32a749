"""A token, password or key appears nowhere it was not sent to, and is sent only where it may be."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pickle
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from cryptography.x509 import Name, NameAttribute
from cryptography.x509.oid import NameOID

import tbdiag
from tbdiag import Options, Report, Target, check, cli
from tbdiag.model import Credentials, Secret, Transport
from tbdiag.redact import forms_of, masking
from tbdiag.report import FORMATS, render
from tbdiag.sandbox import faults, knobs
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.http import Answer, HttpApi, Redirect, Response
from tbdiag.sandbox.profile import Device
from tbdiag.sandbox.server import Server
from tests.hostile_servers import ISSUED, ROOT, Scripted, target_of

TOKEN = "C4naryT0ken/with+odd=Signs"
PASSWORD = 'C4nary Pa55word "quoted" \\back'
NAME = NameOID.COMMON_NAME
DEVICE = Device(token=TOKEN)
FORBIDDEN = tuple(
    form[start : start + 14]
    for secret in (TOKEN, PASSWORD)
    for form in (*forms_of([secret]), secret.encode().hex(), secret.encode().hex(" "))
    for start in range(len(form) - 13)
    if form[start : start + 14].strip("0123456789abcdef ") or len(form) > 30
)
"""Every fourteen characters in a row of either secret, in every form it may take."""


def assert_absent(text: str, where: str) -> None:
    found = [part for part in FORBIDDEN if part in text]
    assert not found, (where, found[0], text[max(0, text.index(found[0]) - 200) :][:400])


def credentials(**more: Any) -> Credentials:
    return Credentials(token=Secret(TOKEN), **more)


def basic() -> Credentials:
    return Credentials(username="user", password=Secret(PASSWORD), client_id="device")


def echo(text: str) -> knobs.ReasonString:
    """A broker that says what it was told, in every text it may send."""
    return knobs.ReasonString(
        f"no such token: {text}",
        {
            "user_property": ((text, text),),
            "server_reference": text,
            "authentication_data": text.encode(),
        },
    )


class Echoing(Server):
    """Sends back what it receives, as the echo service does (RFC 862)."""

    def serve(self, connection: Any) -> None:
        """Echo."""
        while data := connection.read():
            connection.write(data)


ECHOES: dict[str, tuple[Callable[[], Server], Callable[[], Credentials]]] = {
    "refusing broker": (
        lambda: Broker(
            [DEVICE], tls=Tls(ISSUED), faults=(echo(TOKEN), knobs.ForcedConnack(5, 0x87))
        ),
        credentials,
    ),
    "accepting broker": (
        lambda: Broker([DEVICE], tls=Tls(ISSUED), faults=(echo(TOKEN),)),
        credentials,
    ),
    "password": (
        lambda: Broker(
            [DEVICE], tls=Tls(ISSUED), faults=(echo(PASSWORD), knobs.ForcedConnack(5, 0x87))
        ),
        basic,
    ),
    "token instead of CONNACK": (
        lambda: Broker([DEVICE], tls=Tls(ISSUED), faults=(knobs.GarbageConnack(TOKEN.encode()),)),
        credentials,
    ),
    "password instead of CONNACK": (
        lambda: Scripted(PASSWORD.encode(), tls=Tls(ISSUED)),
        basic,
    ),
    "token cut by our own limit": (
        lambda: Scripted(b"\x20" + b"." * 45 + TOKEN.encode() * 3, tls=Tls(ISSUED)),
        credentials,
    ),
    "whole CONNECT": (lambda: Echoing(tls=Tls(ISSUED)), credentials),
    "name of the server certificate": (
        lambda: Broker(
            [DEVICE], tls=Tls(ROOT.issue_server(subject=Name([NameAttribute(NAME, TOKEN)])))
        ),
        credentials,
    ),
    "plain text on the TLS port": (lambda: faults.Banner(TOKEN.encode()), credentials),
}


@pytest.mark.parametrize("server", ECHOES)
def test_an_echoed_secret_is_in_no_format(server: str, tmp_path: Path) -> None:
    """Whatever a server sends back, whole or cut, as text or bytes: no format shows it."""
    make, who = ECHOES[server]
    with make() as running:
        target = target_of(running, tmp_path, credentials=who())
        report = check(target, Options(timeout=4, compare_web=False))
    for format_id in FORMATS:
        assert_absent(render(report, format_id, verbose=True), format_id)
    assert_absent(repr(report), "repr")


HTTP_ECHOES = {
    "redirect": Redirect(f"https://elsewhere.test/{TOKEN}?token={TOKEN}"),
    "body": Answer(Response(500, f"no such token {TOKEN}".encode(), (("Content-Type", TOKEN),))),
    "page": Answer(Response(200, f"<html>{TOKEN}".encode(), (("Content-Type", "text/html"),))),
}


@pytest.mark.parametrize("answer", HTTP_ECHOES)
def test_an_http_server_s_echo_is_in_no_format_and_no_log(
    answer: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Status, headers, Location and body may hold the token: no format and no DEBUG log does."""
    caplog.set_level(logging.DEBUG)
    broker = Broker([DEVICE], tls=Tls(ISSUED))
    with broker, HttpApi(broker.platform, faults=[HTTP_ECHOES[answer]]) as api:
        for transport, port in ((Transport.MQTTS, broker.port), (Transport.HTTP, api.port)):
            target = target_of(broker, tmp_path, credentials=credentials(), http_url=api.url)
            target = Target(
                "localhost",
                port,
                transport,
                credentials=target.credentials,
                cafile=target.cafile,
                http_url=api.url,
            )
            report = check(target, Options(timeout=4, compare_web=False))
            for format_id in FORMATS:
                assert_absent(render(report, format_id), format_id)
    assert_absent(caplog.text, "log")


def test_libraries_log_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, a session with token and password leaves neither in the log."""
    caplog.set_level(logging.DEBUG)
    broker = Broker([DEVICE], tls=Tls(ISSUED))
    with broker, HttpApi(broker.platform, tls=Tls(ISSUED)) as api:
        for who in (credentials(), basic()):
            target = target_of(broker, tmp_path, credentials=who, http_url=api.url)
            check(target, Options(timeout=4, compare_web=False))
    assert_absent(caplog.text, "log")


def test_objects_hide_their_secrets() -> None:
    """repr, str and formatting show ***, and a Secret refuses to be pickled."""
    who = credentials(password=Secret(PASSWORD))
    target = Target("localhost", credentials=who)
    for thing in (who, target, Secret(TOKEN), [Secret(TOKEN)], {"token": Secret(TOKEN)}):
        assert_absent(f"{thing} {thing!r}", type(thing).__name__)
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(Secret(TOKEN))


def test_a_traceback_with_locals_hides_the_secret() -> None:
    """Even a traceback that shows every local variable (as crash reporters send) has only ***."""
    target = Target("localhost", credentials=credentials())
    try:
        raise RuntimeError(f"went wrong with {target}")
    except RuntimeError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert_absent("".join(shown.format()), "traceback")


@dataclass
class Ran:
    """How a command line ended, and everything it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Ran]:
    """Run a command line in this process, the token in the environment, and look at its output."""
    monkeypatch.setenv("TBDIAG_TOKEN", TOKEN)
    monkeypatch.setenv("TBDIAG_PASSWORD", PASSWORD)
    monkeypatch.setenv("TBDIAG_DEBUG", "1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Ran:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.run(words)
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
        assert_absent(texts[0], f"stdout of {words}")
        assert_absent(texts[1], f"stderr of {words}")
        return Ran(code, *texts)

    return call


Run = Callable[..., Ran]


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A broker that echoes the token, and the words of `check` for it."""
    with Broker([DEVICE], tls=Tls(ISSUED), faults=(echo(TOKEN),)) as broker:
        cafile = target_of(broker, tmp_path).cafile[0]
        words = [f"localhost:{broker.port}", "--cafile", cafile, "--no-compare-web"]
        yield cafile, [*words, "--timeout", "5"]


def files_below(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in ("token", "device.key"):
            yield path, path.read_bytes().decode("latin-1")


@pytest.mark.parametrize("format_id", FORMATS)
def test_check_writes_no_secret(
    format_id: str, run: Run, stand: tuple[str, list[str]], tmp_path: Path
) -> None:
    """`check` with every format, verbose, to stdout and into a file."""
    _, words = stand
    run("check", *words, "-v", "-f", format_id)
    run("check", *words, "-f", format_id, "-o", str(tmp_path / f"report.{format_id}"))
    for path, text in files_below(tmp_path):
        assert_absent(text, str(path))


def test_no_command_writes_a_secret(run: Run, stand: tuple[str, list[str]], tmp_path: Path) -> None:
    """ca, recommend, baseline, explain, list, fleet with its journal, history and metrics."""
    cafile, words = stand
    (tmp_path / "server.pem").write_bytes(ISSUED.chain_pem())
    (tmp_path / "fleet.toml").write_text(
        f'[[targets]]\ntarget = "{words[0]}"\ncafile = "{cafile}"\ntoken = "${{TBDIAG_TOKEN}}"\n'
    )
    run("check", *words, "--save-baseline", str(tmp_path / "baseline.json"))
    run("check", *words, "--baseline", str(tmp_path / "baseline.json"))
    run("ca", "inspect", cafile, "-f", "json")
    run("ca", "recommend", words[0], "-o", str(tmp_path / "recommended.pem"))
    run("ca", "fetch", words[0], "-o", str(tmp_path / "fetched.pem"))
    run(
        "ca",
        "verify",
        "--cafile",
        cafile,
        "--presented",
        "server.pem",
        "--server-name",
        "localhost",
    )
    run("explain", f"CONNECT refused for {TOKEN[:10]}")
    run("list", "rules")
    for format_id in ("table", "json", "prometheus", "junit"):
        history = ["--history", str(tmp_path / "history"), "--journal", str(tmp_path / "journal")]
        done = run("fleet", "fleet.toml", "-f", format_id, *history)
        assert done.code in (0, 1), done.err
    run("history", "--history", str(tmp_path / "history"))
    for path, text in files_below(tmp_path):
        assert_absent(text, str(path))


MISTAKES: list[list[str]] = [
    ["check", f"mqtts://{TOKEN}@localhost"],
    ["check", f"mqtts://user:{TOKEN}@localhost:8883"],
    ["check", f"mqtts://localhost/{TOKEN}"],
    ["check", f"{TOKEN}@localhost"],
    ["check", "localhost", f"-u{TOKEN}", "--token-file", "token"],
    ["check", "localhost", "-u", TOKEN, "--qos", "9"],
    ["check", "localhost", f"--token={TOKEN}", "--timeout", "-1"],
    ["check", "localhost", "-u", TOKEN + "\0x"],
    ["check", "localhost", "--tokn", TOKEN],
    ["check", "localhost", f"--tokn={TOKEN}"],
    ["check", "localhost", f"-x{TOKEN}"],
    ["check", "localhost", TOKEN],
    ["check", "localhost", "--http-url", f"https://user:{TOKEN}@host"],
    ["check", "localhost", "--http-url", f"https://host/api/v1/{TOKEN}/telemetry"],
    ["check", "localhost", "--proxy", f"ftp://user:{TOKEN}@proxy"],
    ["check", "localhost", "--cafile", f"https://user:{TOKEN}@host/ca.pem"],
    ["check", "--mosquitto", f"mosquitto_pub -h localhost -u '{TOKEN} -p 8883"],
    ["check", "--mosquitto", f"mosquitto_pub -h local/host -u {TOKEN}"],
    ["check", "--mosquitto", f"mosquitto_pub -h localhost -p x{TOKEN} -u {TOKEN}"],
    ["check", "--mosquitto", f"mosquitto_pub -h localhost -u {TOKEN} -q 7"],
    ["check", "--mosquitto", f"curl -X POST http://localhost/api/v1/{TOKEN}/nonsense"],
    ["check", "--gateway-config", "tb_gateway.json"],
    ["fleet", "in-clear.toml"],
    ["fleet", "unknown-key.toml"],
    ["check", "localhost", "--token-file", "."],
    ["chek", TOKEN],
]


@pytest.mark.parametrize(
    "words", MISTAKES, ids=lambda words: " ".join(words)[:50].replace("/", "_")
)
def test_no_message_about_a_mistake_repeats_a_secret(
    words: list[str], run: Run, tmp_path: Path
) -> None:
    """Whatever is wrong with a command line or a file, the message names it without the secret."""
    gateway = {"thingsboard": {"host": "local host", "security": {"accessToken": TOKEN}}}
    (tmp_path / "tb_gateway.json").write_text(json.dumps(gateway) + "}")
    target = '[[targets]]\ntarget = "localhost"\n'
    (tmp_path / "in-clear.toml").write_text(f'{target}token = "{TOKEN}"\n')
    (tmp_path / "unknown-key.toml").write_text(f'{target}tokn = "{TOKEN}"\n')
    (tmp_path / "token").write_text(TOKEN)
    assert run(*words).code == 2


def test_an_error_of_ours_does_not_repeat_a_secret(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TBDIAG_DEBUG=1 the traceback of our own failure is shown, the token in it is not."""

    def broken(*_: object, **__: object) -> Report:
        raise RuntimeError(f"cannot send {TOKEN!r} nor {PASSWORD!r}")

    monkeypatch.setattr("tbdiag.pipeline.check", broken)
    done = run("check", "localhost:1", "--cafile", "public")
    assert done.code == 3
    assert "Traceback" in done.err


def test_a_crash_in_a_stage_does_not_repeat_a_secret(
    run: Run, stand: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception inside a check is status error, told without its text."""

    def broken(*_: object) -> None:
        raise RuntimeError(f"cannot send {TOKEN}")

    monkeypatch.setattr("tbdiag.checks._mqtt_session.Session.__init__", broken)
    assert run("check", *stand[1]).code == 3


def test_a_client_key_and_its_passphrase_stay_where_they_are(tmp_path: Path, run: Run) -> None:
    """Neither the private key nor a line of its file is in a report, loaded or refused."""
    device = ROOT.issue_client()
    (tmp_path / "device.pem").write_bytes(device.pem())
    plain = device.key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD.encode())
    )
    for key in (device.key_pem(), plain):
        (tmp_path / "device.key").write_bytes(key)
        lines = [line for line in key.decode().splitlines() if "-----" not in line]
        with Broker([DEVICE], tls=Tls(ISSUED)) as broker:
            cafile = target_of(broker, tmp_path).cafile[0]
            words = ["check", f"localhost:{broker.port}", "--cafile", cafile, "--no-compare-web"]
            done = run(*words, "--cert", "device.pem", "--key", "device.key", "-f", "json")
            done_in_ca = run(*words[:2], "--cafile", "device.key", "-f", "json", "--no-compare-web")
        for shown in (done, done_in_ca):
            assert not [line for line in lines if line in shown.out + shown.err]


def test_a_token_file_that_others_can_read_earns_a_warning(
    run: Run, stand: tuple[str, list[str]], tmp_path: Path
) -> None:
    """Mode 644 is told with its repair, mode 600 is not."""
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o644)
    warned = run("check", *stand[1], "--token-file", str(path))
    path.chmod(0o600)
    quiet = run("check", *stand[1], "--token-file", str(path))
    assert f"others can read the token file {path}: run chmod 600 on it" in warned.err
    assert "others can read" not in quiet.err
    assert (warned.code, quiet.code) == (0, 0), warned.out


def test_a_token_in_the_arguments_earns_a_hint(
    run: Run, stand: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process list shows it: token.in-arguments."""
    monkeypatch.delenv("TBDIAG_PASSWORD")
    assert "token.in-arguments" in run("check", *stand[1], "-u", TOKEN, "-f", "json").out


@pytest.mark.parametrize("format_id", FORMATS)
def test_insecure_is_loud_in_every_format(format_id: str, tmp_path: Path) -> None:
    """A report of a run with --insecure says so, and is never green."""
    other = Authority.root("Other")
    with Broker([DEVICE], tls=Tls(other.issue_server())) as broker:
        target = target_of(broker, tmp_path, credentials=credentials())
        report = check(target, Options(timeout=4, compare_web=False, insecure=True))
    shown = render(report, format_id).lower()
    assert report.stage("mqtt.connect").status == "ok"
    assert report.verdict == "failed"
    assert "insecure" in shown
    if format_id == "prometheus":
        assert any(
            line.startswith("tbdiag_insecure") and line.endswith(" 1")
            for line in shown.splitlines()
        )


SENT: dict[str, Callable[[], tuple[Server, dict[str, Any]]]] = {
    "a TLS port that turns out plain": lambda: (Broker([DEVICE]), {}),
    "a server of another CA": lambda: (
        Broker([DEVICE], tls=Tls(Authority.root("Other").issue_server())),
        {},
    ),
    "a server of another name": lambda: (
        Broker([DEVICE], tls=Tls(ROOT.issue_server("elsewhere.test"))),
        {},
    ),
    "an https API of another CA": lambda: (
        HttpApi(tls=Tls(Authority.root("Other").issue_server())),
        {"api": "https"},
    ),
    "an https API of another name": lambda: (
        HttpApi(tls=Tls(ROOT.issue_server("elsewhere.test"))),
        {"api": "https"},
    ),
    "an https API that turns out plain": lambda: (HttpApi(), {"api": "https"}),
    "an https device API of another CA": lambda: (
        HttpApi(tls=Tls(Authority.root("Other").issue_server())),
        {"transport": Transport.HTTPS},
    ),
    "an https device API that turns out plain": lambda: (
        HttpApi(),
        {"transport": Transport.HTTPS},
    ),
}


@pytest.mark.parametrize("place", SENT)
def test_the_token_is_not_sent_to(place: str, tmp_path: Path) -> None:
    """A server that is not verified, or not encrypted as was asked, never receives the token."""
    server, how = SENT[place]()
    with server, Broker([DEVICE], tls=Tls(ISSUED)) as good:
        host = good if "api" in how else server
        url = f"https://localhost:{server.port}" if "api" in how else None
        target = target_of(
            host,
            tmp_path,
            credentials=credentials(),
            http_url=url,
            transport=how.get("transport", Transport.MQTTS),
        )
        report = check(target, Options(timeout=4, compare_web=False))
        seen = server.received_bytes()
        assert seen, "the server was asked"
        assert not [form for form in forms_of([TOKEN]) if form.encode() in seen]
        assert report.verdict != "error"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_redirect_never_carries_the_token_away(scheme: str, tmp_path: Path) -> None:
    """Neither http.token nor the CA download follows a redirect with a token or a credential."""
    with HttpApi() as thief, Broker([DEVICE], tls=Tls(ISSUED)) as broker:
        where = Redirect(f"http://localhost:{thief.port}/steal")
        with HttpApi(tls=Tls(ISSUED) if scheme == "https" else None, faults=[where]) as api:
            target = target_of(broker, tmp_path, credentials=credentials(), http_url=api.url)
            report = check(target, Options(timeout=4, compare_web=False))
            assert report.stage("http.token").status == "warning"
        seen = thief.received_bytes()
        assert not [form for form in forms_of([TOKEN]) if form.encode() in seen]
        assert b"authorization" not in seen.lower()


def test_no_module_starts_a_process() -> None:
    """Nothing in tbdiag runs another program: no command line of ours can show a secret."""
    forbidden = {"subprocess", "pty", "multiprocessing", "asyncio.subprocess"}
    calls = re.compile(r"os\.(system|popen|exec|spawn|fork|posix_spawn)|setproctitle|shell=True")
    for path in Path(tbdiag.__file__).parent.rglob("*.py"):
        text = path.read_text()
        assert not calls.search(text), path
        imports = (line.split() for line in text.splitlines() if "import " in line)
        assert not [words for words in imports if forbidden & set(words)], path


def test_a_secret_is_masked_whole_cut_quoted_and_in_hexadecimal() -> None:
    """The mask finds every form that is longer than half of the secret, and spares other text."""
    mask = masking(forms_of([TOKEN]))
    assert mask
    half = TOKEN[: len(TOKEN) // 2 + 1]
    for text in (TOKEN, f"«{TOKEN}»", half, f"{half}…", f"b'{half}'", TOKEN.encode().hex(" ")):
        assert_absent(mask(text), text)
    for text in ("C4nary", "the canary", TOKEN[:5], "x" * 3000, ""):
        assert mask(text) == text


def test_the_process_list_shows_no_token_from_the_environment(
    run: Run, stand: tuple[str, list[str]]
) -> None:
    """tbdiag never writes the token into its own arguments."""
    path = Path("/proc/self/cmdline")
    if not path.exists():
        pytest.skip("this system shows no command lines as files")
    run("check", *stand[1])
    assert_absent(path.read_bytes().decode("latin-1"), "cmdline")
    assert os.environ["TBDIAG_TOKEN"] == TOKEN


def test_the_exporter_shows_no_secret(
    stand: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics, the status page and a probe with debug of a broker that echoes the token."""
    pytest.importorskip("prometheus_client")
    testclient = pytest.importorskip("starlette.testclient")
    from tbdiag.fleet.config import load_fleet
    from tbdiag.fleet.exporter import Exporter
    from tbdiag.fleet.watch import Watcher
    from tbdiag.fleet.work import Settings

    monkeypatch.setenv("TBDIAG_TOKEN", TOKEN)
    cafile, words = stand
    file = tmp_path / "fleet.toml"
    file.write_text(
        f'[[targets]]\nname = "one"\ntarget = "{words[0]}"\ncafile = "{cafile}"\n'
        'token = "${TBDIAG_TOKEN}"\n'
    )
    exporter = Exporter()
    with Watcher(load_fleet(file), Settings(), 300.0, None, exporter.seen) as watcher:
        client = testclient.TestClient(exporter.app(watcher))
        assert "probe_success 1\n" in client.get("/probe?target=one").text
        for path in ("/probe?target=one", "/probe?target=one&debug=true", "/metrics", "/"):
            assert_absent(client.get(path).text, path)
