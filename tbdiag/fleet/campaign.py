"""One run over a fleet: what is left to do, what is done, and both written down."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import Executor

from tbdiag.fact import Record, field, replace
from tbdiag.fleet.config import Fleet
from tbdiag.fleet.history import History
from tbdiag.fleet.journal import Journal
from tbdiag.fleet.runner import finished
from tbdiag.fleet.spec import Spec
from tbdiag.fleet.summary import Summary
from tbdiag.fleet.work import Result, Settings

BATCH = 64
"""Results that are written down together when they come fast."""
KNOWN_AT_ONCE = 100
"""Targets whose baselines are read from the history together, and held in memory."""


class Campaign(Record):
    """A fleet being checked. `history` None: nothing is remembered beyond this run."""

    fleet: Fleet
    settings: Settings
    journal: Journal
    history: History | None = None
    summary: Summary = field(default_factory=Summary)

    def earlier(self) -> Iterator[Result]:
        """The results that an interrupted run left in the journal, counted in."""
        for result in self.journal.results(self.fleet.specs):
            self.summary.add(result.outcome)
            yield result

    def results(self, executor: Executor, at_once: int) -> Iterator[Result]:
        """Check what is left; a result is yielded once journal and history hold it."""
        fresh: list[Result] = []
        for result in finished(self._left(), self.settings, executor, at_once):
            if result is not None:
                fresh.append(result)
            if result is None or len(fresh) >= BATCH:
                yield from self._written(fresh)
                fresh = []
        yield from self._written(fresh)

    def _left(self) -> Iterator[Spec]:
        """What is not in the journal, with what the history knows of each; not all at once."""
        left = (spec for spec in self.fleet.specs if spec.key not in self.journal)
        while specs := list(itertools.islice(left, KNOWN_AT_ONCE)):
            names = [spec.name for spec in specs]
            known = self.history.baselines(names) if self.history else {}
            for spec in specs:
                yield replace(spec, baseline=known[spec.name]) if spec.name in known else spec

    def _written(self, results: list[Result]) -> Iterator[Result]:
        if self.history and results:
            self.history.record(result.outcome for result in results)
        for result in results:
            self.journal.add(result)
            self.summary.add(result.outcome)
            yield result
