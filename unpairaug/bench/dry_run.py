"""Two training steps without side effects: does the recipe run, how fast, with how much memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import torch
from torch.utils.data import Dataset

from unpairaug.bench.memory import PeakMemory, total_memory
from unpairaug.data import StepBatches, UnpairedBatch, create_loader
from unpairaug.errors import UserError
from unpairaug.training.step_reader import to_device
from unpairaug.training.trainer import JointTrainer


@dataclass(frozen=True)
class DryRun:
    """Result of two dry steps."""

    seconds_per_step: float
    """Time of the second joint step, including data loading."""
    peak_memory: int
    """Bytes on the device, or of the process on a CPU."""
    memory: int
    """Total bytes of the device or machine."""


def dry_run(trainer: JointTrainer, crops: Dataset[UnpairedBatch], batch_size: int, accumulation: int) -> DryRun:
    """Run two joint steps on the first batches of the data, in this process.

    Raises:
        UserError: a loss term is not finite, or the device's memory does not suffice.
    """
    batches = iter(create_loader(crops, StepBatches(0, 2, batch_size, accumulation)))
    joint = trainer.schedule.translator_end - 1
    with PeakMemory(trainer.accelerator.device) as memory:
        times = [_timed_step(trainer, islice(batches, accumulation), joint) for _ in range(2)]
    return DryRun(times[-1], memory.peak, total_memory(trainer.accelerator.device))


def _timed_step(trainer: JointTrainer, batches: Iterable[UnpairedBatch], step: int) -> float:
    began = time.perf_counter()
    try:
        losses = trainer.train_step([to_device(batch, trainer.accelerator) for batch in batches], step)
    except torch.OutOfMemoryError as error:
        device = trainer.accelerator.device
        raise UserError(f"{device} is out of memory; lower data.batch_size or data.crop") from error
    broken = [name for name, loss in losses.items() if not torch.isfinite(loss)]  # also synchronises the device
    if broken:
        raise UserError(
            f"losses are not finite in the first steps: {', '.join(broken)}; lower the learning rates or weights"
        )
    return time.perf_counter() - began
