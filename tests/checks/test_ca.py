"""checks.ca: loading trust anchors from files, stdin and HTTP, with everything bounded."""

import io
import os
import ssl
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tbdiag.checks import ca
from tbdiag.checks._download import MAX_BYTES, checked_url, download
from tbdiag.checks._platform_ca import download_url
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.errors import UsageError
from tbdiag.model import Options, Target, Transport
from tbdiag.sandbox.authority import Authority

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ROOT = Authority.root("Root")
PATH = "/api/device-connectivity/mqtts/certificate/download"
NOT_FOUND = b'{"status":404,"message":"mqtts pem cert file is not found!"}'


def load(*cafile, host="broker.test", http_url=None, seconds=5.0, options=None, transport="mqtts"):
    target = Target(host, None, Transport(transport), cafile=cafile, http_url=http_url)
    return ca.load(Run(target, options or Options(), NOW, Deadline.after(seconds)))


def only_problem(observation, where="sources"):
    (source,) = getattr(observation.evidence, where)
    return source.problems[0]


@contextmanager
def http_server(respond, certificate=None, folder=None):
    """A server on loopback that calls `respond(handler)` for every GET; yields its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                respond(self)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                self.close_connection = True

        def log_message(self, *_args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    scheme = "http"
    if certificate:
        (folder / "web.pem").write_bytes(certificate.chain_pem())
        (folder / "web.key").write_bytes(certificate.key_pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "web.pem", folder / "web.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"{scheme}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def answer(status=200, body=b"", headers=()):
    def respond(handler):
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def test_a_file_is_loaded_without_httpx(tmp_path):
    """A path gives its certificates, in a summary that names the first to expire."""
    (tmp_path / "ca.pem").write_bytes(ROOT.pem())
    observation = load(str(tmp_path / "ca.pem"))
    assert observation.passed
    assert observation.evidence.certificates[0].name == "Root"
    assert observation.summary.startswith("1 certificate from ")
    assert observation.summary.endswith("(Root)")


def test_several_files_are_all_loaded(tmp_path):
    """Each source is reported on its own; one missing file does not hide the other."""
    (tmp_path / "a.pem").write_bytes(ROOT.pem())
    observation = load(str(tmp_path / "a.pem"), str(tmp_path / "b.pem"))
    assert observation.passed
    assert [len(s.certificates) for s in observation.evidence.sources] == [1, 0]
    assert observation.evidence.sources[1].problems[0].kind == "file-not-found"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("missing.pem", "file-not-found"), ("", "file-unreadable"), ("a\0b", "file-unreadable")],
)
def test_a_path_that_cannot_be_read_is_a_problem(tmp_path, name, kind):
    """A missing file, a folder and an impossible name are told apart, without a traceback."""
    observation = load(str(tmp_path / name) if name != "a\0b" else name)
    assert not observation.passed
    assert only_problem(observation).kind == kind


def test_a_pipe_that_nobody_writes_into_is_a_problem(tmp_path):
    """It is named at the deadline, instead of holding up this check and, in a fleet, all others."""
    os.mkfifo(tmp_path / "pipe")
    observation = load(str(tmp_path / "pipe"), seconds=0.05)
    os.close(os.open(tmp_path / "pipe", os.O_WRONLY))  # lets the thread go that was left behind
    assert not observation.passed
    assert only_problem(observation).kind == "file-unreadable"
    assert "nothing came" in only_problem(observation).detail


def test_a_pipe_is_read_to_its_end(tmp_path):
    """As with --cafile <(curl …)."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(ROOT.pem()))
    writer.start()
    observation = load(str(tmp_path / "pipe"))
    writer.join()
    assert observation.passed


def test_standard_input_without_an_end_is_a_problem(monkeypatch):
    """Someone forgot to redirect it: that is said at the deadline."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "w"):
        monkeypatch.setattr(sys, "stdin", stdin)
        observation = load("-", seconds=0.05)
        os.write(writing, b"x")
    assert only_problem(observation).kind == "file-unreadable"


def test_stdin_is_read_for_a_dash(monkeypatch):
    """`-` reads the CA file from standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ROOT.pem())))
    observation = load("-")
    assert observation.evidence.described == "standard input"
    assert observation.passed


def test_public_roots_are_loaded_by_name():
    """`public` is the bundle of public roots."""
    observation = load("public")
    assert observation.evidence.public
    assert len(observation.evidence.certificates) > 50


def test_a_url_is_downloaded():
    """An http:// URL that the user typed is fetched and read."""
    with http_server(answer(body=ROOT.pem())) as base:
        observation = load(f"{base}/ca.pem")
    (source,) = observation.evidence.sources
    assert (source.origin, source.http_status) == ("download", 200)
    assert observation.passed


def test_auto_uses_the_platforms_download():
    """With an HTTP base `auto` takes the CA that ThingsBoard offers there."""
    paths = []

    def respond(handler):
        paths.append(handler.path)
        answer(body=ROOT.pem())(handler)

    with http_server(respond) as base:
        observation = load("auto", http_url=base)
    assert paths == [PATH]
    assert not observation.evidence.public
    assert observation.evidence.certificates[0].name == "Root"


@pytest.mark.parametrize(
    ("respond", "kind", "words"),
    [
        (answer(404, NOT_FOUND), "download-not-configured", "mqtts pem cert file is not found!"),
        (answer(401, b'{"message":"Authentication failed"}'), "download-failed", "HTTP 401"),
        (answer(404, b"<html>nginx</html>"), "download-failed", "HTTP 404 with an HTML page"),
        (answer(200, b"<!DOCTYPE html><html>app</html>"), "not-a-certificate", "an HTML page"),
        (answer(200), "empty", "it is empty"),
        (answer(200, b"x" * (MAX_BYTES + 1)), "download-failed", "longer than 1024 KiB"),
        (answer(302, headers=[("Location", "/again")]), "download-failed", "more than 3 redirects"),
        (answer(302, headers=[("Location", "file:///etc/passwd")]), "download-failed", "not HTTP"),
    ],
)
def test_auto_falls_back_to_the_public_roots(respond, kind, words):
    """What the platform answers instead of a CA is kept as an attempt, in words."""
    with http_server(respond) as base:
        observation = load("auto", http_url=base)
    problem = only_problem(observation, "attempts")
    assert problem.kind == kind
    assert words in problem.detail
    assert observation.evidence.public


def test_a_redirect_is_followed():
    """One redirect on the same host leads to the certificate."""

    def respond(handler):
        moved = answer(302, headers=[("Location", "/there")])
        (answer(body=ROOT.pem()) if handler.path == "/there" else moved)(handler)

    with http_server(respond) as base:
        observation = load(f"{base}/here")
    assert observation.evidence.sources[0].location == f"{base}/there"


@pytest.fixture
def web_root(monkeypatch, tmp_path):
    """A root that stands in for the public ones, for HTTPS on loopback."""
    root = Authority.root("Web Root")
    (tmp_path / "roots.pem").write_bytes(root.pem())
    monkeypatch.setattr("tbdiag.checks._download.bundle_path", lambda: tmp_path / "roots.pem")
    return root


def test_https_is_verified(tmp_path, web_root):
    """A server whose certificate the public roots verify may offer a CA, another may not."""
    stranger = Authority.root("Stranger").issue_server("127.0.0.1")
    known = web_root.issue_server("127.0.0.1")
    with http_server(answer(body=ROOT.pem()), known, tmp_path) as base:
        assert load(f"{base}/ca.pem").passed
    with http_server(answer(body=ROOT.pem()), stranger, tmp_path) as base:
        observation = load(f"{base}/ca.pem")
    assert "not trusted by the public roots" in only_problem(observation).detail


def test_https_never_redirects_to_http(tmp_path, web_root):
    """A redirect that leaves encryption is refused."""
    respond = answer(302, headers=[("Location", "http://127.0.0.1:1/ca.pem")])
    with http_server(respond, web_root.issue_server("127.0.0.1"), tmp_path) as base:
        observation = load(f"{base}/ca.pem")
    assert "from https to http" in only_problem(observation).detail


def drip(handler):
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def drip_body(handler):
    handler.send_response(200)
    handler.end_headers()
    drip(handler)


@pytest.mark.parametrize("respond", [drip, drip_body, lambda handler: time.sleep(1)])
def test_the_deadline_holds_against_a_dripping_server(respond):
    """A server that drips its headers or body, or is silent, costs no more than the deadline."""
    with http_server(respond) as base:
        started = time.monotonic()
        observation = load(f"{base}/ca.pem", seconds=0.4)
        elapsed = time.monotonic() - started
    assert only_problem(observation).kind == "download-failed"
    assert elapsed < 0.9


def test_nothing_listening_is_a_failed_download():
    """A refused connection is named as such."""
    with http_server(answer()) as base:
        pass
    assert "refused" in only_problem(load(f"{base}/ca.pem")).detail


def test_no_credentials_cookies_or_environment_proxy_are_used(monkeypatch):
    """The request carries neither Authorization nor Cookie, and ignores HTTP_PROXY."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    seen = []

    def respond(handler):
        seen.append(set(map(str.lower, handler.headers.keys())))
        answer(body=ROOT.pem())(handler)

    with http_server(respond) as base:
        assert load(f"{base}/ca.pem").passed
    assert not seen[0] & {"authorization", "cookie"}


@pytest.mark.parametrize(
    "url", ["https://user:secret@h/ca.pem", "https://", "https://h:99999/x", "https://[::1/x"]
)
def test_an_unusable_url_is_a_usage_error_without_secrets(url):
    """The message never repeats a password of the URL."""
    with pytest.raises(UsageError) as caught:
        checked_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "http_url", "transport", "expected"),
    [
        ("mqtt.example.org", None, "mqtts", f"https://mqtt.example.org{PATH}"),
        ("x", "http://10.0.0.1:8080/", "mqtts", f"http://10.0.0.1:8080{PATH}"),
        (
            "mqtt.example.org",
            None,
            "coaps",
            f"https://mqtt.example.org{PATH}".replace("mqtts", "coaps"),
        ),
        ("mqtt.example.org", None, "https", None),
        ("192.0.2.1", None, "mqtts", None),
        ("2001:db8::1", None, "mqtts", None),
        ("localhost", None, "mqtts", None),
        ("tb.local", None, "mqtts", None),
        ("gateway", None, "mqtts", None),
    ],
)
def test_where_the_platform_is_asked(host, http_url, transport, expected):
    """The given base, else https:// and a public host name; nothing is guessed for the rest."""
    assert download_url(Target(host, None, Transport(transport), http_url=http_url)) == expected


def test_download_reports_the_url_after_redirects():
    """The answer names the URL that gave it."""
    with http_server(answer(body=b"hello")) as base:
        got = download(f"{base}/x", Deadline.after(3))
    assert (got.url, got.status, got.body, got.failure) == (f"{base}/x", 200, b"hello", None)
