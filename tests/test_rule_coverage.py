"""Every rule is produced by a scenario or a sample chain, and every id they name is a rule."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tbdiag import registry
from tbdiag.catalogue import RUNNER_RULES
from tbdiag.sandbox import all_scenarios

SAMPLES = Path(__file__).parent.parent / "sample_chains"


def named_by_scenarios() -> set[str]:
    """Every rule id that a scenario must produce."""
    named = {rule for s in all_scenarios().values() for rule in s.rules}
    return named | {s.primary for s in all_scenarios().values() if s.primary}


def named_by_samples() -> set[str]:
    """Every rule id that a sample chain must produce."""
    named: set[str] = set()
    for path in SAMPLES.glob("*/case.toml"):
        named |= set(tomllib.loads(path.read_text())["rules"])
    return named


def test_every_rule_is_produced_end_to_end() -> None:
    """A rule that no scenario and no sample chain shows would rot unseen."""
    registry.load("rules")
    assert registry.RULES.keys() - named_by_scenarios() - named_by_samples() == set()


def test_every_id_named_is_a_rule() -> None:
    """Scenarios and sample chains name no rule that does not exist."""
    registry.load("rules")
    known = registry.RULES.keys() | RUNNER_RULES.keys()
    assert (named_by_scenarios() | named_by_samples()) - known == set()
