"""Only the given CA file is trusted, and only for the right name, by every library tbdiag uses.

Each test puts the server's own root where a leak would take it from: the system's store as the
environment names it (SSL_CERT_FILE, SSL_CERT_DIR), and certifi's bundle.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import (
    AccessDescription,
    AuthorityInformationAccess,
    UniformResourceIdentifier,
)
from cryptography.x509.oid import AuthorityInformationAccessOID

from tbdiag import Options, Target, check
from tbdiag.checks import _mqtt_channel as channel
from tbdiag.checks._download import download
from tbdiag.clients import CLIENTS
from tbdiag.deadline import Deadline
from tbdiag.evidence import CaEvidence
from tbdiag.model import Transport
from tbdiag.protocol.ca_file import read_ca
from tbdiag.protocol.public_roots import bundle_path
from tbdiag.protocol.tls import Hello, handshake
from tbdiag.protocol.transport import dial
from tbdiag.recommend.aia import fetch_issuers
from tbdiag.sandbox.authority import Authority
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.http import Answer, HttpApi, HugeBody, Redirect, Response
from tbdiag.sandbox.profile import DEFAULT_TOKEN
from tests.chains import parsed
from tests.hostile_servers import ISSUED, ROOT, Scripted, target_of

OTHER = Authority.root("Another Root")
ELSEWHERE = ROOT.issue_server("elsewhere.test")
MIDDLE = ROOT.intermediate("Middle")
NOT_VERIFIED = 20
"""X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY."""


@pytest.fixture
def leaky(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment says that the server's root is the system's store."""
    store = tmp_path / "system.pem"
    store.write_bytes(ROOT.pem())
    hashed = tmp_path / "certs"
    hashed.mkdir()
    subject = ssl.create_default_context(cafile=str(store)).get_ca_certs()
    assert subject
    name = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", str(store)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    (hashed / f"{name or 'none'}.0").write_bytes(ROOT.pem())
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(variable, str(store))
    monkeypatch.setenv("SSL_CERT_DIR", str(hashed))


pytestmark = pytest.mark.usefixtures("leaky")


def anchors_of(*authorities: Authority) -> CaEvidence:
    data = b"".join(a.pem() for a in authorities)
    return CaEvidence((read_ca(data, "ca.pem", "file", "ca.pem"),))


def test_the_environment_does_leak_into_a_default_context() -> None:
    """The trap works: what Python builds by default trusts the server's root from it."""
    trusted = ssl.create_default_context().get_ca_certs(binary_form=True)
    assert parsed(ROOT.certificate).der in trusted


def handshaken(ca: Authority, server: Broker, name: str = "localhost") -> Any:
    deadline = Deadline.after(5)
    _, channels = dial([("IPv4", "127.0.0.1")], server.port, deadline)
    anchors = (parsed(ca.certificate).der,)
    return handshake(channels["127.0.0.1"], Hello(name, anchors), deadline)


def test_pyopenssl_trusts_the_given_root_alone() -> None:
    """The handshake of tls.handshake sees error 20 with another root, none with the right one."""
    with Broker(tls=Tls(ISSUED)) as broker:
        assert NOT_VERIFIED in [e.code for e in handshaken(OTHER, broker).verify_errors]
        assert handshaken(ROOT, broker).verify_errors == ()


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_stack_trusts_the_given_root_alone(client: str) -> None:
    """The verdicts of tls.verify: another root is refused, the right one is accepted."""
    presented, at = (parsed(ISSUED.certificate),), datetime.now(UTC)
    stack = CLIENTS[client]
    wrong = stack.decide(presented, (parsed(OTHER.certificate),), "localhost", at)
    right = stack.decide(presented, (parsed(ROOT.certificate),), "localhost", at)
    if right.verdict == "unknown":
        pytest.skip(right.reason)
    assert (wrong.verdict, right.verdict) == ("reject", "accept")


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_stack_refuses_the_right_root_with_a_wrong_name(client: str) -> None:
    """A trusted path does not drop the comparison of the name."""
    leaf, root = parsed(ELSEWHERE.certificate), parsed(ROOT.certificate)
    stack = CLIENTS[client]
    decision = stack.decide((leaf,), (root,), "localhost", datetime.now(UTC))
    if decision.verdict == "unknown":
        pytest.skip(decision.reason)
    assert decision.verdict == "reject"
    accepted = stack.decide((leaf,), (root,), "elsewhere.test", datetime.now(UTC))
    assert accepted.verdict == "accept"


def opened(server: Broker, ca: CaEvidence, name: str = "localhost") -> None:
    """The channel that paho gets."""
    target = Target("localhost", server.port, server_name=name)
    context = channel.tls_context(target, Options(), ca)
    endpoint = channel.Endpoint("127.0.0.1", server.port, name, context)
    channel.open_channel(endpoint, lambda _: None, Deadline.after(5)).close()


def test_the_channel_of_paho_trusts_the_given_root_alone() -> None:
    """The connection that carries the token is not opened to a server of another root."""
    with Broker(tls=Tls(ISSUED)) as broker:
        opened(broker, anchors_of(ROOT))
        for ca in (anchors_of(OTHER), CaEvidence(())):
            with pytest.raises(channel.ChannelFailed, match="certificate verify failed"):
                opened(broker, ca)


def test_the_channel_of_paho_refuses_a_wrong_name() -> None:
    """The right root and another name: nothing is sent."""
    with Broker(tls=Tls(ELSEWHERE)) as broker:
        opened(broker, anchors_of(ROOT), "elsewhere.test")
        with pytest.raises(channel.ChannelFailed, match="certificate verify failed"):
            opened(broker, anchors_of(ROOT))


def test_the_download_trusts_the_public_roots_alone() -> None:
    """httpx: a CA file is not downloaded from a server that only the environment trusts."""
    with HttpApi(tls=Tls(ISSUED), ca_file=ROOT.pem()) as api:
        answer = download(api.url, Deadline.after(5))
        assert "not trusted by the public roots" in (answer.failure or "")
        assert api.requests == []


def test_the_download_refuses_a_wrong_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """httpx with a public root of our own: the name is compared."""
    public = tmp_path / "public.pem"
    public.write_bytes(ROOT.pem())
    monkeypatch.setattr("tbdiag.checks._download.bundle_path", lambda: public)
    with HttpApi(tls=Tls(ELSEWHERE)) as api:
        answer = download(api.url, Deadline.after(5))
        assert "mismatch" in (answer.failure or "")
    with HttpApi(tls=Tls(ISSUED)) as api:
        assert download(api.url, Deadline.after(5)).status == 200


@pytest.mark.parametrize(
    ("issued", "ca", "known"),
    [(ISSUED, ROOT, True), (ISSUED, OTHER, False), (ELSEWHERE, ROOT, False)],
    ids=["right", "other root", "other name"],
)
def test_the_token_is_proven_to_the_given_root_and_name_alone(
    issued: Any, ca: Authority, known: bool, tmp_path: Path
) -> None:
    """http.token (httpx): the CA file's roots or the public ones, never the environment's."""
    with HttpApi(tls=Tls(issued)) as api, Broker(tls=Tls(ISSUED)) as broker:
        target = target_of(broker, tmp_path, http_url=api.url)
        (tmp_path / "ca.pem").write_bytes(ca.pem())
        report = check(target, Options(timeout=5, compare_web=False))
        assert (report.stage("http.token").evidence.status == 200) is known
        assert (DEFAULT_TOKEN.encode() in api.received_bytes()) is known


@pytest.mark.parametrize(
    ("issued", "ca", "sent"),
    [(ISSUED, ROOT, True), (ISSUED, OTHER, False), (ELSEWHERE, ROOT, False)],
    ids=["right", "other root", "other name"],
)
@pytest.mark.parametrize("transport", [Transport.MQTTS, Transport.HTTPS])
def test_a_whole_run_trusts_the_given_root_and_name_alone(
    issued: Any, ca: Authority, sent: bool, transport: Transport, tmp_path: Path
) -> None:
    """From end to end, over MQTT and HTTPS: a server that is not proven gets no token."""
    mqtt = transport is Transport.MQTTS
    with Broker(tls=Tls(issued)) if mqtt else HttpApi(tls=Tls(issued)) as server:
        target = target_of(server, tmp_path, transport=transport)
        (tmp_path / "ca.pem").write_bytes(ca.pem())
        report = check(target, Options(timeout=5, compare_web=False))
        assert (DEFAULT_TOKEN.encode() in server.received_bytes()) is sent
    assert (report.stage("tls.verify").status != "failed") is sent


def test_the_public_roots_are_not_added_to_a_given_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of a public root is refused with a private CA file; `public` accepts it."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(bundle_path().read_bytes() + ROOT.pem())
    monkeypatch.setattr("tbdiag.protocol.public_roots.bundle_path", lambda: bundle)
    from tbdiag.protocol import public_roots

    public_roots.public_roots.cache_clear()
    try:
        with Broker(tls=Tls(ISSUED)) as broker:
            target = target_of(broker, tmp_path)
            (tmp_path / "ca.pem").write_bytes(OTHER.pem())
            private = check(target, Options(timeout=5, compare_web=False))
            open_to_all = Target(
                "localhost", broker.port, credentials=target.credentials, cafile=("public",)
            )
            public = check(open_to_all, Options(timeout=5, compare_web=False))
    finally:
        public_roots.public_roots.cache_clear()
    assert private.stage("tls.verify").status == "failed"
    assert public.stage("tls.verify").status in ("ok", "warning")


ENVIRONMENTS: dict[str, Callable[[Path], dict[str, str]]] = {
    "plain": lambda _: {},
    "no locale": lambda _: {"LC_ALL": "C", "LANG": "C"},
    "another locale": lambda _: {"LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr"},
    "OPENSSL_CONF": lambda folder: {"OPENSSL_CONF": str(folder / "openssl.cnf")},
    "no OPENSSL_CONF": lambda _: {"OPENSSL_CONF": "/nonexistent"},
    "system store": lambda folder: {"SSL_CERT_FILE": str(folder / "system.pem")},
    "proxies": lambda _: {"HTTPS_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"},
    "time zone": lambda _: {"TZ": "Pacific/Kiritimati"},
    "no home": lambda _: {"HOME": "/nonexistent"},
}
OPENSSL_CONF = """
openssl_conf = default
[default]
ssl_conf = ssl
[ssl]
system_default = system
[system]
MinProtocol = TLSv1
MaxProtocol = TLSv1.2
CipherString = ALL:@SECLEVEL=0
Options = UnsafeLegacyRenegotiation
VerifyMode = Peer
"""
SCENARIOS = ("healthy", "weak-key", "wrong-ca-file", "name-mismatch")
ANSWER = """
import json, sys
from tbdiag import Options, check
from tbdiag.pipeline import exit_code
from tbdiag.sandbox import open_scenario
found = []
for scenario in sys.argv[1:]:
    with open_scenario(scenario) as stand:
        report = check(stand.target, Options(timeout=15, compare_web=False, **stand.options))
    version = getattr(report.stage("tls.handshake").evidence, "version", "")
    found.append([
        report.primary, [s.status for s in report.stages], exit_code(report.verdict), version,
        sorted({f.rule for f in report.findings}), [[c.client, c.verdict] for c in report.clients],
    ])
print(json.dumps(found))
"""


def answer_in(folder: Path, changes: dict[str, str]) -> str:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("SSL_", "LC_", "LANG", "TBDIAG"))
    }
    done = subprocess.run(
        [sys.executable, "-c", ANSWER, *SCENARIOS],
        env={**kept, "PYTHONPATH": os.pathsep.join(sys.path), **changes},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_answer_does_not_depend_on_the_environment(tmp_path: Path) -> None:
    """Locale, time zone, OPENSSL_CONF, the system's store, proxies and HOME change no verdict."""
    (tmp_path / "openssl.cnf").write_text(OPENSSL_CONF)
    answers = {
        name: answer_in(tmp_path, changes(tmp_path)) for name, changes in ENVIRONMENTS.items()
    }
    assert '"tls.verify"' not in answers["plain"]
    for name, answer in answers.items():
        assert answer == answers["plain"], name


def with_aia(url: str) -> Any:
    """A server certificate of an intermediate that it says is at `url`."""
    place = AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, UniformResourceIdentifier(url)
    )
    extension = (AuthorityInformationAccess([place]), False)
    return parsed(MIDDLE.issue_server(extensions=(extension,)).certificate)


def test_an_issuer_is_not_fetched_from_a_private_address() -> None:
    """The certificate chose the URL: loopback and private addresses are refused, unless asked."""
    with HttpApi(faults=[Answer(Response(200, MIDDLE.pem()))]) as api:
        leaf = with_aia(f"{api.url}/ca.pem")
        refused, problems = fetch_issuers((leaf,), Deadline.after(5))
        assert (refused, api.requests) == ((), [])
        assert "is not a public address" in problems[0]
        found, _ = fetch_issuers((leaf,), Deadline.after(5), private=True)
        assert found == (parsed(MIDDLE.certificate),)


def test_an_issuer_is_not_fetched_over_a_redirect_nor_without_end() -> None:
    """No redirect is followed, no body is read past 64 KiB, no header past the deadline."""
    with HttpApi() as thief:
        for fault in (Redirect(thief.url), HugeBody(1 << 40, declared=False)):
            with HttpApi(faults=[fault]) as api:
                leaf = with_aia(f"{api.url}/ca.pem")
                found, problems = fetch_issuers((leaf,), Deadline.after(5), private=True)
                assert found == ()
                assert "HTTP 302" in problems[0] or "longer than 64 KiB" in problems[0]
        assert thief.requests == []
    with Scripted(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.1) as slow:
        started = time.monotonic()
        leaf = with_aia(f"http://localhost:{slow.port}/ca.pem")
        fetch_issuers((leaf,), Deadline.after(1), private=True)
        assert time.monotonic() - started < 2
