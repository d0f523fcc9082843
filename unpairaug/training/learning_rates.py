"""The learning rate of each kind of network as a function of the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from unpairaug.recipe.optimizer_sections import (
    LrSchedule,
    MultiStepSchedule,
    NetworkOptimizer,
    OptimizerSection,
    PolySchedule,
    StepSchedule,
)
from unpairaug.training.schedule import Schedule

LearningRate = Callable[[int], float]


def learning_rates(section: OptimizerSection, schedule: Schedule) -> dict[str, LearningRate]:
    """The learning rate of each role among the networks, from its first trained step to its last."""
    translator, head = (0, schedule.translator_end), (schedule.translator_warmup, schedule.steps)
    return {
        "generator": learning_rate(section.generator, schedule, *translator),
        "discriminator": learning_rate(section.discriminator, schedule, *translator),
        "head": learning_rate(section.head, schedule, *head),
        "task_discriminator": learning_rate(section.discriminator, schedule, *head),
    }


def learning_rate(network: NetworkOptimizer, schedule: Schedule, begin: int, end: int) -> LearningRate:
    """The learning rate of networks that are trained from step `begin` until step `end`."""
    if network.lr_schedule is None:
        return lambda step: network.lr * schedule.lr_factor(step, end)
    scheduler = make_timm_scheduler(network.lr_schedule, network.lr, max(1, end - begin))

    def at(step: int) -> float:
        scheduler.step_update(max(0, step - begin))
        return scheduler.optimizer.param_groups[0]["lr"]

    return at


def make_timm_scheduler(schedule: LrSchedule, lr: float, steps: int) -> Any:
    """timm's scheduler for a dummy optimiser; its lengths are in steps, which timm calls updates."""
    from timm.scheduler import create_scheduler_v2  # pyright: ignore[reportPrivateImportUsage]  # timm marks no exports

    options: dict[str, Any] = {"min_lr": getattr(schedule, "min_lr", 0.0)}
    if isinstance(schedule, PolySchedule):
        options["decay_rate"] = schedule.power  # timm's factory has one argument for both
    if isinstance(schedule, StepSchedule):
        options |= {"decay_epochs": int(schedule.decay), "decay_rate": schedule.decay_rate}
    if isinstance(schedule, MultiStepSchedule):
        # timm applies a milestone m from step m - 1 on; here it applies after m steps, like timm's own `step` schedule.
        options |= {"decay_milestones": [int(m) + 1 for m in schedule.milestones], "decay_rate": schedule.decay_rate}
    dummy = torch.optim.SGD([torch.zeros(())], lr=lr)
    scheduler, _ = create_scheduler_v2(
        dummy,
        sched=schedule.type,
        num_epochs=steps,
        warmup_epochs=int(schedule.warmup),
        warmup_lr=schedule.warmup_lr,
        step_on_epochs=False,
        updates_per_epoch=1,
        **options,
    )
    return scheduler
