"""Build the objects of a run from a checked recipe."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, set_seed

from unpairaug.bridge import Bridge
from unpairaug.camera import MeasuredCamera
from unpairaug.errors import UserError
from unpairaug.recipe import Recipe
from unpairaug.recipe.translator_section import LEARNS, START, without_start
from unpairaug.registry import Spec, tasks
from unpairaug.restoring.processes import ignore_incomplete_launcher
from unpairaug.sharing.pretrained import load_part
from unpairaug.task import Task
from unpairaug.training.real_path import RealPath
from unpairaug.training.schedule import Schedule
from unpairaug.training.trainer import JointTrainer
from unpairaug.translator import BehindCamera, JudgesRealness, Restores, Translator, build_translator


def make_accelerator(recipe: Recipe, **options: Any) -> Accelerator:
    """An accelerator with the device, precision and processes of accelerate's launcher, or those of the recipe.

    The trainer counts micro-batches, so accelerate's own count is fixed at 1 whatever its flag says.

    Raises:
        UserError: the launcher's environment is that of several processes, but incomplete.
    """
    ignore_incomplete_launcher()
    one = GradientAccumulationPlugin(num_steps=1)
    return Accelerator(mixed_precision=recipe.train.mixed_precision, gradient_accumulation_plugin=one, **options)


def build_trainer(recipe: Recipe, accelerator: Accelerator) -> JointTrainer:
    """A trainer with translator, task, bridge and schedule of the recipe, whose lengths are in steps.

    The initial weights of each part depend on the seed alone, so that the same head starts equal with every translator.

    Raises:
        UserError: the crop is too small for the translator or a loss, the task's scale is not the recipe's, the weights
            of a loss cannot be loaded, or an optimiser cannot be used.
    """
    set_seed(recipe.train.seed)
    translator = _build_translator(recipe.translator)
    set_seed(recipe.train.seed)
    task = tasks.build(recipe.task)
    set_seed(recipe.train.seed)
    _validate_base_classes(recipe, translator, task)
    _validate_translator_methods(recipe, translator)
    _validate_measured_values(recipe, translator)
    _validate_sizes(recipe, translator, task)  # also builds the discriminators of the task's losses
    share = recipe.bridge.pairs if recipe.data.pairs_clean is not None else 0.0
    bridge = Bridge(**{**recipe.bridge.model_dump(), "pairs": share})
    real_path = RealPath(task.scale, **recipe.real_path.model_dump())
    schedule = make_schedule(recipe)
    return JointTrainer(accelerator, translator, task, bridge, real_path, schedule, recipe.train, recipe.optimizer)


def _build_translator(spec: Spec) -> Translator:
    """The translator of a recipe's section with its initial weights; frozen if `translator.train` is false."""
    translator = build_translator(without_start(spec))
    if start := spec.get(START):
        try:
            translator.load_saved(load_part(start, "translator").weights)
        except RuntimeError as error:
            raise UserError(f"translator.from {start!r}: its weights do not fit the options given: {error}") from error
        translator.generators.requires_grad_(spec[LEARNS])
    return translator


def make_schedule(recipe: Recipe) -> Schedule:
    """The schedule of a recipe whose lengths are in steps."""
    schedule = Schedule(steps=recipe.train.steps, **recipe.schedule.model_dump())  # type: ignore[arg-type]
    assert all(not isinstance(length, str) for length in vars(schedule).values()), "resolve the recipe's epochs first"
    return schedule


def _validate_base_classes(recipe: Recipe, translator: object, task: object) -> None:
    for part, base, spec in ((translator, Translator, recipe.translator), (task, Task, recipe.task)):
        if not isinstance(part, base):
            what, cls = base.__name__.lower(), type(part).__name__
            raise UserError(f"{what} {spec['type']!r}: {cls} is no {what}; derive it from unpairaug.{base.__name__}")
    reserved = ((translator, "camera", MeasuredCamera, recipe.translator), (task, "restorer", Translator, recipe.task))
    for part, name, kind, spec in reserved:
        value = getattr(part, name)
        if value is not None and not isinstance(value, kind):
            raise UserError(
                f"{spec['type']!r}: its attribute `{name}` is a {type(value).__name__}, but the base class keeps a "
                f"{kind.__name__} there; give yours another name"
            )


def _validate_translator_methods(recipe: Recipe, translator: Translator) -> None:
    """Raise if the recipe needs an ability that the translator does not have."""
    feeds = {"bridge.feed": recipe.bridge.feed, "real_path.feed": recipe.real_path.feed}
    needed: dict[str, tuple[str, type]] = {
        f"{key}: {feed}": ("restore", Restores) for key, feed in feeds.items() if feed.startswith("restore(")
    }
    if recipe.bridge.domain_weights:
        needed["bridge.domain_weights: true"] = "realness", JudgesRealness
    for key, (method, ability) in needed.items():
        if not isinstance(translator, ability):
            raise UserError(
                f"{key} needs a translator with `{method}`, and {recipe.translator['type']!r} has none; take another "
                f"translator, or leave {key.partition(':')[0]} out"
            )
        if ability is Restores and isinstance(translator, BehindCamera):
            raise UserError(
                f"{key} needs a way back to sources, and behind a measured camera {recipe.translator['type']!r} "
                f"restores what the camera shows of them; give translator.measure=none"
            )


def _validate_measured_values(recipe: Recipe, translator: Translator) -> None:
    others = {"strength": "a share, such as bridge.strength=[0.5,1]"}
    others["perturbation"] = "8-bit steps, such as bridge.perturbation=[0,8]"
    for key, other in others.items():
        if getattr(recipe.bridge, key) == "measured" and translator.camera is None:
            raise UserError(
                f"bridge.{key}: measured needs a measured camera, and translator.measure is none; set "
                f"translator.measure=all, or give {other}"
            )


def _validate_sizes(recipe: Recipe, translator: Translator, task: Task) -> None:
    scale = recipe.task.get("scale", 1)
    if task.scale != scale:
        raise UserError(
            f"task {recipe.task['type']!r} has scale {task.scale}, but the recipe knows of scale {scale}: let its "
            f"constructor take `scale`, and give task.scale"
        )
    side, least = recipe.data.crop // scale, translator.smallest_side
    if side < least:
        raise UserError(
            f"data.crop {recipe.data.crop} at task.scale {scale} gives translator {recipe.translator['type']!r} images "
            f"of {side} px, and it needs {least}; set data.crop to {least * scale} or more"
        )
    _validate_output_shape(task, side, recipe.task["type"])
    for name, least in task.criterion.smallest_side.items():
        if recipe.data.crop < least:
            raise UserError(
                f"data.crop {recipe.data.crop} is too small for task.loss.{name}, which needs {least} px; set it to "
                f"{least} or more"
            )


def _validate_output_shape(task: Task, side: int, name: str) -> None:
    """Run the head once at the training size: an output of another shape would be broadcast against the clean image."""
    expected = (1, 3, side * task.scale, side * task.scale)
    task.eval()  # so that running statistics stay as they are
    try:
        with torch.no_grad():
            restored = task(torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)))
    except RuntimeError as error:
        raise UserError(f"task {name!r}: its head cannot restore an image of {side} px: {error}") from error
    found = tuple(restored.shape)
    if found != expected:
        raise UserError(
            f"task {name!r}: from an image (1, 3, {side}, {side}) its head returns {found}; at scale {task.scale} "
            f"{expected} is expected; use another head or task.scale"
        )
    if not restored.isfinite().all():
        head = task.config["head"]["type"] if isinstance(task.config.get("head"), dict) else task.config.get("head")
        raise UserError(
            f"head {head} returns NaN or infinity for a finite image, before any training; look in its forward and its "
            f"initial weights for a division by zero, or a root or logarithm of a negative number"
        )
    task.train()
