"""`unpairaug check`."""

from __future__ import annotations

from unpairaug.commands.train import Overrides, RecipeName


def check(recipe: RecipeName, overrides: Overrides = None) -> None:
    """Check a recipe and its data, take two dry steps, estimate time and memory. Trains nothing, writes nothing."""
    from unpairaug.bench.dry_run import dry_run
    from unpairaug.recipe import load_recipe
    from unpairaug.terminal.progress import format_duration
    from unpairaug.training.build import build_trainer, in_steps, make_accelerator, open_data

    checked = load_recipe(recipe, overrides or [])
    accelerator = make_accelerator(checked)
    data = open_data(checked, accelerator.num_processes)
    print(data.report)
    checked = in_steps(checked, data, accelerator.num_processes)
    print(data.passes(checked, accelerator.num_processes))
    trainer = build_trainer(checked, accelerator)
    for name, network in trainer.networks.items():
        print(f"{name:<22} {sum(p.numel() for p in network.parameters()):>12,} parameters")
    steps = trainer.schedule.steps
    result = dry_run(trainer, data.crops, checked.data.batch_size, checked.train.gradient_accumulation)
    print(
        f"two dry steps on {accelerator.device}: {result.seconds_per_step:.3f} s a step, peak memory "
        f"{result.peak_memory / 2**30:.2f} GiB of {result.memory / 2**30:.1f}; losses finite\n"
        f"{steps} steps in about {format_duration(steps * result.seconds_per_step)}, "
        f"validation and first start apart"
    )
