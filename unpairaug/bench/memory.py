"""How much memory a piece of work takes: the device's where there is one, else the process's."""

from __future__ import annotations

from threading import Event, Thread

import psutil
import torch


class PeakMemory:
    """Watches memory while its `with` block runs: the CUDA allocator's own peak, or the process every millisecond."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.before = self.peak = 0
        """Bytes at the beginning, and at the highest point."""
        self._done = Event()
        self._watch = Thread(target=self._look_again_and_again, daemon=True)

    def __enter__(self) -> PeakMemory:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        self.before = self.peak = self._now()
        if not self.cuda:
            self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.cuda:
            self.peak = torch.cuda.max_memory_allocated()
        else:
            self._done.set()
            self._watch.join()

    def _look_again_and_again(self) -> None:
        while not self._done.wait(0.001):
            self.peak = max(self.peak, self._now())

    def _now(self) -> int:
        return torch.cuda.memory_allocated() if self.cuda else psutil.Process().memory_info().rss


def total_memory(device: torch.device) -> int:
    """Bytes of memory on the device, or on the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return psutil.virtual_memory().total
