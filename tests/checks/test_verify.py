"""tls.verify: what it blocks on, what it decides, and which second opinions it asks for."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tbdiag.checks.verify import verify
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.errors import UsageError
from tbdiag.evidence import (
    CaEvidence,
    CaSource,
    DnsEvidence,
    HandshakeEvidence,
    TcpAttempt,
    TcpEvidence,
    VerifyEvidence,
)
from tbdiag.model import Options, Target
from tbdiag.registry import Blocked, Observation
from tbdiag.sandbox.authority import Authority, Issued
from tests.chains import HOST, NOW, Chain, chain, chains


def run_of(subject: Chain | None, *evidence: Any, **options: Any) -> Run:
    """A run that has seen `subject` presented with its CA file, and `evidence`."""
    seen = {type(e): e for e in evidence}
    if subject is not None:
        presented, anchors = subject.facts()
        source = CaSource("ca.pem", "file", "ca.pem", certificates=anchors)
        shown = HandshakeEvidence(HOST, True, "established", certificate_list=presented)
        seen.update({CaEvidence: CaEvidence((source,)), HandshakeEvidence: shown})
    return Run(Target(HOST), Options(**options), NOW, Deadline.after(10), _evidence=seen)


def observed(run: Run) -> Observation[VerifyEvidence]:
    """What the check observes; it must not be blocked."""
    seen = verify(run)
    assert isinstance(seen, Observation)
    return seen


def test_an_accepted_chain_is_summed_up_with_anchor_and_date() -> None:
    """The line names the trust anchor, the first end on the path, and the path's length."""
    seen = observed(run_of(chains()["good"]))
    until = min(c.not_after for c in seen.evidence.deciding.path)
    assert seen.passed
    assert seen.summary == f"trusted through tbdiag Root until {until:%Y-%m-%d} (path of 3)"


def test_a_refused_chain_is_summed_up_in_the_stacks_own_words() -> None:
    """The line is the deciding client's reason."""
    seen = observed(run_of(chains()["wrong-ca"]))
    assert not seen.passed
    assert seen.summary == "not trusted: unable to get local issuer certificate (20)"


def test_the_client_option_chooses_whose_verdict_decides() -> None:
    """An intermediate as CA file: OpenSSL refuses, Python 3.13 accepts."""
    subject = chains()["file-is-intermediate"]
    assert not observed(run_of(subject)).passed
    assert observed(run_of(subject, client="python")).passed


def test_an_unknown_client_is_a_usage_error() -> None:
    """--client takes the stacks of the table only."""
    with pytest.raises(UsageError):
        verify(run_of(chains()["good"], client="netscape"))


def test_a_client_whose_library_is_missing_cannot_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """--client mbedtls without python-mbedtls is a usage error with the command to install it."""
    monkeypatch.setitem(sys.modules, "mbedtls", None)
    monkeypatch.setitem(sys.modules, "mbedtls.version", None)
    with pytest.raises(UsageError, match="pip install"):
        verify(run_of(chains()["good"], client="mbedtls"))


def test_without_anchors_it_is_blocked_by_ca_load() -> None:
    """There is nothing to verify with."""
    seen = verify(run_of(Chain(chains()["good"].issued, ())))
    assert isinstance(seen, Blocked)
    assert seen.by == "ca.load"


@pytest.mark.parametrize(
    ("evidence", "by"),
    [
        ((DnsEvidence(HOST, False, error="name-not-found"),), "dns.resolve"),
        ((DnsEvidence(HOST, False), TcpEvidence((), None)), "tcp.connect"),
        ((DnsEvidence(HOST, False), TcpEvidence((), "127.0.0.1")), "tls.handshake"),
    ],
)
def test_without_a_certificate_it_names_the_stage_that_failed(
    evidence: tuple[Any, ...], by: str
) -> None:
    """The first stage that failed is what blocks, not the last one before this."""
    run = run_of(chains()["good"], *evidence)
    del run._evidence[HandshakeEvidence]
    seen = verify(run)
    assert isinstance(seen, Blocked)
    assert seen.by == by


def test_all_stacks_are_in_the_evidence() -> None:
    """Each stack of the table decided, whatever the first one said."""
    decisions = observed(run_of(chains()["good"])).evidence.decisions
    assert [d.client for d in decisions] == ["openssl", "openssl-strict", "mbedtls", "webpki"]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Any]:
    """Serve one chain over TLS on loopback: a function of the chain that returns the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve(issued: Issued) -> int:
        (tmp_path / "c.pem").write_bytes(issued.chain_pem())
        (tmp_path / "k.pem").write_bytes(issued.key_pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
        threading.Thread(target=answer, args=(context,), daemon=True).start()
        return int(listener.getsockname()[1])

    def answer(context: ssl.SSLContext) -> None:
        try:
            connection, _ = listener.accept()
            with connection, context.wrap_socket(connection, server_side=True) as tls:
                tls.recv(1)
        except OSError:
            return

    yield serve
    listener.close()


def connected() -> TcpEvidence:
    """A connection to loopback."""
    return TcpEvidence((TcpAttempt("IPv4", "127.0.0.1", 8883, "connected"),), "127.0.0.1")


def test_the_web_server_of_the_host_is_asked_when_the_chain_is_refused(web: Any) -> None:
    """What 443 presents is captured, and whether the CA file validates it."""
    root = Authority.root("Web Root")
    port = web(root.issue_server(HOST))
    subject = chain(chains()["self-signed-elsewhere"].issued, root)
    run = run_of(subject, connected(), extra={"web_port": port})
    opinion = observed(run).evidence.opinion
    assert len(opinion.web_chain) == 1
    assert opinion.web_trusted_by_ca_file


@pytest.mark.parametrize("name", ["good", "expired", "wrong-name"])
def test_the_web_server_is_not_asked_when_the_ca_is_known(name: str, web: Any) -> None:
    """A path to the CA file exists, so another port explains nothing."""
    port = web(Authority.root().issue_server(HOST))
    run = run_of(chains()[name], connected(), extra={"web_port": port})
    assert observed(run).evidence.opinion.web_chain == ()


def test_the_comparison_can_be_switched_off(web: Any) -> None:
    """With compare_web False nothing is dialled."""
    port = web(Authority.root().issue_server(HOST))
    options = {"extra": {"web_port": port}, "compare_web": False}
    run = run_of(chains()["wrong-ca"], connected(), **options)
    assert observed(run).evidence.opinion.web_chain == ()


def test_a_closed_web_port_is_no_failure() -> None:
    """Nothing listens on the port: no opinion, and the verdict stands."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        run = run_of(chains()["wrong-ca"], connected(), extra={"web_port": port})
        assert observed(run).evidence.opinion.web_chain == ()


def test_a_private_chain_has_no_public_anchor() -> None:
    """The public roots do not know the test CA."""
    assert observed(run_of(chains()["wrong-ca"])).evidence.opinion.public_anchor is None


def test_insecure_is_recorded_and_does_not_make_it_pass() -> None:
    """--insecure waives requirements in the pipeline; the verdict stays what it is."""
    seen = observed(run_of(chains()["wrong-ca"], insecure=True))
    assert seen.evidence.insecure
    assert not seen.passed
