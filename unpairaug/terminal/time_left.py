"""Estimates the time that a run still takes: its steps, and what it does between them at intervals."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

UNCOUNTED = 3
"""First steps that are left out: they are slower than the rest."""


class TimeLeft:
    """Measures steps and periodic work apart from each other."""

    def __init__(self, start: int, steps: int, intervals: Mapping[str, int]) -> None:
        """Start the clock.

        Args:
            start: steps taken already.
            steps: length of the run.
            intervals: steps between two rounds of each kind of periodic work, which is also done at the last step.
        """
        self.start, self.steps, self.intervals = start, steps, dict(intervals)
        self.began, self.skipped = time.monotonic(), 0
        self.spent = 0.0
        """Seconds of periodic work since `began`."""
        self.rounds: dict[str, list[float]] = {}

    @contextmanager
    def measure(self, kind: str) -> Iterator[None]:
        """Time one round of periodic work."""
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        self.spent += seconds
        self.rounds.setdefault(kind, []).append(seconds)

    def count_step(self, step: int) -> None:
        """Note that a step is taken; the first ones start the clock again."""
        if step - self.start == UNCOUNTED:
            self.began, self.spent, self.skipped = time.monotonic(), 0.0, UNCOUNTED

    def steps_per_second(self, step: int) -> float:
        """Steps in a second, without the periodic work."""
        seconds = time.monotonic() - self.began - self.spent
        return max(0, step - self.start - self.skipped) / max(seconds, 1e-9)

    def seconds(self, step: int) -> float:
        """The estimate after `step` steps."""
        of_steps = (self.steps - step) / max(self.steps_per_second(step), 1e-9)
        rounds = {kind: self._rounds_left(every, step) for kind, every in self.intervals.items()}
        return of_steps + sum(self._mean(kind) * count for kind, count in rounds.items())

    def _rounds_left(self, every: int, step: int) -> int:
        is_extra = self.steps % every != 0  # the last step is no multiple
        return 0 if step >= self.steps else self.steps // every - step // every + is_extra

    def _mean(self, kind: str) -> float:
        measured = self.rounds.get(kind, [])
        return sum(measured) / len(measured) if measured else 0.0
