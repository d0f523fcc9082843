"""Where a run stands: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time

from tqdm import tqdm

log = logging.getLogger("unpairaug")


class Progress:
    """Counts steps; tells rate and time left. Disabled on all but the main process."""

    def __init__(self, start: int, steps: int, enabled: bool = True) -> None:
        self.start, self.step, self.steps = start, start, steps
        self.began = time.monotonic()
        terminal = enabled and sys.stderr.isatty()
        self.bar = tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True) if terminal else None

    def advance(self) -> None:
        self.step += 1
        if self.bar:
            self.bar.update()

    @property
    def steps_per_second(self) -> float:
        return (self.step - self.start) / max(time.monotonic() - self.began, 1e-9)

    def report(self, values: dict[str, float]) -> None:
        """Log the values of the latest steps with rate and time left."""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        left = duration((self.steps - self.step) / max(self.steps_per_second, 1e-9))
        self.say(f"step {self.step}/{self.steps}  {shown}  {self.steps_per_second:.2f} steps/s  {left} left")

    def say(self, message: str) -> None:
        """Log a line without breaking the bar."""
        if self.bar:
            self.bar.clear()
        log.info(message)
        if self.bar:
            self.bar.refresh()

    def close(self) -> None:
        if self.bar:
            self.bar.close()


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
