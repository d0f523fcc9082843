"""Measure the joint step and a restoration on this machine's GPU, in ten minutes at most.

    python tests/scale/measure_gpu.py > gpu.json
    python tests/scale/measure_gpu.py --recipe smoke --batch 2 --crop 32 --megapixels 0.1 --variants fp32 bf16  # a CPU

The step is measured in fp32, in bf16, compiled, and with CUDA graphs. It prints JSON: milliseconds per step, share of
the matmul peak of the same precision, share of the wall time in which the GPU computes, peak memory, megapixels per
second. What fails has its error instead, and the rest is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.utils.flop_counter import FlopCounterMode

from unpairaug.bench.memory import PeakMemory
from unpairaug.bench.step import make_joint_step
from unpairaug.bench.timing import synchronize, time_step
from unpairaug.recipe import Recipe, load_recipe
from unpairaug.restoring.restore import choose_tile, restore_image
from unpairaug.training.build import build_trainer
from unpairaug.training.trainer import JointTrainer

VARIANTS = {"fp32": ("no", None), "bf16": ("bf16", None), "compiled": ("bf16", "default")}
VARIANTS |= {"graphs": ("bf16", "reduce-overhead")}
"""Mixed precision, and the mode of torch.compile; `reduce-overhead` records CUDA graphs."""


def measure_step(recipe: Recipe, variant: str, deadline: float, steps: int) -> dict[str, Any]:
    """Speed and memory of one variant; fewer steps where the deadline is near."""
    precision, mode = VARIANTS[variant]
    AcceleratorState._reset_state(reset_partial_state=True)  # the precision of a process is fixed by its first user
    trainer = build_trainer(recipe, Accelerator(mixed_precision=precision))
    device = trainer.accelerator.device
    if mode is not None:
        compile_networks(trainer, mode)
    step = make_joint_step(trainer, recipe)

    def marked() -> None:
        torch.compiler.cudagraph_mark_step_begin()
        step()

    began = time.perf_counter()
    for _ in range(3):
        marked()
    synchronize(device)
    warm_up = time.perf_counter() - began
    with PeakMemory(device) as memory:
        taken: list[float] = []
        while len(taken) < steps and (time.monotonic() < deadline or not taken):
            taken.append(time_step(marked, device))
    seconds, busy = statistics.median(taken), busy_share(marked, device)
    found = {"ms": 1000 * seconds, "steps": len(taken), "warm_up_s": warm_up, "busy": busy, "peak_bytes": memory.peak}
    if mode is None:  # compiled graphs hide their operators from the counter
        with FlopCounterMode(display=False) as counter:
            step()
        peak = matmul_peak(device, torch.float32 if precision == "no" else torch.bfloat16)
        rate = counter.get_total_flops() / seconds
        found |= {"gflop": counter.get_total_flops() / 1e9, "tflops": rate / 1e12, "share_of_peak": rate / peak}
    return found


def compile_networks(trainer: JointTrainer, mode: str) -> None:
    """Compile every network of the step in place."""
    networks = (*trainer.translator.generators.values(), *trainer.translator.discriminators.values(), trainer.task.head)
    for network in networks:
        if network is not None:
            network.compile(mode=mode)


def busy_share(step: Any, device: torch.device) -> float | None:
    """Share of the wall time of a step in which a kernel runs; None on a CPU."""
    if device.type != "cuda":
        return None
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        seconds = time_step(step, device)
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1e6 / seconds


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 512
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / min(time_step(lambda: one @ other, device) for _ in range(8))


def measure_restoration(recipe: Recipe, megapixels: float) -> dict[str, float]:
    """Restore a random photograph, 3:2, with the untrained head of the recipe."""
    AcceleratorState._reset_state(reset_partial_state=True)
    trainer = build_trainer(recipe, Accelerator(mixed_precision="no"))
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    image = np.random.default_rng(0).integers(0, 256, (height, height * 3 // 2, 3), np.uint8)
    tile = choose_tile(trainer.task, *image.shape[:2])
    with PeakMemory(trainer.accelerator.device) as memory:
        seconds = time_step(lambda: restore_image(trainer.task, image, tile), trainer.accelerator.device)
    return {"s": seconds, "megapixels_per_s": image[..., 0].size / 1e6 / seconds, "peak_bytes": memory.peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--recipe", default="cyclesr_sr_paper")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--megapixels", type=float, default=24.0)
    parser.add_argument("--seconds", type=float, default=540.0, help="no new measurement begins after these")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    overrides = [f"data.batch_size={options.batch}", f"data.crop={options.crop}"]
    recipe = load_recipe(options.recipe, overrides).resolve(steps_per_epoch=1)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    found: dict[str, Any] = {"device": name, "torch": torch.__version__, "batch": options.batch, "crop": options.crop}
    jobs = {"restore": lambda: measure_restoration(recipe, options.megapixels)}
    jobs |= {v: lambda v=v: measure_step(recipe, v, deadline, options.steps) for v in options.variants}
    for label, job in jobs.items():
        try:
            found[label] = job() if time.monotonic() < deadline else "not measured: out of time"
        except RuntimeError as error:  # of the compiler or the device; the other measurements go on
            found[label] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        print(label, found[label], file=sys.stderr, flush=True)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
