"""dns.resolve, as a stage."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tbdiag.checks.dns import resolve_host
from tbdiag.context import Run
from tbdiag.deadline import Deadline
from tbdiag.evidence import DnsEvidence
from tbdiag.model import Options, Target
from tbdiag.registry import Observation


def observed(host: str, options: Options | None = None) -> Observation[DnsEvidence]:
    run = Run(Target(host), options or Options(), datetime.now(UTC), Deadline.after(5))
    seen = resolve_host(run)
    assert isinstance(seen, Observation)
    return seen


def test_a_name_resolves() -> None:
    """The summary is the address found, and the stage passes."""
    seen = observed("localhost", Options(family="4"))
    assert (seen.passed, seen.summary) == (True, "127.0.0.1")


def test_a_literal_passes() -> None:
    """An IP address needs no lookup."""
    seen = observed("2001:db8::1")
    assert (seen.passed, seen.summary) == (True, "2001:db8::1 is an address already")


@pytest.mark.parametrize(
    "host", ["", "mqtts://x", "a b", "x" * 70000, "\u202egnp.example", "a\x1b[2J"]
)
def test_a_bad_name_does_not_pass(host: str) -> None:
    """Whatever is given as a host, the stage ends with evidence and a summary."""
    seen = observed(host)
    assert (seen.passed, seen.evidence.error) == (False, "invalid-name")
    assert seen.summary.startswith("not a host name:")


def test_many_addresses_are_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary shows three addresses and how many more there are."""
    addresses = tuple(("IPv4", f"192.0.2.{n}") for n in range(1, 6))
    evidence = DnsEvidence("many.example", literal=False, addresses=addresses)
    monkeypatch.setattr("tbdiag.checks.dns.resolve", lambda *_: evidence)
    assert observed("many.example").summary == "192.0.2.1, 192.0.2.2, 192.0.2.3 and 2 more"
