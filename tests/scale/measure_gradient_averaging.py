"""Time the averaging of gradients over processes, and the steps that it belongs to.

    ACCELERATE_USE_CPU=true torchrun --standalone --nproc-per-node 2 tests/scale/measure_gradient_averaging.py \
        cyclesr_sr train.steps=12 output_dir=runs/averaging

The words are those of `python -m unpairaug.run`. Before each averaging the processes wait for each other, so that the
time is that of the all-reduce and of its copies alone. Printed are medians over all steps but the first: bytes, the
time of the averaging, the CPU time in it, and the time of a step. The share of the averaging in the step is the most
that overlapping it with the backward pass could save.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from unpairaug.run import train
from unpairaug.training.trainer import JointTrainer

average_gradients = JointTrainer.average_gradients
bytes_of_steps: list[int] = []
ends: list[float] = []
seconds: list[float] = []
cpu_seconds: list[float] = []
waits: list[float] = []


def average_and_time(trainer: JointTrainer) -> None:
    """Average the gradients, and record how long it took."""
    arrived = time.perf_counter()
    torch.distributed.barrier()
    began, cpu = time.perf_counter(), time.process_time()
    average_gradients(trainer)
    ends.append(time.perf_counter())
    seconds.append(ends[-1] - began)
    cpu_seconds.append(time.process_time() - cpu)
    waits.append(began - arrived)
    grads = [p.grad for network in trainer.networks.values() for p in network.parameters() if p.grad is not None]
    bytes_of_steps.append(sum(grad.nbytes for grad in grads))


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    JointTrainer.average_gradients = average_and_time
    train(sys.argv[1], sys.argv[2:])
    step = statistics.median(after - before for before, after in pairwise(ends))
    averaging, cpu, wait = (statistics.median(found[1:]) for found in (seconds, cpu_seconds, waits))
    print(
        f"process {os.environ['RANK']}: {max(bytes_of_steps) / 2**20:.2f} MiB of gradients, averaging "
        f"{1000 * averaging:.1f} ms ({1000 * cpu:.1f} ms of CPU time), step {1000 * step:.0f} ms, of which waiting for "
        f"the other {1000 * wait:.0f} ms; share {averaging / step:.2%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
