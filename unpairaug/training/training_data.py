"""The images of a run: opened, checked, and as a stream of training samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor

from unpairaug.data import UnpairedBatch, UnpairedCrops, ValidationPairs, open_images
from unpairaug.data.bad import BadCount
from unpairaug.data.images import ImageSet
from unpairaug.data.mixture import MixedImages
from unpairaug.data.pair_share import CropsWithPairs
from unpairaug.data.preflight import DataReport, preflight
from unpairaug.data.sample import Part
from unpairaug.data.sources import Source, check_output_dir, is_sample
from unpairaug.recipe import Recipe

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
    pairs: UnpairedCrops | None = None
    """The pairs to train on beside the unpaired images; None where none are given."""

    def samples(self, share: float) -> UnpairedCrops | CropsWithPairs:
        """The training samples; `share` of them are pairs, where there are pairs."""
        return self.crops if self.pairs is None else CropsWithPairs(self.crops, self.pairs, share)

    def identity(self) -> dict[str, str]:
        """A fingerprint of the images of each side: with the recipe, they decide the order of the samples."""
        sides = {"clean": self.crops.clean, "degraded": self.crops.degraded}
        if self.pairs is not None:
            sides |= {"pairs_clean": self.pairs.clean, "pairs_degraded": self.pairs.degraded}
        return {side: f"{len(images)} images, {_fingerprint(images)}" for side, images in sides.items()}

    def epochs(self, recipe: Recipe, processes: int) -> str:
        """How many epochs of each side a run of the recipe takes, its lengths in steps, as a line of the log."""
        assert isinstance(recipe.train.steps, int), "resolve the recipe's epochs first"
        samples = recipe.train.steps * samples_per_step(recipe, processes)
        sides = {"clean": self.crops.clean, "degraded": self.crops.degraded}
        epochs = (f"{name} {count}" for side, images in sides.items() for name, count in _epochs(side, images, samples))
        return f"epochs in {recipe.train.steps} steps: {', '.join(epochs)}"

    def first_samples(
        self, count: int = SAMPLE_ROWS, progress: Callable[[Iterable[Tensor]], Iterator[Tensor]] = iter
    ) -> UnpairedBatch:
        """The first samples of the stream: for the sample sheets, and for what is measured before training.

        `progress` passes the chunks of sample numbers on, and may show how many are read.
        """
        batches = [self.crops.__getitems__(ks.tolist()) for ks in progress(torch.arange(count).split(READ_CHUNK))]
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
    parts: list[Part] = ["clean", "degraded", "val_clean", "val_degraded", "pairs_clean", "pairs_degraded"]
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
    crops = _make_crops(recipe, clean, sets["degraded"], processes, skip_bad, is_paired)
    bad = None
    if crops.bad is not None:
        crops.bad.add_all(report.bad)
        count = len(crops.clean) + len(crops.degraded)
        bad = BadCount(crops.bad, data.max_bad, report.checked, count, samples_per_step(recipe, processes))
    validation = ValidationPairs(sets["val_clean"], sets["val_degraded"], scale) if "val_clean" in sets else None
    pairs = None
    if "pairs_clean" in sets:
        pairs = _make_crops(recipe, sets["pairs_clean"], sets["pairs_degraded"], processes, is_paired=True)
    return TrainingData(crops, validation, report, bad, pairs)


def _make_crops(
    recipe: Recipe,
    clean: ImageSet,
    degraded: ImageSet,
    processes: int,
    skip_bad: bool = False,
    is_paired: bool = False,
) -> UnpairedCrops:
    """The crops of two image sets, as the recipe wants them."""
    return UnpairedCrops(
        clean,
        degraded,
        crop=recipe.data.crop,
        scale=recipe.task.get("scale", 1),
        seed=recipe.train.seed,
        flip=recipe.data.flip,
        rotate=recipe.data.rotate,
        paired=is_paired,
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
        yield side, _format_count(samples / len(images))
        return
    for one, weight in zip(images.sets, images.weights, strict=True):
        yield f"{side} {one.source}", _format_count(samples * weight / sum(images.weights) / len(one))


def _format_count(number: float) -> str:
    """Three digits, or all those before the point."""
    return f"{number:.0f}" if number >= 1000 else f"{number:.3g}"
