"""Preflight of a run: its recipe, its data, measured camera, two steps, time and memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from typing import Any

from unpairaug.bench.dry_run import DryRun, dry_run
from unpairaug.data.sources import SAMPLE
from unpairaug.recipe import load_recipe
from unpairaug.recipe.recipe import Overrides
from unpairaug.terminal.progress import format_duration
from unpairaug.training.build import build_trainer, make_accelerator
from unpairaug.training.data_order import resolve_order
from unpairaug.training.measure_camera import format_camera, measure_camera
from unpairaug.training.summary_reasons import format_few_images
from unpairaug.training.training_data import open_data, resolve_lengths


def describe_load() -> str:
    """A note where other programs compete for the cores, so that an estimate is too high; else empty."""
    if not hasattr(os, "getloadavg"):
        return ""  # Windows
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    return (
        f"note: the machine is busy (load {load:.1f} on {cores} cores); idle, it is faster" if load > cores + 1 else ""
    )


def check(
    recipe: str | PathLike[str],
    overrides: Overrides = (),
    report: Callable[[str], object] = print,
    **sections: Any,
) -> DryRun:
    """Check a recipe and its data, take two steps, and estimate time and memory. Trains nothing, writes nothing.

    Args:
        recipe: a file, or the name of a bundled recipe.
        overrides: `["train.steps=500"]`, `{"train": {"steps": 500}}` or `{"train.steps": 500}`; see `load_recipe`.
        report: called with each part of the report, lines of text.
        sections: values by section, on top of the overrides.

    Raises:
        UserError: the recipe or the data are wrong, a loss is not finite, or memory does not suffice.
    """
    loaded = load_recipe(recipe, overrides, **sections)
    accelerator = make_accelerator(loaded)
    data = open_data(loaded, accelerator.num_processes)
    report(str(data.report))
    sets = {side: data.report.sets[side] for side in ("clean", "degraded")}
    own = {side: found.count for side, found in sets.items() if found.source.partition(":")[0] != SAMPLE}
    for few in format_few_images(own):  # the sample photographs are few on purpose
        report(few)
    loaded = resolve_lengths(loaded, data, accelerator.num_processes)
    loaded, order = resolve_order(loaded, data, accelerator.num_processes)
    report(order)
    report(data.epochs(loaded, accelerator.num_processes))
    trainer = build_trainer(loaded, accelerator)
    if found := measure_camera(loaded, data, trainer):
        report(format_camera(found))
    for name, network in trainer.networks.items():
        report(f"{name:<22} {sum(p.numel() for p in network.parameters()):>12,} parameters")
    steps, samples = trainer.schedule.steps, data.samples(loaded.bridge.pairs)
    result = dry_run(trainer, samples, loaded.data.batch_size, loaded.train.gradient_accumulation)
    report(
        f"two dry steps on {accelerator.device}: {result.seconds_per_step:.3f} s a step, peak memory "
        f"{result.peak_memory / 2**30:.2f} GiB of {result.memory / 2**30:.1f}; losses finite\n"
        f"{steps} steps in about {format_duration(steps * result.seconds_per_step)}, "
        f"without validation and start-up"
    )
    if busy := describe_load():
        report(busy)
    return result
