"""Build the objects of a run from a checked recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, set_seed

from unpairaug.bridge import Bridge
from unpairaug.camera import MeasuredCamera
from unpairaug.data import UnpairedBatch, UnpairedCrops, ValidationPairs, open_images
from unpairaug.data.bad import BadCount
from unpairaug.data.images import ImageSet
from unpairaug.data.mixture import MixedImages
from unpairaug.data.preflight import DataReport, preflight
from unpairaug.data.sample import Part
from unpairaug.data.sources import Source, check_output_dir, is_sample
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

SAMPLE_ROWS = 4
"""Samples on a sample sheet."""
READ_CHUNK = 64
"""Samples whose images are in memory at the same time."""


@dataclass(frozen=True)
class TrainingData:
    """The images of a run, after the preflight has read each of them."""

    crops: UnpairedCrops
    """The training samples."""
    validation: ValidationPairs | None
    """The pairs that the averaged head is measured on; None where none are given."""
    report: DataReport
    """What the preflight found."""
    bad: BadCount | None = None
    """Counts the bad images, where they are skipped."""

    def identity(self) -> dict[str, str]:
        """A fingerprint of the images of each side: with the recipe, they decide the order of the samples."""
        sides = {"clean": self.crops.clean, "degraded": self.crops.degraded}
        return {side: f"{len(images)} images, {_fingerprint(images)}" for side, images in sides.items()}

    def epochs(self, recipe: Recipe, processes: int) -> str:
        """How many epochs of each side a run of the recipe takes, its lengths in steps, as a line of the log."""
        assert isinstance(recipe.train.steps, int), "resolve the recipe's epochs first"
        samples = recipe.train.steps * samples_per_step(recipe, processes)
        sides = {"clean": self.crops.clean, "degraded": self.crops.degraded}
        epochs = (f"{name} {count}" for side, images in sides.items() for name, count in _epochs(side, images, samples))
        return f"epochs in {recipe.train.steps} steps: {', '.join(epochs)}"

    def first_samples(self, count: int = SAMPLE_ROWS) -> UnpairedBatch:
        """The first samples of the stream: for the sample sheets, and for what is measured before training."""
        batches = [self.crops.__getitems__(ks.tolist()) for ks in torch.arange(count).split(READ_CHUNK)]
        return UnpairedBatch(*map(torch.cat, zip(*batches, strict=True)))


def open_data(recipe: Recipe, processes: int = 1) -> TrainingData:
    """Open the image sets of the recipe and check every image.

    Args:
        recipe: whose `data` and scale are read.
        processes: number of training processes; the order of large sets of shards depends on the samples per step.

    Raises:
        UserError: an image or a folder is missing, broken, too small, or contradicts the scale.
    """
    data, scale = recipe.data, recipe.task.get("scale", 1)
    parts: list[Part] = ["clean", "degraded", "val_clean", "val_degraded"]
    if is_paired := recipe.bridge.feed == "real":
        parts.append("ceiling_clean")
    check_output_dir(recipe.output_dir, [getattr(data, part) for part in parts])
    sets = {part: open_images(source, part, scale) for part in parts if (source := getattr(data, part)) is not None}
    skip_bad = data.on_bad == "skip" and not is_paired
    max_bad = data.max_bad if skip_bad else None
    report = preflight(**sets, scale=scale, crop=data.crop, max_bad=max_bad)  # type: ignore[arg-type]  # its own names
    if is_sample(data.val_clean) and not any(map(is_sample, (*_source_list(data.clean), *_source_list(data.degraded)))):
        report.warnings.append(
            "validation measures on the sample photographs, not on yours: give data.val_clean and data.val_degraded, "
            "or null for both"
        )
    clean = sets["ceiling_clean"] if is_paired else sets["clean"]
    crops = _make_crops(recipe, clean, sets["degraded"], processes, skip_bad)
    bad = None
    if crops.bad is not None:
        crops.bad.add_all(report.bad)
        count = len(crops.clean) + len(crops.degraded)
        bad = BadCount(crops.bad, data.max_bad, report.checked, count, samples_per_step(recipe, processes))
    validation = ValidationPairs(sets["val_clean"], sets["val_degraded"], scale) if "val_clean" in sets else None
    return TrainingData(crops, validation, report, bad)


def _make_crops(recipe: Recipe, clean: ImageSet, degraded: ImageSet, processes: int, skip_bad: bool) -> UnpairedCrops:
    """The training samples of the recipe."""
    return UnpairedCrops(
        clean,
        degraded,
        crop=recipe.data.crop,
        scale=recipe.task.get("scale", 1),
        seed=recipe.train.seed,
        flip=recipe.data.flip,
        rotate=recipe.data.rotate,
        paired=recipe.bridge.feed == "real",
        lanes=samples_per_step(recipe, processes),
        own_lanes=samples_per_step(recipe, processes=1),
        skip_bad=skip_bad,
    )


def resolve_lengths(recipe: Recipe, data: TrainingData, processes: int) -> Recipe:
    """The recipe with every length in steps; an epoch is one pass over the clean images."""
    return recipe.resolve(data.report.steps_per_epoch(samples_per_step(recipe, processes)))


def samples_per_step(recipe: Recipe, processes: int) -> int:
    """Samples of each side in one step, of all processes together: the global batch size."""
    return recipe.data.batch_size * processes * recipe.train.gradient_accumulation


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
    bridge = Bridge(**recipe.bridge.model_dump())
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


def _fingerprint(images: ImageSet) -> str:
    """A hash of the names and their order; of shards, whose names may be too many, of their sizes."""
    if isinstance(images, MixedImages):
        parts = [_fingerprint(one) for one in images.sets]
    else:
        parts = list(images.names) if images.shard_sizes is None else [str(size) for size in images.shard_sizes]
    return blake2b("\0".join(parts).encode(errors="surrogateescape"), digest_size=8).hexdigest()


def _source_list(source: Source) -> Iterable[str]:
    return [source] if isinstance(source, str) else source


def _epochs(side: str, images: ImageSet, samples: int) -> Iterator[tuple[str, str]]:
    if not isinstance(images, MixedImages):
        yield side, f"{samples / len(images):.3g}"
        return
    for one, weight in zip(images.sets, images.weights, strict=True):
        yield f"{side} {one.source}", f"{samples * weight / sum(images.weights) / len(one):.3g}"


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
            found = tuple(task(torch.zeros(1, 3, side, side)).shape)
    except RuntimeError as error:
        raise UserError(f"task {name!r}: its head cannot restore an image of {side} px: {error}") from error
    if found != expected:
        raise UserError(
            f"task {name!r}: from an image (1, 3, {side}, {side}) its head returns {found}; at scale {task.scale} "
            f"{expected} is expected; use another head or task.scale"
        )
    task.train()
