"""Every scenario, end to end: a real server on loopback, the whole pipeline, the rules it names."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tbdiag import Options, Report, Severity, check
from tbdiag.model import Secret
from tbdiag.registry import SCENARIOS
from tbdiag.report import FORMATS, render
from tbdiag.sandbox import all_scenarios, open_scenario
from tbdiag.sandbox.stand import Stand


def diagnose(stand: Stand) -> Report:
    return check(stand.target, Options(**{"timeout": 15.0, "compare_web": False, **stand.options}))


@dataclass(frozen=True)
class Heard:
    """What a stand's servers received: in clear on the wire, and inside of TLS or DTLS."""

    wire: bytes
    inside: bytes


Ran = tuple[str, Stand, Report, Heard]


@pytest.fixture(scope="module", params=sorted(all_scenarios()))
def ran(request: pytest.FixtureRequest) -> Ran:
    """One diagnosis of a scenario, for all tests that look at it."""
    try:
        with open_scenario(request.param) as stand:
            report = diagnose(stand)
            return request.param, stand, report, heard(stand)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            pytest.skip(f"this machine cannot serve it: {error}")
        raise


def heard(stand: Stand) -> Heard:
    """Everything received, without what came over a channel that the user chose as plain."""
    wire, inside = b"", b""
    for server in (stand.server, *stand.others):
        if server is None:
            continue
        for connection in getattr(server, "connections", ()):
            inside += connection.plain if connection.plain is not connection.wire else b""
            wire += b"" if chosen_as_plain(stand, server.port) else connection.wire
        if not hasattr(server, "connections") and stand.target.transport.encrypted:
            inside += server.received_bytes()
    return Heard(bytes(wire), bytes(inside))


def chosen_as_plain(stand: Stand, port: int) -> bool:
    """Whether the user asked for plain text there: mqtt://, http:// or coap://, or --http-url."""
    url = urlsplit(stand.target.http_url or "")
    return not stand.target.transport.encrypted or (url.scheme, url.port) == ("http", port)


def test_a_scenario_gives_what_it_names(ran: Ran) -> None:
    """The diagnosis has the primary, the rules and the stage statuses that the scenario names."""
    scenario_id, _, report, _ = ran
    expected = SCENARIOS[scenario_id]
    shown = render(report, "table")
    assert report.primary == expected.primary, shown
    assert set(expected.rules) <= {f.rule for f in report.findings}, shown
    for stage_id, status in expected.status.items():
        assert report.stage(stage_id).status == status, shown
    assert "tbdiag.unexplained" not in {f.rule for f in report.findings}, shown


def test_the_token_leaves_only_over_a_verified_or_plain_channel(ran: Ran) -> None:
    """No server of the stand, proxies and the HTTP API included, receives it otherwise.

    In clear: only where mqtt://, http:// or --http-url http:// was typed. Inside of TLS: only after
    tls.verify trusted the server, or with --insecure.
    """
    _, stand, report, received = ran
    verified = report.stage("tls.verify").evidence
    plain = report.stage("tls.verify").status == "not-applicable"
    trusted = verified.trusted if verified else plain
    for secret in (stand.target.credentials.token, stand.target.credentials.password):
        if secret is None:
            continue
        assert isinstance(secret, Secret)
        assert secret.reveal().encode() not in received.wire
        if not trusted and not report.options.insecure:
            assert secret.reveal().encode() not in received.inside


def test_no_output_holds_a_secret(ran: Ran) -> None:
    """Token, password and the proxy's login are in no report, in no format."""
    _, stand, report, _ = ran
    shown = "".join(str(render(report, name)) for name in FORMATS)
    held = [stand.target.credentials.token, stand.target.credentials.password]
    texts = [secret.reveal() for secret in held if secret]
    texts.append(str(stand.options.get("proxy", "")).rpartition("@")[0].rpartition("//")[2])
    for text in texts:
        assert len(text) < 8 or text not in shown


def test_every_error_has_a_cause_and_a_fix() -> None:
    """A finding of any scenario says what was seen, why, and what to do."""
    with open_scenario("unknown-and-expired") as stand:
        report = diagnose(stand)
    for finding in report.findings:
        assert finding.message, finding.rule
        if finding.severity is Severity.ERROR:
            assert "" not in (finding.cause, finding.fix), finding.rule
