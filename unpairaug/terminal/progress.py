"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger("unpairaug")
T = TypeVar("T")


class Progress:
    """Counts steps; shows rate and time left. Only the main process enables it."""

    def __init__(self, start: int, steps: int, enabled: bool = True) -> None:
        self.start, self.step, self.steps = start, start, steps
        self.began = time.monotonic()
        terminal = enabled and sys.stderr.isatty()
        self.bar = tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True) if terminal else None

    def advance(self) -> None:
        self.step += 1
        if self.bar:
            self.bar.update()

    def go_back(self, step: int) -> None:
        """Count from another step, because steps are taken again."""
        self.step = step
        if self.bar:
            self.bar.n = step
            self.bar.refresh()

    @property
    def steps_per_second(self) -> float:
        return (self.step - self.start) / max(time.monotonic() - self.began, 1e-9)

    def report(self, values: dict[str, float]) -> None:
        """Log the values of the latest steps with rate and time left."""
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        left = format_duration((self.steps - self.step) / max(self.steps_per_second, 1e-9))
        self.log(f"step {self.step}/{self.steps}  {numbers}  {self.steps_per_second:.2f} steps/s  {left} left")

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
