"""ca_commands.fetch: download, prove, write; the old file stays on any failure."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tbdiag.ca_commands.fetch import fetch
from tbdiag.errors import UsageError
from tbdiag.model import Target, Verdict
from tbdiag.sandbox.authority import Authority

ROOT = Authority.root("Root")
PATH = "/api/device-connectivity/mqtts/certificate/download"


@contextmanager
def platform(status, body):
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", paths
    finally:
        server.shutdown()
        server.server_close()


def test_the_platforms_download_is_written(tmp_path):
    """The CA is asked for under ThingsBoard's path and written as plain PEM."""
    output = tmp_path / "ca.pem"
    with platform(200, b"My root\n" + ROOT.pem()) as (base, paths):
        report = fetch(Target("broker.test", http_url=base), output)
    assert paths == [PATH]
    assert report.verdict is Verdict.OK
    assert report.written == str(output)
    assert output.read_bytes() == ROOT.pem()


def test_a_url_is_fetched_as_it_is():
    """Without an output file the certificates are only reported."""
    with platform(200, ROOT.pem()) as (base, paths):
        report = fetch(f"{base}/root.pem")
    assert paths == ["/root.pem"]
    assert report.written is None
    assert [c.name for c in report.certificates] == ["Root"]


@pytest.mark.parametrize(
    ("status", "body", "primary"),
    [
        (404, b'{"message":"mqtts pem cert file is not found!"}', "ca.download-not-configured"),
        (200, b"<!doctype html><html></html>", "ca.not-a-certificate"),
        (200, b"", "ca.empty"),
        (200, ROOT.pem()[:200], "ca.corrupt-pem"),
        (500, b'{"message":"oops"}', "ca.download-failed"),
        (401, b"", "ca.download-failed"),
    ],
)
def test_the_old_file_stays_on_any_failure(tmp_path, status, body, primary):
    """A page, an error or a cut file never replaces what is there."""
    output = tmp_path / "ca.pem"
    output.write_text("old")
    with platform(status, body) as (base, _):
        report = fetch(Target("broker.test", http_url=base), output)
    assert report.primary == primary
    assert report.written is None
    assert output.read_text() == "old"
    assert list(tmp_path.iterdir()) == [output]


def test_no_known_address_is_a_usage_error():
    """For an IP address without --http-url the message says how to give one."""
    with pytest.raises(UsageError, match="--http-url"):
        fetch(Target("192.0.2.1"))


def test_an_unwritable_output_is_a_usage_error(tmp_path):
    """A folder that does not exist is named."""
    with platform(200, ROOT.pem()) as (base, _), pytest.raises(UsageError, match="cannot write"):
        fetch(f"{base}/x", tmp_path / "no" / "ca.pem")
