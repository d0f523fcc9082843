"""Peak memory of a block of code: on the CUDA device, or of the process."""

from __future__ import annotations

from threading import Event, Thread

import psutil
import torch


class PeakMemory:
    """Context manager that records peak memory: from the CUDA allocator, or of the process every millisecond."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.before = self.peak = 0
        """Bytes at the start, and at the peak."""
        self._done = Event()
        self._thread = Thread(target=self._poll, daemon=True)

    def __enter__(self) -> PeakMemory:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        self.before = self.peak = self._current()
        if not self.cuda:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.cuda:
            self.peak = torch.cuda.max_memory_allocated()
        else:
            self._done.set()
            self._thread.join()

    def _poll(self) -> None:
        while not self._done.wait(0.001):
            self.peak = max(self.peak, self._current())

    def _current(self) -> int:
        return torch.cuda.memory_allocated() if self.cuda else psutil.Process().memory_info().rss


def total_memory(device: torch.device) -> int:
    """Total memory of the device or machine in bytes."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return psutil.virtual_memory().total
