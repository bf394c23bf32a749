"""The table of client stacks: choosing one, what their verdicts carry, what they cost."""

from __future__ import annotations

import sys
import time

import pytest

from tbdiag.clients import CLIENTS, client_named, decide_all
from tbdiag.errors import UsageError
from tbdiag.fact import replace
from tests.chains import DAY, HOST, NOW, chains

OFFLINE = ("openssl", "openssl-strict", "webpki")


@pytest.mark.parametrize(("word", "client"), [("openssl", "openssl"), ("python", "openssl-strict")])
def test_a_stack_is_found_by_its_name_or_its_alias(word: str, client: str) -> None:
    """`--client python` means the strict OpenSSL of Python 3.13."""
    assert client_named(word).id == client


def test_an_unknown_stack_is_a_usage_error_that_names_the_choices() -> None:
    """The message lists every stack and alias."""
    with pytest.raises(UsageError, match="openssl, openssl-strict, mbedtls, webpki, python"):
        client_named("gnutls")


def test_every_stack_says_what_it_stands_for_and_what_not() -> None:
    """Neither text is empty, and decisions carry the first."""
    assert all(client.stands_for and client.limits for client in CLIENTS.values())
    decisions = decide_all(*chains()["good"].facts(), HOST, NOW)
    assert [d.stands_for for d in decisions] == [c.stands_for for c in CLIENTS.values()]


@pytest.mark.parametrize("client", [*OFFLINE, "mbedtls"])
def test_an_accepted_chain_comes_with_its_path_and_its_end(client: str) -> None:
    """The path runs from the server's certificate to the root; `expires` is its earliest end."""
    if client == "mbedtls":
        pytest.importorskip("mbedtls")
    presented, anchors = chains()["good"].facts()
    decision = CLIENTS[client].decide(presented, anchors, HOST, NOW)
    assert decision.path == (*presented, *anchors)
    assert decision.expires == min(c.not_after for c in decision.path)


@pytest.mark.parametrize("client", [*OFFLINE, "mbedtls"])
@pytest.mark.parametrize(("days", "verdict"), [(-5000, "reject"), (0, "accept"), (5000, "reject")])
def test_time_is_an_argument(client: str, days: int, verdict: str) -> None:
    """The same files are refused before their validity, accepted in it and refused after it."""
    if client == "mbedtls":
        pytest.importorskip("mbedtls")
    presented, anchors = chains()["good"].facts()
    assert CLIENTS[client].decide(presented, anchors, HOST, NOW + days * DAY).verdict == verdict


def test_an_intermediate_in_the_file_is_an_anchor_for_some() -> None:
    """OpenSSL refuses with error 2; partial chains, mbedTLS and the Web PKI accept."""
    decisions = decide_all(*chains()["file-is-intermediate"].facts(), HOST, NOW)
    verdicts = {d.client: (d.verdict, d.code) for d in decisions if d.verdict != "unknown"}
    assert verdicts.pop("openssl") == ("reject", "2")
    assert {verdict for verdict, _ in verdicts.values()} == {"accept"}


def test_mbedtls_is_unknown_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library there is no verdict, but the command that installs it."""
    monkeypatch.setitem(sys.modules, "mbedtls", None)
    monkeypatch.setitem(sys.modules, "mbedtls.version", None)
    decision = CLIENTS["mbedtls"].decide(*chains()["good"].facts(), HOST, NOW)
    assert decision.verdict == "unknown"
    assert "pip install 'tbdiag[mbedtls]'" in decision.reason


def test_mbedtls_reports_every_fault_at_once() -> None:
    """An expired certificate with a wrong name sets both flags, each in mbedTLS's words."""
    pytest.importorskip("mbedtls")
    decision = CLIENTS["mbedtls"].decide(*chains()["expired-wrong-name"].facts(), HOST, NOW)
    assert decision.code == "X509_BADCERT_EXPIRED|X509_BADCERT_CN_MISMATCH"
    assert decision.reason.startswith("The certificate validity has expired, ")


def test_openssl_reports_the_name_before_the_dates() -> None:
    """OpenSSL checks the name first: a wrong name on an expired certificate is error 62."""
    decision = CLIENTS["openssl"].decide(*chains()["expired-wrong-name"].facts(), HOST, NOW)
    assert (decision.code, decision.reason) == ("62", "hostname mismatch (62)")


def test_an_ip_address_is_matched_as_an_address() -> None:
    """An address in the certificate is accepted, one that is not is OpenSSL's error 64."""
    presented, anchors = chains()["good"].facts()
    assert CLIENTS["openssl"].decide(presented, anchors, "127.0.0.1", NOW).code == "64"


@pytest.mark.parametrize("client", OFFLINE)
def test_garbage_is_refused_without_an_exception(client: str) -> None:
    """A certificate that the library cannot decode makes a refusal that says so."""
    presented, anchors = chains()["good"].facts()
    broken = replace(presented[0], der=presented[0].der[:60] + b"\xff" + presented[0].der[61:])
    decision = CLIENTS[client].decide((broken, *presented[1:]), anchors, HOST, NOW)
    assert decision.verdict == "reject"
    assert decision.reason


def test_no_anchor_at_all_is_refused_by_every_stack() -> None:
    """An empty CA file accepts nothing."""
    decisions = decide_all(chains()["good"].facts()[0], (), HOST, NOW)
    assert {d.verdict for d in decisions} <= {"reject", "unknown"}


def test_a_large_ca_file_gives_the_same_verdicts_as_its_one_useful_root() -> None:
    """Anchors that are nobody's issuer by name are left out without changing a verdict."""
    many, few = chains()["good-many-anchors"], chains()["good"]
    verdicts = [d.verdict for d in decide_all(*many.facts(), HOST, NOW)]
    assert verdicts == [d.verdict for d in decide_all(*few.facts(), HOST, NOW)]


def test_all_stacks_together_cost_little() -> None:
    """Four verdicts take well under 15 ms once the libraries are loaded (best of five)."""
    presented, anchors = chains()["good"].facts()
    decide_all(presented, anchors, HOST, NOW)
    took = []
    for _ in range(5):
        started = time.perf_counter()
        decide_all(presented, anchors, HOST, NOW)
        took.append(time.perf_counter() - started)
    assert min(took) < 0.015


def test_a_chain_of_nine_intermediates_is_too_long_for_mbedtls() -> None:
    """MBEDTLS_X509_MAX_INTERMEDIATE_CA is 8."""
    pytest.importorskip("mbedtls")
    mbedtls = CLIENTS["mbedtls"]
    assert mbedtls.decide(*chains()["eight-intermediates"].facts(), HOST, NOW).verdict == "accept"
    assert mbedtls.decide(*chains()["nine-intermediates"].facts(), HOST, NOW).verdict == "reject"
