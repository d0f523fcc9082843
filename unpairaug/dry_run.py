"""Two steps that leave nothing behind: does it run, how fast, how much memory."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import psutil
import torch
from torch.utils.data import Dataset

from unpairaug.data import StepBatches, UnpairedBatch, loader
from unpairaug.errors import UserError
from unpairaug.loop import to_device
from unpairaug.trainer import JointTrainer


@dataclass(frozen=True)
class DryRun:
    """What two dry steps showed."""

    seconds_per_step: float
    """Of the second step of the run's longest phase, data loading included."""
    peak_memory: int
    """Bytes: of the device, or of the process on a CPU."""
    memory: int
    """Bytes there are."""


def dry_run(trainer: JointTrainer, crops: Dataset[UnpairedBatch], batch_size: int, accumulation: int) -> DryRun:
    """Take two joint steps on the first batches of the data, in this process.

    Raises:
        UserError: a loss term is not finite, or the device's memory does not suffice.
    """
    accelerator, last = trainer.accelerator, trainer.schedule.steps - 1
    batches = loader(crops, StepBatches(0, 2, batch_size, accumulation))
    micro_batches = (to_device(batch, accelerator) for batch in batches)
    times = []
    for _ in range(2):
        began = time.perf_counter()
        try:
            losses = trainer.train_step([next(micro_batches) for _ in range(accumulation)], last)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"{accelerator.device} has too little memory; lower data.batch_size or data.crop"
            ) from error
        broken = [name for name, loss in losses.items() if not torch.isfinite(loss)]
        if broken:
            raise UserError(f"not finite at the first steps: {', '.join(broken)}; lower the learning rates or weights")
        times.append(time.perf_counter() - began)
    return DryRun(times[-1], *_memory(accelerator.device))


def _memory(device: torch.device) -> tuple[int, int]:
    """Bytes at the peak, and bytes there are."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), torch.cuda.get_device_properties(device).total_memory
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, psutil.virtual_memory().total
