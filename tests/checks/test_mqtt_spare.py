"""The MQTT channel opened ahead on a long way."""

from __future__ import annotations

import pytest

from tbdiag import Options, Status, check
from tbdiag.checks import mqtt
from tbdiag.sandbox import open_scenario
from tbdiag.sandbox.profile import DEFAULT_TOKEN

OPTIONS = Options(timeout=15.0, compare_web=False)


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "SLOW_MS", -1.0)


@pytest.mark.usefixtures("long_way")
def test_the_spare_channel_carries_the_session() -> None:
    """On a long way there are still two connections, and the second one has the MQTT session."""
    with open_scenario("healthy") as stand:
        report = check(stand.target, OPTIONS)
        connections = len(stand.server.connections) if stand.server else 0
    assert report.stage("mqtt.publish").status is Status.OK
    assert connections == 2


@pytest.mark.usefixtures("long_way")
def test_nothing_is_sent_over_a_spare_channel_to_an_unverified_server() -> None:
    """With the wrong CA file a spare channel is opened in vain, and the token stays here."""
    with open_scenario("wrong-ca-file") as stand:
        report = check(stand.target, OPTIONS)
        received = stand.server.received_bytes() if stand.server else b""
    assert report.primary == "x509.wrong-ca-file"
    assert DEFAULT_TOKEN.encode() not in received


@pytest.mark.usefixtures("long_way")
@pytest.mark.parametrize("scenario", ["old-server", "no-connack", "version-5-refused"])
def test_a_second_attempt_opens_its_own_channel(scenario: str) -> None:
    """The spare channel serves the first CONNECT only; the result is that of a short way."""
    with open_scenario(scenario) as stand:
        report = check(stand.target, Options(**{"timeout": 15.0, **stand.options}))
    expected = None if scenario != "no-connack" else "mqtt.no-connack"
    assert report.primary == expected
