"""Every stage through a proxy: it resolves, it relays, and it learns nothing it need not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tbdiag import Options, Report, Secret, Target, Transport, check
from tbdiag.checks import tls
from tbdiag.evidence import TcpEvidence
from tbdiag.fact import replace
from tbdiag.model import Credentials
from tbdiag.report import FORMATS, render
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Connection, Tls
from tbdiag.sandbox.http import HttpApi
from tbdiag.sandbox.profile import DEFAULT_TOKEN
from tbdiag.sandbox.proxy import HttpProxy, SocksProxy

ROOT = Authority.root()
HOST = "mqtt.inside.test"
HOSTS = {HOST: "127.0.0.1"}
SERVER = Tls(ROOT.issue_server(HOST))
KINDS = pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
Kind = type[HttpProxy] | type[SocksProxy]


@pytest.fixture
def cafile(tmp_path: Path) -> tuple[str]:
    (tmp_path / "ca.pem").write_bytes(ROOT.pem())
    return (str(tmp_path / "ca.pem"),)


def device(port: int, **changes: object) -> Target:
    credentials = Credentials(token=Secret(DEFAULT_TOKEN))
    return Target(HOST, port, **{"credentials": credentials, **changes})  # type: ignore[arg-type]


def diagnose(target: Target, proxy: str, **options: object) -> Report:
    given = {"compare_web": False, "timeout": 10.0, **options}
    return check(target, Options(proxy=proxy, **given))  # type: ignore[arg-type]


@KINDS
def test_mqtts_passes_and_the_proxy_sees_no_token(kind: Kind, cafile: tuple[str]) -> None:
    """Every stage is ok through the tunnel, in which everything is TLS."""
    with Broker(tls=SERVER) as broker, kind(hosts=HOSTS) as proxy:
        report = diagnose(device(broker.port, cafile=cafile), proxy.url)
        assert DEFAULT_TOKEN.encode() not in proxy.received_bytes()
        assert set(proxy.requests) == {(HOST, broker.port)}
    assert report.primary is None
    assert report.stage("dns.resolve").status == "not-applicable"
    assert report.stage("mqtt.attributes").status == "ok"
    assert report.stage("tcp.connect").evidence.via_proxy == proxy.url


@KINDS
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_plain_mqtt_passes(kind: Kind, version: str) -> None:
    """A plain port is reached through the tunnel too, in both versions."""
    with Broker() as broker, kind(hosts=HOSTS) as proxy:
        target = device(broker.port, transport=Transport.MQTT)
        report = diagnose(target, proxy.url, mqtt_version=version)
        assert broker.telemetry == ({"temperature": 25},)
    assert report.primary is None


@KINDS
@pytest.mark.parametrize("tls_api", [True, False])
def test_the_token_is_proven_through_it(kind: Kind, tls_api: bool, cafile: tuple[str]) -> None:
    """http.token asks through the same proxy; over HTTPS the proxy does not see the token."""
    secure = Tls(ROOT.issue_server("localhost", HOST)) if tls_api else None
    with (
        Broker(tls=SERVER) as broker,
        kind(hosts=HOSTS) as proxy,
        HttpApi(broker.platform, tls=secure) as api,
    ):
        url = api.url.replace("localhost", HOST)
        target = device(broker.port, cafile=cafile, http_url=url)
        report = diagnose(target, proxy.url)
        assert (HOST, api.port) in proxy.requests
        assert (DEFAULT_TOKEN.encode() in proxy.received_bytes()) is not tls_api
    assert report.stage("http.token").evidence.status == 200
    assert report.primary is None


def test_a_refused_proxy_refuses_the_http_api_too(cafile: tuple[str]) -> None:
    """Nothing goes around a proxy that refuses: neither MQTT nor HTTP reaches its server."""
    with Broker(tls=SERVER) as broker, HttpApi(broker.platform, tls=SERVER) as api:
        with HttpProxy(refusal=403) as proxy:
            target = device(broker.port, cafile=cafile, http_url=api.url)
            report = diagnose(target, proxy.url)
        assert (broker.log, api.requests) == ((), [])
    assert report.primary == "tcp.proxy-refused"
    assert report.root_cause
    assert "443 only" in report.root_cause.cause
    assert "the proxy refused: 403" in report.stage("http.token").summary


def test_a_wrong_ca_behind_a_proxy_keeps_the_token_home(cafile: tuple[str]) -> None:
    """The second connection verifies as the first does: through a proxy nothing is skipped."""
    stranger = Tls(Authority.root("Stranger").issue_server(HOST))
    with Broker(tls=stranger) as broker, HttpProxy(hosts=HOSTS) as proxy:
        report = diagnose(device(broker.port, cafile=cafile), proxy.url)
        assert broker.connects == ()
        assert DEFAULT_TOKEN.encode() not in proxy.received_bytes() + broker.received_bytes()
    assert report.stage("mqtt.connect").blocked_by == "tls.verify"


def test_plain_mqtt_behind_it_is_told_from_tls(cafile: tuple[str]) -> None:
    """A server that closes on ClientHello is asked again through the proxy, without the token."""
    with Broker() as broker, SocksProxy(hosts=HOSTS) as proxy:
        report = diagnose(device(broker.port, cafile=cafile), proxy.url)
        assert [c.username for c in broker.connects] == [None]
        assert DEFAULT_TOKEN.encode() not in proxy.received_bytes()
    assert report.primary == "tls.plaintext-port"


def test_a_stale_tunnel_is_replaced(cafile: tuple[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that waited too long is opened again, through the proxy as well."""
    monkeypatch.setattr(tls, "STALE_SECONDS", -1.0)
    with Broker(tls=SERVER) as broker, HttpProxy(hosts=HOSTS) as proxy:
        assert diagnose(device(broker.port, cafile=cafile), proxy.url).primary is None
        assert len(proxy.requests) >= 3


class Echo(HttpProxy):
    """A proxy that repeats in its refusal what it was sent."""

    def serve(self, connection: Connection) -> None:
        head = connection.read().decode()
        login = head.partition("Basic ")[2].partition("\r\n")[0]
        connection.write(f"HTTP/1.1 403 you are {login}\r\n\r\n".encode())


@pytest.mark.parametrize("format_id", FORMATS)
def test_the_login_is_in_no_output(format_id: str, cafile: tuple[str]) -> None:
    """Not as typed, not decoded, not as a header carries it, even when the proxy echoes it."""
    with Echo() as proxy:
        url = proxy.url.replace("://", "://someone:pass%25word@")
        report = diagnose(device(8883, cafile=cafile), url)
    shown = str(render(report, format_id))
    assert report.primary == "tcp.proxy-refused"
    for secret in ("pass%word", "pass%25word", "c29tZW9uZTpwYXNzJXdvcmQ="):
        assert secret not in shown
        assert secret not in repr(report.findings) + repr(report.stages)


def test_a_host_that_is_no_name_is_not_asked_for(cafile: tuple[str]) -> None:
    """A line break in the host never becomes a header of the request."""
    with HttpProxy() as proxy:
        target = replace(device(8883, cafile=cafile), host="a\r\nX-Evil: 1")
        report = diagnose(target, proxy.url)
        assert proxy.connections == []
    assert report.primary == "dns.invalid-name"


def test_the_attempts_are_those_to_the_proxy(cafile: tuple[str]) -> None:
    """The evidence names the proxy's address that was dialled, and the server by name."""
    with Broker(tls=SERVER) as broker, HttpProxy(hosts=HOSTS) as proxy:
        report = diagnose(device(broker.port, cafile=cafile), proxy.url, connect=False)
    seen = report.stage("tcp.connect").evidence
    assert isinstance(seen, TcpEvidence)
    assert [(a.address, a.port, a.outcome) for a in seen.attempts] == [
        ("127.0.0.1", proxy.port, "connected")
    ]
    assert (seen.connected, seen.proxy_outcome) == (HOST, "tunnel")
