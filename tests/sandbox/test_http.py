"""The sandbox's HTTP API answers as ThingsBoard's, and misbehaves as told."""

from __future__ import annotations

import ssl
import threading
import time

import httpx
import pytest

from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.http import (
    CA_DOWNLOAD,
    COAPS_DOWNLOAD,
    Answer,
    HttpApi,
    HttpFault,
    HugeBody,
    NoAnswer,
    Redirect,
    SlowBody,
    html_page,
)
from tbdiag.sandbox.profile import DEFAULT_TOKEN, PROFILES, Device, Platform

ROOT = Authority.root()
MINE = f"/api/v1/{DEFAULT_TOKEN}"


def get(api: HttpApi, path: str, **options: object) -> httpx.Response:
    return httpx.get(api.url + path, timeout=20, trust_env=False, **options)  # type: ignore[arg-type]


def post(api: HttpApi, path: str, body: str) -> httpx.Response:
    return httpx.post(api.url + path, content=body, timeout=20, trust_env=False)


def test_attributes() -> None:
    """Attributes posted are read back, all or by key, and {} when there are none."""
    platform = Platform([Device(token=DEFAULT_TOKEN, attributes={"rate": 5})])
    with HttpApi(platform) as api:
        assert get(api, f"{MINE}/attributes?clientKeys=model").json() == {}
        answer = post(api, f"{MINE}/attributes", '{"model":"X"}')
        assert (answer.status_code, answer.content) == (200, b"")
        everything = {"client": {"model": "X"}, "shared": {"rate": 5}}
        assert get(api, f"{MINE}/attributes").json() == everything
        assert get(api, f"{MINE}/attributes?sharedKeys=rate").json() == {"shared": {"rate": 5}}


def test_telemetry_is_shared_with_the_broker() -> None:
    """Telemetry posted by HTTP is seen by the broker on the same platform."""
    with Broker() as broker, HttpApi(broker.platform) as api:
        answer = post(api, f"{MINE}/telemetry", "{temperature:25}")
        assert (answer.status_code, answer.content) == (200, b"")
        assert broker.telemetry == ({"temperature": 25},)


@pytest.mark.parametrize("profile", ["default", "coap"])
def test_the_profile_s_transport_does_not_matter(profile: str) -> None:
    """HTTP lets a device of another transport in, which MQTT refuses."""
    with HttpApi(Platform([Device(token=DEFAULT_TOKEN, profile=PROFILES[profile])])) as api:
        assert get(api, f"{MINE}/attributes").status_code == 200


def test_bad_token_is_401_with_an_empty_body() -> None:
    """An unknown token is 401 with nothing in it."""
    with HttpApi() as api:
        answer = get(api, "/api/v1/wrong/attributes")
        assert (answer.status_code, answer.content) == (401, b"")


def test_bad_json_is_500_with_the_parser_s_words() -> None:
    """Invalid JSON is 500 with a message."""
    with HttpApi() as api:
        answer = post(api, f"{MINE}/telemetry", "hello world")
        assert answer.status_code == 500
        assert "not JSON" in answer.text


PROVISION = '{"provisionDeviceKey":"provisionKey","provisionDeviceSecret":"provisionSecret"}'


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"{MINE}/attributes/updates?timeout=20", "", 408),
        ("GET", f"{MINE}/rpc?timeout=20", "", 408),
        ("POST", f"{MINE}/rpc/7", "{}", 200),
        ("POST", f"{MINE}/rpc/7", '{"a":"' + "x" * 65_536 + '"}', 413),
        ("POST", f"{MINE}/claim", "", 200),
        ("POST", f"{MINE}/telemetry", "", 500),
        ("GET", f"{MINE}/telemetry", "", 405),
        ("GET", f"{MINE}/firmware?title=t&version=1", "", 404),
        ("POST", "/api/v1/provision", PROVISION, 200),
        ("POST", "/api/v1/provision", "nothing", 500),
        ("GET", "/api/v1/wrong/rpc?timeout=20", "", 401),
    ],
)
def test_the_rest_of_the_device_api(method: str, path: str, body: str, status: int) -> None:
    """Long polls end with 408, too large is 413, an unknown token 401 everywhere."""
    with HttpApi() as api:
        answer = httpx.request(
            method, api.url + path, content=body or None, timeout=20, trust_env=False
        )
    assert answer.status_code == status


def test_a_provisioned_device_is_known_at_once() -> None:
    """The token that provisioning gives is accepted by HTTP, as the documentation promises."""
    with HttpApi() as api:
        token = post(api, "/api/v1/provision", PROVISION).json()["credentialsValue"]
        assert get(api, f"/api/v1/{token}/attributes").status_code == 200


def test_the_download_for_coaps() -> None:
    """The CA file of CoAP over DTLS has a path of its own, and the 404 names the protocol."""
    with HttpApi(ca_file=ROOT.pem()) as api:
        assert get(api, COAPS_DOWNLOAD).content == ROOT.pem()
    with HttpApi() as api:
        answer = get(api, COAPS_DOWNLOAD)
    assert answer.json()["message"] == "coaps pem cert file is not found!"


def test_ca_download() -> None:
    """The CA file comes without login, with ThingsBoard's headers."""
    with HttpApi(ca_file=ROOT.pem()) as api:
        answer = get(api, CA_DOWNLOAD)
    assert (answer.status_code, answer.content) == (200, ROOT.pem())
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment;filename=ca-root.pem"


@pytest.mark.parametrize(
    ("before_3_6", "status", "message"),
    [(False, 404, "mqtts pem cert file is not found!"), (True, 401, "Authentication failed")],
)
def test_ca_download_is_not_there(before_3_6: bool, status: int, message: str) -> None:
    """Not configured is a 404 in JSON; a server before 3.6 wants a login."""
    with HttpApi(before_3_6=before_3_6) as api:
        answer = get(api, CA_DOWNLOAD)
        assert (answer.status_code, answer.json()["message"]) == (status, message)


def test_unknown_paths_are_the_web_page() -> None:
    """A path outside the API is 200 with the application's page."""
    with HttpApi() as api:
        answer = get(api, "/nothing/here")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
        assert get(api, "/api/system/info").status_code == 401


def test_https() -> None:
    """The same over TLS, to a client that verifies."""
    context = ssl.create_default_context(cadata=ROOT.pem().decode())
    with HttpApi(tls=Tls(ROOT.issue_server(), client_certificate="none")) as api:
        assert get(api, f"{MINE}/attributes", verify=context).status_code == 200
        assert MINE.encode() in api.received_bytes()
        assert api.requests[0].path == f"{MINE}/attributes"


def test_one_connection_carries_many_requests() -> None:
    """Keep-alive works, so that a client need not connect again."""
    with HttpApi() as api, httpx.Client(base_url=api.url, trust_env=False) as client:
        for _ in range(3):
            assert client.get(f"{MINE}/attributes").status_code == 200
        assert len(api.connections) == 1


def test_redirect_loop() -> None:
    """A redirect to itself never ends."""
    with HttpApi(faults=[Redirect()]) as api, pytest.raises(httpx.TooManyRedirects):
        get(api, CA_DOWNLOAD, follow_redirects=True)


def test_redirect_elsewhere() -> None:
    """A redirect leads where it says."""
    with HttpApi(ca_file=ROOT.pem()) as target:
        fault = Redirect(target.url + CA_DOWNLOAD, 301)
        with HttpApi(faults=[fault]) as api:
            assert get(api, "/x", follow_redirects=True).content == ROOT.pem()


@pytest.mark.parametrize("declared", [True, False])
def test_huge_body(declared: bool) -> None:
    """A huge body is as long as it says, announced or not."""
    with HttpApi(faults=[HugeBody(3_000_000, declared)]) as api:
        answer = get(api, CA_DOWNLOAD)
        assert len(answer.content) == 3_000_000
        assert ("content-length" in answer.headers) is declared


def test_answer_for_a_path() -> None:
    """One path can be made to answer with a page where a file should be."""
    with HttpApi(faults=[Answer(html_page(), CA_DOWNLOAD)]) as api:
        assert get(api, CA_DOWNLOAD).headers["content-type"] == "text/html"
        assert get(api, f"{MINE}/attributes").json() == {}


def test_slow_body() -> None:
    """A slow body arrives whole in the end."""
    with HttpApi(ca_file=b"slow", faults=[SlowBody(0.001)]) as api:
        assert get(api, CA_DOWNLOAD).content == b"slow"


@pytest.mark.parametrize("fault", [SlowBody(600), NoAnswer(), HugeBody()], ids=repr)
def test_a_waiting_fault_ends_with_the_server(fault: HttpFault) -> None:
    """A client that waits for its body does not hold up the server's end."""
    before = threading.active_count()
    with HttpApi(ca_file=ROOT.pem(), faults=[fault]) as api:
        asked = httpx.stream("GET", api.url + CA_DOWNLOAD, timeout=20, trust_env=False)
        with asked as answer:
            assert answer.status_code == 200
            began = time.monotonic()
            api.stop()
            assert time.monotonic() - began < 1
    assert threading.active_count() == before
