"""What a check is given (`Run`) and what a rule sees (`Case`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from tbdiag.deadline import Deadline
from tbdiag.errors import InternalError
from tbdiag.fact import Fact, Record, field, replace
from tbdiag.model import Options, Target

E = TypeVar("E")
T = TypeVar("T")

Notify = Callable[[str], None]
"""Called with one sentence that the user should read before something happens."""


class Case(Fact, frozen=True):
    """What the rules see: everything observed about one target, and the moment to judge it at."""

    target: Target
    options: Options
    now: datetime
    evidence: Mapping[type[Any], Any]
    _derived: dict[Any, Any] = field(default_factory=dict)

    def derive(self, compute: Callable[[Case], T]) -> T:
        """`compute(case)`, computed once however many rules ask; `compute` is pure."""
        if compute not in self._derived:
            self._derived[compute] = compute(self)
        return self._derived[compute]  # type: ignore[no-any-return]

    def get(self, kind: type[E]) -> E | None:
        """The evidence of type `kind`, or None when its stage did not run."""
        return self.evidence.get(kind)


class Run(Record):
    """What a check is given: the target, the options, its deadline and what earlier stages saw."""

    target: Target
    options: Options
    now: datetime
    deadline: Deadline
    _evidence: dict[type[Any], Any] = field(default_factory=dict)
    _kept: dict[type[Any], Any] = field(default_factory=dict)
    _closers: list[Callable[[], object]] = field(default_factory=list)
    notify: Notify = lambda _text: None

    def get(self, kind: type[E]) -> E | None:
        """The evidence of type `kind` from an earlier stage, or None."""
        return self._evidence.get(kind)

    def need(self, kind: type[E]) -> E:
        """The evidence of type `kind`; the check must declare its stage in requires or after."""
        evidence = self._evidence.get(kind)
        if evidence is None:
            raise InternalError(f"no {kind.__name__}: is its stage declared?")
        return evidence  # type: ignore[no-any-return]

    def keep(self, thing: T, close: Callable[[], object]) -> T:
        """Keep an open connection for a later stage; `close` runs when the run ends."""
        self._kept[type(thing)] = thing
        self._closers.append(close)
        return thing

    def kept(self, kind: type[T]) -> T | None:
        """What an earlier stage kept under this type, or None."""
        return self._kept.get(kind)

    def with_deadline(self, deadline: Deadline) -> Run:
        """The same run, seen by a stage with its own deadline."""
        return replace(self, deadline=deadline)

    def close(self) -> None:
        """Close everything that was kept, newest first; a failure to close is not a finding."""
        while self._closers:
            with contextlib.suppress(Exception):
                self._closers.pop()()
