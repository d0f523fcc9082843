"""Time the joint step in full precision, in bfloat16 and with fewer cycle terms, in turn, on one thread of a CPU.

    python tests/scale/measure_approximations.py cyclesr_sr_paper data.batch_size=4 data.crop=128

Prints the processor time of a step, least of the rounds: of one with cycle and identity terms, of one without, and the
mean of a recipe in which one step of four has them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from accelerate import Accelerator

from unpairaug.bench.step import random_batch
from unpairaug.process.allocator import keep_memory
from unpairaug.recipe import load_recipe
from unpairaug.training.build import build_trainer

EVERY = 4
ROUNDS = 5


def main(recipe: str, *overrides: str) -> None:
    torch.set_num_threads(1)
    keep_memory()
    with_cycles, without = make_steps(recipe, overrides)
    ways = [(step, precision) for precision in (torch.float32, torch.bfloat16) for step in (with_cycles, without)]
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS + 1):
        for (step, precision), taken in zip(ways, times, strict=True):
            start = time.process_time()
            # Around all of the step: a process has one accelerator, and that one is in full precision.
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
                step()
            taken.append(time.process_time() - start)
    full, full_without, half, half_without = (min(taken[1:]) for taken in times)
    for precision, whole, rest in (("no", full, full_without), ("bf16", half, half_without)):
        mean = (whole + (EVERY - 1) * rest) / EVERY
        print(f"mixed_precision {precision:4} with cycles {whole:.3f} s ({full / whole:.2f} ×), without {rest:.3f} s")
        print(f"mixed_precision {precision:4} cycle_every {EVERY}: {mean:.3f} s a step ({full / mean:.2f} ×)")


def make_steps(recipe: str, overrides: tuple[str, ...]) -> tuple[Callable[[], object], Callable[[], object]]:
    """A step with cycle and identity terms, and one without."""
    overrides = (*overrides, f"translator.cycle_every={EVERY}")
    loaded = load_recipe(recipe, overrides).resolve(steps_per_epoch=1)
    trainer = build_trainer(loaded, Accelerator(mixed_precision="no"))
    batch = random_batch(trainer, loaded)
    joint = (trainer.schedule.translator_end - 1) // EVERY * EVERY
    return lambda: trainer.train_step([batch], joint), lambda: trainer.train_step([batch], joint - 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
