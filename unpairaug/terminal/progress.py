"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from tqdm import tqdm

from unpairaug.terminal.columns import LossTable
from unpairaug.terminal.time_left import TimeLeft

log = logging.getLogger("unpairaug")
T = TypeVar("T")


class Progress:
    """Counts steps; shows rate and time left. Only the main process enables it."""

    def __init__(
        self, start: int, steps: int, enabled: bool = True, intervals: Mapping[str, int] | None = None
    ) -> None:
        """Start at a step; `intervals` as in `TimeLeft`."""
        self.start, self.step, self.steps = start, start, steps
        self.time_left, self.table = TimeLeft(start, steps, intervals or {}), LossTable()
        terminal = enabled and sys.stderr.isatty()
        shape = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {elapsed} elapsed{postfix}"
        options = {"bar_format": shape, "dynamic_ncols": True}
        self.bar = tqdm(total=steps, initial=start, **options) if terminal else None

    def advance(self) -> None:
        self.step += 1
        self.time_left.count_step(self.step)
        if self.bar:
            self.bar.set_postfix_str(f"{self.left} left", refresh=False)
            self.bar.update()

    def go_back(self, step: int) -> None:
        """Count from another step, because steps are taken again."""
        self.step = step
        if self.bar:
            self.bar.n = step
            self.bar.refresh()

    @property
    def steps_per_second(self) -> float:
        """Without validation and other work between steps."""
        return self.time_left.steps_per_second(self.step)

    @property
    def left(self) -> str:
        """The time that steps, validation, samples and checkpoints still take."""
        if self.step == self.steps:
            return "0:00"
        return format_duration(self.time_left.seconds(self.step)) if self.steps_per_second else "?"

    def report(self, losses: dict[str, float]) -> None:
        """Log the losses of the latest steps with rate and time left."""
        self.log(self.table.format(f"{self.step}/{self.steps}", losses, self.steps_per_second, self.left))

    def log(self, message: str) -> None:
        """Log a line without breaking the bar."""
        if self.bar:
            self.bar.clear()
        log.info(message)
        if self.bar:
            self.bar.refresh()

    def close(self) -> None:
        if self.bar:
            self.bar.close()


def format_duration(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def with_progress(items: Iterable[T], total: int) -> Iterator[T]:
    """The items; meanwhile rate and time left, as a bar on a terminal, elsewhere as a line every 10 s."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, unit=" images", dynamic_ncols=True)
    else:
        yield from _print_progress(items, total)


def with_bar(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items of one computation; meanwhile a bar on a terminal, elsewhere a line every 10 s."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=what, leave=False, dynamic_ncols=True)
        return
    last = time.monotonic()
    for done, item in enumerate(items, 1):
        if (now := time.monotonic()) - last >= 10:
            last = now
            print(f"{what}: {done / total:.0%}", file=sys.stderr, flush=True)
        yield item


def _print_progress(items: Iterable[T], total: int, every: float = 10.0) -> Iterator[T]:
    """The items; a line on stderr about every `every` seconds, and for the last item."""
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        now = time.monotonic()
        if done == total or now - last >= every:
            last, rate = now, done / max(now - start, 1e-9)
            left = format_duration((total - done) / rate)
            print(f"{done}/{total} images, {rate:.2f} images/s, {left} left: {item}", file=sys.stderr, flush=True)
        yield item
