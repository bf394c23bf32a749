"""The same fault gives the same answer every time, on a busy machine too.

Scenarios whose end is a race on the wire (resets, closes, alerts that arrive late, half-closed
connections) run twenty times, all others twice. `TBDIAG_REPEAT=20` repeats every one as often.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tbdiag import Options, Report, Target, check
from tbdiag.model import Credentials, Secret
from tbdiag.pipeline import exit_code
from tbdiag.protocol.mqtt import Connack, Disconnect, encode
from tbdiag.sandbox import all_scenarios, faults, knobs, open_scenario
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.profile import Device
from tbdiag.sandbox.server import Server
from tbdiag.sandbox.session import Session
from tests.hostile_servers import ISSUED, Scripted, target_of

REPEAT = int(os.environ.get("TBDIAG_REPEAT", "0"))
TWENTY = max(REPEAT, 20)
RACING = (
    "client-certificate-refused",
    "client-certificate-required",
    "client-certificate-required-1.2",
    "closed-before-connack",
    "closed-on-publish",
    "disconnected",
    "http-on-the-port",
    "payload-too-large",
    "plain-client-on-tls-port",
    "plaintext-port",
    "publish-quota",
    "publish-refused",
    "reset-before-connack",
    "resetting",
    "resetting-at-once",
    "session-takeover",
)
SLOW = (
    "black-hole",
    "closing",
    "coap-lossy",
    "coap-silent",
    "coaps-lossy",
    "coaps-silent",
    "dns-silent",
    "dripping",
    "gateway-topic",
    "generic-broker",
    "no-connack",
    "no-puback",
    "silent",
    "slow-connack",
)
"""Those that wait for a limit: once is enough, in tests/test_scenarios, unless asked for more."""
ENOUGH = 1.5
"""Seconds after which a scenario is not repeated any more, unless TBDIAG_REPEAT says so."""

Answer = tuple[Any, ...]


def answer(report: Report) -> Answer:
    """What must not differ from run to run."""
    return (
        report.primary,
        tuple((stage.id, str(stage.status)) for stage in report.stages),
        exit_code(report.verdict),
        tuple(sorted({f.rule for f in report.findings})),
        tuple((c.client, c.verdict, c.reason) for c in report.clients),
    )


def repeated(times: int, diagnose: Callable[[], Report]) -> Counter[Answer]:
    """The answers of `times` runs, or of as many as there is time for: two at least."""
    seen: Counter[Answer] = Counter()
    started = time.monotonic()
    for number in range(times):
        if number > 1 and not REPEAT and time.monotonic() - started > ENOUGH:
            break
        seen[answer(diagnose())] += 1
    return seen


@pytest.fixture(scope="module", autouse=True)
def _busy() -> Iterator[None]:
    """Switch between threads far more often than usual, so that their order varies."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def scenario_answers(scenario_id: str, times: int) -> Counter[Answer]:
    def diagnose() -> Report:
        with open_scenario(scenario_id) as stand:
            options = {"timeout": 15.0, "compare_web": False, **stand.options}
            return check(stand.target, Options(**options))

    return repeated(times, diagnose)


@pytest.mark.parametrize("scenario_id", RACING)
def test_a_race_on_the_wire_has_one_answer(scenario_id: str) -> None:
    """Primary, statuses, rules, verdicts and exit code are the same twenty times."""
    assert len(scenario_answers(scenario_id, TWENTY)) == 1


@pytest.mark.parametrize("scenario_id", sorted({*all_scenarios()} - {*RACING} - {*SLOW}))
def test_a_scenario_has_one_answer(scenario_id: str) -> None:
    """Primary, statuses, rules, verdicts and exit code are the same every time."""
    assert len(scenario_answers(scenario_id, REPEAT or 2)) == 1


@pytest.mark.skipif(not REPEAT, reason="TBDIAG_REPEAT=20 repeats the scenarios that wait as well")
@pytest.mark.parametrize("scenario_id", SLOW)
def test_a_scenario_that_waits_has_one_answer(scenario_id: str) -> None:
    """Primary, statuses, rules, verdicts and exit code are the same every time."""
    assert len(scenario_answers(scenario_id, REPEAT)) == 1


class AnswersThenCloses(knobs.Fault):
    """Every packet is answered, and the connection half-closed in the same moment."""

    def connected(self, session: Session) -> None:
        """Send FIN right behind CONNACK, and go on reading."""
        session.connection.finish()


CONNACK_5 = b"\x20\x03\0\0\0"
GONE = encode(Disconnect(0x8E, version=Connack(0).version.V5))
RACES: dict[str, Callable[[], Server]] = {
    "half-closed after CONNACK": lambda: Broker(tls=Tls(ISSUED), faults=(AnswersThenCloses(),)),
    "CONNACK and DISCONNECT in one write": lambda: Scripted(CONNACK_5 + GONE, tls=Tls(ISSUED)),
    "closed with close_notify": lambda: faults.TlsClosing(Tls(ISSUED)),
    "closed without close_notify": lambda: faults.TlsClosing(Tls(ISSUED, close_notify=False)),
    "reset after the handshake": lambda: faults.TlsClosing(Tls(ISSUED), reset=True),
    "closed on CONNECT": lambda: faults.TlsClosing(Tls(ISSUED), after_first_bytes=True),
    "reset on CONNECT": lambda: faults.TlsClosing(Tls(ISSUED), after_first_bytes=True, reset=True),
    "reset on CONNECT, TLS 1.2": lambda: faults.TlsClosing(
        Tls(ISSUED, maximum="TLSv1.2"), after_first_bytes=True, reset=True
    ),
    "late alert": lambda: Broker(tls=Tls(ISSUED, client_certificate="require")),
    "late alert, TLS 1.2": lambda: Broker(
        tls=Tls(ISSUED, client_certificate="require", maximum="TLSv1.2")
    ),
    "alert, then reset": lambda: AlertAndReset(faults.ACCESS_DENIED),
    "closing before anything is said": faults.Closing,
}


class AlertAndReset(faults.Alerting):
    """Sends an alert and a RST right behind it: which of them is read first depends."""

    def serve(self, connection: Any) -> None:
        """Send the alert, and reset."""
        super().serve(connection)
        connection.reset()


@pytest.mark.parametrize("race", RACES)
def test_whichever_end_of_a_connection_is_seen_first_the_answer_is_one(
    race: str, tmp_path: Path
) -> None:
    """FIN, RST, close_notify and alerts behind what was sent: twenty times the same answer."""
    with RACES[race]() as server:
        target = target_of(server, tmp_path)
        seen = repeated(TWENTY, lambda: check(target, Options(timeout=5, compare_web=False)))
    assert len(seen) == 1, seen
    (only,) = seen
    assert only[0] is not None
    assert "tbdiag.unexplained" not in only[3]


def test_many_runs_at_once_have_one_answer(tmp_path: Path) -> None:
    """Sixteen diagnoses at a time in one process, each of a device of its own, say the same."""
    tokens = [f"DeviceToken{number:09d}" for number in range(32)]
    devices = [Device(token, token) for token in tokens]
    with Broker(devices, tls=Tls(ISSUED)) as broker, ThreadPoolExecutor(16) as pool:
        cafile = target_of(broker, tmp_path).cafile

        def diagnose(token: str) -> Answer:
            who = Credentials(token=Secret(token))
            target = Target("localhost", broker.port, credentials=who, cafile=cafile)
            return answer(check(target, Options(timeout=20, compare_web=False)))

        seen = Counter(pool.map(diagnose, tokens))
    assert len(seen) == 1, seen
