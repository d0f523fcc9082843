"""Seconds of a step."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def time_step(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of one step, including the device's work."""
    synchronize(device)
    began = time.perf_counter()
    step()
    synchronize(device)
    return time.perf_counter() - began


def time_work(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of one step: on a CPU processor seconds a thread, which other programs on the machine do not lengthen."""
    if device.type != "cpu":
        return time_step(step, device)
    began = time.process_time()
    step()
    return (time.process_time() - began) / torch.get_num_threads()


def synchronize(device: torch.device) -> None:
    """Wait for the work of a GPU; do nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
