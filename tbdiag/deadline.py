"""One monotonic deadline, shared by everything that waits."""

from __future__ import annotations

import time

from tbdiag.fact import Fact


class Deadline(Fact, frozen=True):
    """A point on the monotonic clock after which waiting must stop.

    `at` is in seconds of `time.monotonic()`. A socket's own time-out restarts with every byte, so a
    peer that drips never trips it: every loop that waits asks `remaining()` instead.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.at

    def sooner(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now."""
        return Deadline(min(self.at, time.monotonic() + seconds))
