"""Time the averaging of gradients over processes, and the steps that it belongs to.

    ACCELERATE_USE_CPU=true torchrun --standalone --nproc-per-node 2 tests/scale/measure_gradient_averaging.py \
        cyclesr_sr train.steps=12 output_dir=runs/averaging

The words are those of `python -m unpairaug.run`. Before each averaging the processes wait for each other, so that the
time is that of the all-reduce and of its copies alone. Printed are medians over all steps but the first: bytes, the
time of the averaging, the CPU time in it, and the time of a step. The share of the averaging in the step is the most
that overlapping it with the backward pass could save.

With the word `--overlap` in front, every second step overlaps as training does: the all-reduce of generators and head
begins after their backward pass, and runs beside that of the discriminators. The median times of both kinds of steps
are printed.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path

from torch import distributed

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from unpairaug.run import train
from unpairaug.training.averaging import GradientAveraging
from unpairaug.training.trainer import JointTrainer

average_all, begin_averaging = JointTrainer.average_gradients, GradientAveraging.begin
bytes_of_steps: list[int] = []
ends: list[float] = []
seconds: list[float] = []
cpu_seconds: list[float] = []
waits: list[float] = []


def average_and_time(self: JointTrainer) -> None:
    """Average the gradients, and record how long it took."""
    arrived = time.perf_counter()
    distributed.barrier()
    began, cpu = time.perf_counter(), time.process_time()
    average_all(self)
    ends.append(time.perf_counter())
    seconds.append(ends[-1] - began)
    cpu_seconds.append(time.process_time() - cpu)
    waits.append(began - arrived)
    grads = [p.grad for network in self.networks.values() for p in network.parameters() if p.grad is not None]
    bytes_of_steps.append(sum(grad.nbytes for grad in grads))


def compare_overlap(words: list[str]) -> None:
    """Train, and print the times of steps with and without overlap; the time of a step ends with its averaging."""

    def average_gradients(self: JointTrainer) -> None:
        average_all(self)
        ends.append(time.perf_counter())

    def begin(self: GradientAveraging) -> None:
        if len(ends) % 2:
            begin_averaging(self)

    JointTrainer.average_gradients, GradientAveraging.begin = average_gradients, begin
    train(words[0], words[1:])
    steps = [after - before for before, after in pairwise(ends)][2:]  # of steps 3, 4, …; those of odd index overlap
    plain, overlapped = (sorted(1000 * step for step in steps[parity::2]) for parity in (1, 0))
    for kind, found in (("plain", plain), ("overlapped", overlapped)):
        quarter = len(found) // 4
        print(
            f"process {os.environ['RANK']}: {len(found)} {kind} steps, median {statistics.median(found):.0f} ms, "
            f"quartiles {found[quarter]:.0f} and {found[-1 - quarter]:.0f} ms",
            flush=True,
        )


def measure_averaging(words: list[str]) -> None:
    """Train, and print how long the averaging takes where none of it overlaps."""
    JointTrainer.average_gradients = average_and_time
    GradientAveraging.begin = lambda self: None
    train(words[0], words[1:])
    step = statistics.median(after - before for before, after in pairwise(ends))
    averaging, cpu, wait = (statistics.median(found[1:]) for found in (seconds, cpu_seconds, waits))
    print(
        f"process {os.environ['RANK']}: {max(bytes_of_steps) / 2**20:.2f} MiB of gradients, averaging "
        f"{1000 * averaging:.1f} ms ({1000 * cpu:.1f} ms of CPU time), step {1000 * step:.0f} ms, of which waiting for "
        f"the other {1000 * wait:.0f} ms; share {averaging / step:.2%}",
        flush=True,
    )


def main() -> None:
    words = sys.argv[1:]
    is_overlapped = words[:1] == ["--overlap"]
    words = words[is_overlapped:]
    if not words or words[0].startswith("-"):
        sys.exit(__doc__)
    (compare_overlap if is_overlapped else measure_averaging)(words)


if __name__ == "__main__":
    main()
