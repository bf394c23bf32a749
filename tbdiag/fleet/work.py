"""What a worker does with one target: a function and its arguments, all of which can be pickled."""

from __future__ import annotations

import os
from collections.abc import Hashable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tbdiag import pipeline
from tbdiag.errors import UsageError
from tbdiag.fact import Fact, field, replace
from tbdiag.fleet.outcome import Outcome, failed_outcome, outcome_of
from tbdiag.fleet.spec import Spec

if TYPE_CHECKING:
    from tbdiag.model import Options, Report

FRAGMENTS = {"json": "jsonl", "jsonl": "jsonl", "junit": "junit", "prometheus": "prometheus"}
"""Format of a fleet -> the report format of which one piece per target is kept."""


class Settings(Fact, frozen=True):
    """How every target of a run is checked, and what is kept of each report."""

    only_tls: bool = False
    """Stop before MQTT: nothing secret is needed, and only the deciding client stack is asked."""
    inline: bool = False
    """Whether the stages of a check run in the worker's own thread: cheaper by far, but a check
    that blocks where it should not holds up the others."""
    formats: tuple[str, ...] = ("table",)
    """The formats that the results will be put out in."""
    strict: bool = False
    at: datetime | None = None
    timeout: float | None = None
    """These and the next override the fleet file where they are given."""
    warn_days: float | None = None
    critical_days: float | None = None

    def options(self, spec: Spec) -> Options:
        """The options of one target in this run."""
        names = ("at", "timeout", "warn_days", "critical_days")
        changes: dict[str, Any] = {
            n: getattr(self, n) for n in names if getattr(self, n) is not None
        }
        if self.only_tls:
            changes |= {"connect": False, "compare_web": False, "all_stacks": False}
        if spec.baseline:
            changes["extra"] = spec.options.extra | {"baseline": spec.baseline}
        return replace(spec.options, **changes) if changes else spec.options


class Result(Fact, frozen=True):
    """One checked target: what is remembered, and its piece of the output."""

    key: str
    """The key of its spec."""
    outcome: Outcome
    fragments: dict[str, str] = field(default_factory=dict)
    """Its report in the formats that need more than the outcome; see `FRAGMENTS`."""


def device_of(spec: Spec, settings: Settings) -> Hashable:
    """What tells the device that a check logs in as; None when it does not log in."""
    if settings.only_tls or not spec.options.connect:
        return None
    held = spec.target.credentials
    if spec.token:
        return spec.token
    identity = (held.username, held.client_id, held.certfile)
    return identity if any(identity) else None


def check_spec(spec: Spec, settings: Settings) -> Result:
    """Check one target and keep what `settings` asks for; never raises for the target's faults.

    Secrets are read here, from this machine's environment and files. The report itself is dropped.
    """
    try:
        report = report_on(spec, settings)
    except UsageError as error:
        text = f"cannot be checked: {error}"
        now = datetime.now(UTC)
        return Result(spec.key, failed_outcome(spec.name, spec.target.address, text, now))
    outcome = outcome_of(spec.name, report, spec.baseline)
    return Result(spec.key, outcome, fragments_of(report, settings))


def report_on(spec: Spec, settings: Settings) -> Report:
    """The report on one target; UsageError when a secret is missing where this runs."""
    options = settings.options(spec)
    target = spec.resolved(os.environ) if options.connect else spec.target
    return pipeline.check(target, options, inline=settings.inline)


def fragments_of(report: Report, settings: Settings) -> dict[str, str]:
    """The pieces of the outputs that stand for this report; none where the outcome is enough."""
    wanted = dict.fromkeys(FRAGMENTS[name] for name in settings.formats if name in FRAGMENTS)
    if not wanted:
        return {}
    from tbdiag.report import render

    return {name: render(report, name, strict=settings.strict) for name in wanted}
