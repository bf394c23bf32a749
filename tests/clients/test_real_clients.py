"""Every stack's offline verdict against the real client over a real socket."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tbdiag.clients import CLIENTS
from tests.chains import NOW, Chain, chains

NAMES = sorted(chains())
PYTHON_CLIENT = """
import json, socket, ssl, sys
strict = sys.argv[1] == "strict"
for name, port, cafile, host in json.load(sys.stdin):
    context = ssl.create_default_context(cafile=cafile)
    if not strict:
        context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
    verdict = "accept", 0
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        verdict = "reject", error.verify_code
    print(json.dumps([name, *verdict]))
"""


def python_313() -> str | None:
    """An interpreter that is Python 3.13, by PATH or where pyenv keeps it."""
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.13*/bin/python"))
    for candidate in (shutil.which("python3.13"), *map(str, pyenv)):
        if (
            candidate
            and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode
            == 0
        ):
            return candidate
    return None


PYTHON_313 = python_313()


def offline(client: str, chain: Chain) -> tuple[str, str | None]:
    """(verdict, code) of a stack without a server."""
    presented, anchors = chain.facts()
    decision = CLIENTS[client].decide(presented, anchors, chain.host, NOW)
    return decision.verdict, decision.code


def python_verdicts(interpreter: str, mode: str, servers: dict[str, Any]) -> dict[str, list[Any]]:
    """What the ssl module of an interpreter says about every server: name, verdict, verify_code."""
    jobs = [[n, s.port, str(s.cafile), s.chain.host] for n, s in servers.items()]
    done = subprocess.run(
        [interpreter, "-c", PYTHON_CLIENT, mode],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return {row[0]: row[1:] for row in map(json.loads, done.stdout.splitlines())}


def test_openssl_agrees_with_the_ssl_module(servers: dict[str, Any]) -> None:
    """The verdict and the error number are those of Python's ssl with OpenSSL's default flags."""
    seen = python_verdicts(sys.executable, "plain", servers)
    mine = {name: offline("openssl", chain) for name, chain in chains().items()}
    theirs = {name: (verdict, str(code)) for name, (verdict, code) in seen.items()}
    assert mine == theirs


@pytest.mark.skipif(PYTHON_313 is None, reason="there is no python3.13")
def test_openssl_strict_agrees_with_python_3_13(servers: dict[str, Any]) -> None:
    """The verdict and the error number are those of Python 3.13's create_default_context()."""
    assert PYTHON_313
    seen = python_verdicts(PYTHON_313, "strict", servers)
    mine = {name: offline("openssl-strict", chain) for name, chain in chains().items()}
    theirs = {name: (verdict, str(code)) for name, (verdict, code) in seen.items()}
    assert mine == theirs


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl program")
@pytest.mark.parametrize("name", NAMES)
def test_openssl_agrees_with_s_client(name: str, servers: dict[str, Any]) -> None:
    """`openssl s_client -verify_return_error -verify_hostname` ends as the offline verdict says."""
    server = servers[name]
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}"),
            *("-CAfile", str(server.cafile), "-no-CApath", "-no-CAstore"),
            *("-verify_return_error", "-verify_hostname", server.chain.host),
            *("-cipher", "DEFAULT@SECLEVEL=2", "-servername", server.chain.host, "-brief"),
        ],
        input="",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    verdict, code = offline("openssl", server.chain)
    assert ("accept" if done.returncode == 0 else "reject") == verdict, done.stderr
    if verdict == "reject":
        assert f"verify error:num={code}:" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_mbedtls_agrees_with_its_own_handshake(name: str, servers: dict[str, Any]) -> None:
    """A real mbedTLS client over a socket accepts and refuses what the offline verdict says."""
    pytest.importorskip("mbedtls")
    server = servers[name]
    verdict, code = offline("mbedtls", server.chain)
    assert mbedtls_handshake(server.port, server.chain) == verdict, code


def mbedtls_handshake(port: int, chain: Chain) -> str:
    """`accept` when mbedTLS gets past the server's certificate."""
    from mbedtls.exceptions import TLSError
    from mbedtls.tls import ClientContext, TLSConfiguration, TrustStore
    from mbedtls.x509 import CRT

    trusted = TrustStore()
    for anchor in chain.facts()[1]:
        with contextlib.suppress(TLSError):
            trusted.add(CRT.from_DER(anchor.der))
    context = ClientContext(TLSConfiguration(trust_store=trusted, validate_certificates=True))
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        client = context.wrap_socket(plain, server_hostname=chain.host)
        try:
            client.do_handshake()
        except TLSError:
            return "reject"
        return "accept"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl program")
@pytest.mark.parametrize("days", [-2000, -1.5, 0, 200, 5000])
def test_openssl_agrees_with_verify_at_any_time(days: float, servers: dict[str, Any]) -> None:
    """`openssl verify -attime` gives the same verdict and error number, years away too."""
    at = NOW + timedelta(days=days)
    different = {}
    for name, server in servers.items():
        presented, anchors = server.chain.facts()
        decision = CLIENTS["openssl"].decide(presented, anchors, server.chain.host, at)
        theirs = verify_program(server.cafile, server.chain.host, int(at.timestamp()))
        if (decision.verdict, decision.code) != theirs:
            different[name] = (decision.code, theirs)
    assert different == {}


def verify_program(cafile: Path, host: str, at: int) -> tuple[str, str]:
    """(verdict, first error number) of `openssl verify` for the server in cafile's folder."""
    done = subprocess.run(
        [
            *("openssl", "verify", "-CAfile", str(cafile), "-no-CApath", "-no-CAstore"),
            *("-untrusted", str(cafile.parent / "server.pem"), "-purpose", "sslserver"),
            *("-verify_hostname", host, "-attime", str(at), "-auth_level", "2"),
            str(cafile.parent / "server.pem"),
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if done.returncode == 0:
        return "accept", "0"
    return "reject", done.stderr.partition("error ")[2].split()[0]
