"""Speed and memory of the joint step, alone or compared with another step on the same networks."""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from unpairaug.bench.memory import PeakMemory
from unpairaug.bench.roofline import Roofline, measure_roofline
from unpairaug.bench.timing import synchronize, time_step
from unpairaug.data import UnpairedBatch
from unpairaug.errors import UserError
from unpairaug.losses import cycle_loss, gan_loss, identity_loss
from unpairaug.recipe import Recipe
from unpairaug.recipe.optimizer_sections import NetworkOptimizer, OptimizerSection
from unpairaug.registry.plugins import FAULTS, format_error, search_current_folder
from unpairaug.registry.suggestions import suggest
from unpairaug.training.build import build_trainer
from unpairaug.training.step_reader import to_device
from unpairaug.training.trainer import JointTrainer

Step = Callable[[], object]
MakeStep = Callable[[JointTrainer, Recipe], Step]
"""Makes a step that trains the networks of a trainer on one fixed batch, such as that of `random_batch`."""


@dataclass(frozen=True)
class StepComparison:
    """Median times over interleaved steps, and peak memory in separate processes; None of the reference without one."""

    ours: float
    """Seconds per step."""
    reference: float | None
    """Seconds per step of the reference."""
    ratio: float | None
    """Median over pairs of consecutive steps of reference time / joint step time; above 1 is faster."""
    our_memory: int
    """Peak bytes above those allocated before the first step."""
    reference_memory: int | None
    """The same of the reference."""
    operators: list[tuple[str, float]]
    """The operators with the most self time in the joint step, each with its share."""
    roofline: Roofline
    """The joint step beside its convolutions, each timed alone."""


class ReferenceStep:
    """CycleSR's step in the order of its authors: six generator passes, two head passes, separate discriminators.

    One forward pass of everything; each discriminator is updated, then both generators with the head's loss; then the
    head runs again on the same fake for its own update. Four optimisers, full precision, contiguous memory format.
    """

    def __init__(self, trainer: JointTrainer, optimizer: OptimizerSection) -> None:
        translator: Any = trainer.translator
        if fault := find_reference_fault(trainer, optimizer):
            raise UserError(fault)
        self.translator, self.task, self.train = translator, trainer.task, trainer.train
        for network in trainer.networks.values():
            network.to(memory_format=torch.contiguous_format)
        self.opt_g = _adam(translator.generators, optimizer.generator)
        self.opt_d = {name: _adam(d, optimizer.discriminator) for name, d in translator.discriminators.items()}
        self.opt_head = _adam(self.task, optimizer.head)

    def __call__(self, batch: UnpairedBatch) -> None:
        clean, real, _ = batch
        translator, task = self.translator, self.task
        source = task.source(clean)
        fake, restored = translator.degrade(source), translator.restore(real)
        reconstructed_source, reconstructed_real = translator.restore(fake), translator.degrade(restored)
        guess = task(fake)

        translator.discriminators.requires_grad_(True)
        for domain, target, output in (("degraded", real, fake), ("clean", source, restored)):
            judge, pooled = translator.discriminators[domain], translator.pools[domain].query(output.detach())
            loss = (gan_loss(judge(target), True) + gan_loss(judge(pooled), False)) / 2
            self.update(self.opt_d[domain], loss, [judge])

        translator.discriminators.requires_grad_(False)
        task.requires_grad_(False)
        cycle, identity = translator.lambda_cycle, translator.lambda_cycle * translator.lambda_identity
        loss = (
            gan_loss(translator.discriminators["degraded"](fake), True)
            + gan_loss(translator.discriminators["clean"](restored), True)
            + cycle * (cycle_loss(reconstructed_source, source) + cycle_loss(reconstructed_real, real))
            + identity * identity_loss(translator.degrade(real), real)
            + identity * identity_loss(translator.restore(source), source)
            + self.train.lambda_task * task.loss(guess, clean)
        )
        self.update(self.opt_g, loss, list(translator.generators.values()))

        task.requires_grad_(True)
        self.update(self.opt_head, self.train.lambda_task * task.loss(task(fake.detach()), clean), [task])

    def update(self, optimizer: torch.optim.Optimizer, loss: Tensor, networks: list[nn.Module]) -> None:
        optimizer.zero_grad()
        loss.backward()
        if self.train.clip is not None:
            for network in networks:
                nn.utils.clip_grad_norm_(network.parameters(), self.train.clip)
        optimizer.step()


def find_reference_fault(trainer: JointTrainer, optimizer: OptimizerSection) -> str:
    """Why the reference step cannot train these networks; empty if it can."""
    if not hasattr(trainer.translator, "lambda_identity"):
        return f"translator {trainer.translator.config['type']!r} is not CycleGAN, which the reference step needs"
    if {spec.type for _, spec in optimizer} != {"adam"}:
        return "the reference step needs `type: adam` for every network in `optimizer`"
    return ""


def compare_steps(recipe: Recipe, steps: int, against: str | None = None) -> StepComparison:
    """Measure the memory of each step in a separate process, then time both in turn in this process.

    Args:
        against: `reference`, or another step: its entry point of group `unpairaug.bench_steps`, or `module:function` in
            the current folder. None takes the reference if it can train the networks of the recipe, else nothing.

    Raises:
        UserError: the other step does not exist, or cannot train these networks.
    """
    trainer = _trainer(recipe)
    if against is None and not find_reference_fault(trainer, recipe.optimizer):
        against = REFERENCE
    kinds = [JOINT, against] if against else [JOINT]
    makers = [find_step(kind) for kind in kinds]
    memory = [_measure_in_process(kind, recipe) for kind in kinds]
    made = [make(_trainer(recipe), recipe) for make in makers]
    device = trainer.accelerator.device
    for step in made:
        step()  # warm-up: the first step allocates memory that later steps reuse
    taken = [[time_step(step, device) for step in made] for _ in range(steps)]
    medians = [statistics.median(times) for times in zip(*taken, strict=True)]
    return StepComparison(
        ours=medians[0],
        reference=medians[1] if against else None,
        ratio=statistics.median(other / ours for ours, other in taken) if against else None,
        our_memory=memory[0],
        reference_memory=memory[1] if against else None,
        operators=operator_shares(made[0], device),
        roofline=measure_roofline(made[0], device),
    )


def find_step(name: str) -> MakeStep:
    """The function that makes a step: `joint`, `reference`, an entry point, or `module:function`.

    Raises:
        UserError: there is none of that name, or it cannot be imported.
    """
    if name in STEPS:
        return STEPS[name]
    found = [EntryPoint("", name, STEP_GROUP)] if ":" in name else list(entry_points(group=STEP_GROUP, name=name))
    if not found:
        known = [*STEPS, *(point.name for point in entry_points(group=STEP_GROUP))]
        raise UserError(
            f"no step is called {name!r}; {suggest(name, known, list_known=True)}, or write module:function"
        )
    search_current_folder()
    try:
        return found[0].load()
    except FAULTS as error:
        raise UserError(f"the step {name} cannot be loaded: {format_error(error)}") from error


def make_joint_step(trainer: JointTrainer, recipe: Recipe) -> Step:
    """The joint step of `JointTrainer` on random images."""
    batch = random_batch(trainer, recipe)
    joint = trainer.schedule.translator_end - 1
    return lambda: trainer.train_step([batch], joint)


def make_reference_step(trainer: JointTrainer, recipe: Recipe) -> Step:
    """The reference step on the same networks and images."""
    batch = random_batch(trainer, recipe)
    plain = UnpairedBatch(batch.clean.contiguous(), batch.degraded.contiguous(), batch.index)
    step = ReferenceStep(trainer, recipe.optimizer)
    return lambda: step(plain)


JOINT, REFERENCE = "joint", "reference"
STEPS: dict[str, MakeStep] = {JOINT: make_joint_step, REFERENCE: make_reference_step}
STEP_GROUP = "unpairaug.bench_steps"
"""Entry points of other packages: functions like `make_reference_step`."""


def random_batch(trainer: JointTrainer, recipe: Recipe) -> UnpairedBatch:
    """A batch of random images with the sizes of the recipe."""
    size, small, count = recipe.data.crop, recipe.data.crop // trainer.task.scale, recipe.data.batch_size
    rng = torch.Generator().manual_seed(recipe.train.seed)
    shapes = ((count, 3, side, side) for side in (size, small))
    clean, degraded = (torch.randint(256, shape, generator=rng, dtype=torch.uint8) for shape in shapes)
    return to_device(UnpairedBatch(clean, degraded, torch.arange(count)), trainer.accelerator)


def operator_shares(step: Step, device: torch.device, count: int = 6) -> list[tuple[str, float]]:
    """The operators (CUDA: kernels) with the most self time in one step, each with its share."""
    activity = torch.profiler.ProfilerActivity.CUDA if device.type == "cuda" else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity]) as profile:
        step()
        synchronize(device)
    own = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    times = {event.key: getattr(event, own) for event in profile.key_averages()}
    total = sum(times.values())
    return [(name, times[name] / total) for name in sorted(times, key=times.__getitem__, reverse=True)[:count]]


def peak_memory(kind: str, recipe: Recipe, steps: int = 3) -> int:
    """Peak bytes over a few steps above those allocated before; call it in a fresh process."""
    trainer = _trainer(recipe)
    step = find_step(kind)(trainer, recipe)
    with PeakMemory(trainer.accelerator.device) as memory:
        for _ in range(steps):
            step()
    return memory.peak - memory.before


def _measure_in_process(kind: str, recipe: Recipe) -> int:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_memory, (kind, recipe))


def _adam(network: nn.Module, spec: NetworkOptimizer) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=spec.lr, weight_decay=spec.weight_decay, **spec.options())


def _trainer(recipe: Recipe) -> JointTrainer:
    return build_trainer(recipe, Accelerator(mixed_precision=recipe.train.mixed_precision or "no"))
