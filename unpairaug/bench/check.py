"""Preflight of a run: its recipe, its data, measured camera, two steps, time and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unpairaug.bench.dry_run import DryRun, dry_run
from unpairaug.recipe import load_recipe
from unpairaug.terminal.progress import format_duration
from unpairaug.training.build import build_trainer, make_accelerator
from unpairaug.training.data_order import resolve_order
from unpairaug.training.measure_camera import format_camera, measure_camera
from unpairaug.training.training_data import open_data, resolve_lengths


def check(recipe_name: str, overrides: Sequence[str] = (), report: Callable[[str], object] = print) -> DryRun:
    """Check a recipe and its data, take two steps, and estimate time and memory. Trains nothing, writes nothing.

    Args:
        recipe_name: a file, or the name of a bundled recipe.
        overrides: `dotted.key=value`, on top of it.
        report: called with each part of the report, lines of text.

    Raises:
        UserError: the recipe or the data are wrong, a loss is not finite, or memory does not suffice.
    """
    recipe = load_recipe(recipe_name, overrides)
    accelerator = make_accelerator(recipe)
    data = open_data(recipe, accelerator.num_processes)
    report(str(data.report))
    recipe = resolve_lengths(recipe, data, accelerator.num_processes)
    recipe, order = resolve_order(recipe, data, accelerator.num_processes)
    report(order)
    report(data.epochs(recipe, accelerator.num_processes))
    trainer = build_trainer(recipe, accelerator)
    if found := measure_camera(recipe, data, trainer):
        report(format_camera(found))
    for name, network in trainer.networks.items():
        report(f"{name:<22} {sum(p.numel() for p in network.parameters()):>12,} parameters")
    steps = trainer.schedule.steps
    samples, accumulation = data.samples(recipe.bridge.pairs), recipe.train.gradient_accumulation
    result = dry_run(trainer, samples, recipe.data.batch_size, accumulation)
    report(
        f"two dry steps on {accelerator.device}: {result.seconds_per_step:.3f} s a step, peak memory "
        f"{result.peak_memory / 2**30:.2f} GiB of {result.memory / 2**30:.1f}; losses finite\n"
        f"{steps} steps in about {format_duration(steps * result.seconds_per_step)}, "
        f"without validation and start-up"
    )
    return result
