"""Compares restored images with their ground truth: metrics of each image and their means."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

from accelerate.utils import gather_object

from unpairaug.data.decode import Array
from unpairaug.data.files import create_folder
from unpairaug.data.images import write_image
from unpairaug.data.output_files import OutputFiles
from unpairaug.data.pairs import ImagePair, ValidationPairs
from unpairaug.data.sources import SAMPLE, is_sample, open_images
from unpairaug.errors import UserError, escape
from unpairaug.evaluation.comparison_sheet import draw_comparison_sheet
from unpairaug.evaluation.metrics import average_metrics, default_border, measure
from unpairaug.evaluation.modcrop import EvaluationPairs, ModcropImages
from unpairaug.evaluation.perceptual_metrics import perceptual_metrics
from unpairaug.evaluation.restored_folder import RestoredFolder, is_restored_folder
from unpairaug.evaluation.results import Results
from unpairaug.restoring.processes import process_state
from unpairaug.restoring.restore import BICUBIC, Restorer, best_device, load_model, restore_image

log = logging.getLogger("unpairaug")

SAMPLE_SCALE = 2
"""Scale of `bicubic` on the sample, which exists at any scale; the same as in the bundled recipes."""

Measure = Callable[[ImagePair, Array], dict[str, float]]
"""(pair, restored image) -> every metric by its name."""


def evaluate(
    model: str | PathLike[str],
    degraded: str | PathLike[str],
    clean: str | PathLike[str],
    border: int | None = None,
    tile: int | None = None,
    scale: int | None = None,
    perceptual: Sequence[str] = (),
    sheets: Path | None = None,
    trust_code: bool = False,
    modcrop: bool = False,
    on_bad: Literal["raise", "skip"] = "raise",
    files: OutputFiles | None = None,
) -> Results:
    """Restore every degraded image and compare it with its ground truth; processes share the images.

    Args:
        model: a run folder, its `head/`, a hub id, `bicubic`, or a folder of restored images named as the ground truth.
        degraded, clean: folders, or `sample` for the validation split of the sample photographs.
        border: pixels cropped from every side before measuring; by default the scale, or 0 at scale 1.
        tile: side in pixels of the tiles of a degraded image; by default images stay whole.
        scale: of `bicubic`, by default inferred from the sizes of the images; a trained head has its own.
        perceptual: names of `PERCEPTUAL` to measure as well.
        sheets: a folder for a comparison sheet (PNG) of each image.
        trust_code: see `Task.from_pretrained`.
        modcrop: crop the ground truth at right and bottom to a multiple of the scale.
        on_bad: with `skip`, images that cannot be read or measured are left out and listed in `failed`.
        files: counts the sheets, and collects write errors instead of raising them at the end.

    Raises:
        UserError: there are no pairs, an image cannot be read or measured, or a metric is not available.
        RunStopped: a sheet cannot be written.
    """
    model, degraded, clean = fspath(model), fspath(degraded), fspath(clean)
    restorer, scale = _load_restorer(model, degraded, clean, scale, trust_code)
    border = default_border(scale) if border is None else border
    pairs = _open_pairs(clean, degraded, scale, modcrop)
    restore = _restore_with(restorer, tile) if restorer else _read_from(_open_restored(model, pairs, scale))
    writer = SheetWriter(sheets, scale, border) if sheets else None
    images, failed = _measure_all(restore, pairs, _make_measure(border, perceptual, writer))
    _check_measured(images, failed, on_bad)
    if writer:
        _gather_sheets(writer.files, files)
    settings = {"model": model, "scale": scale, "border": border, "count": len(images), "images": images}
    return {**average_metrics([*images.values()]), **settings, **({"failed": failed} if failed else {})}


def _check_measured(images: dict[str, dict[str, float]], failed: list[str], on_bad: str) -> None:
    if failed and (on_bad == "raise" or not images):
        raise UserError("\n".join(failed))


def _load_restorer(
    model: str, degraded: str, clean: str, scale: int | None, trust_code: bool
) -> tuple[Restorer | None, int]:
    """The model and its scale; None for a folder of restored images."""
    is_folder = is_restored_folder(model)
    if (model == BICUBIC or is_folder) and scale is None:
        scale = infer_scale(degraded, clean)
    if is_folder:
        return None, scale or 1
    restorer = load_model(model, scale, process_state().device, trust_code)
    return restorer, restorer.scale


def _open_restored(folder: str, pairs: EvaluationPairs, scale: int) -> RestoredFolder:
    return RestoredFolder(folder, [pairs.clean.stem(i) for i, _ in pairs.matches], scale)


def _open_pairs(clean: str, degraded: str, scale: int, modcrop: bool) -> EvaluationPairs:
    ground_truth = open_images(clean, "val_clean", scale)
    if modcrop:
        ground_truth = ModcropImages(ground_truth, scale)
    inputs = open_images(degraded, "val_degraded", scale)
    if process_state().is_main_process:
        for remark in dict.fromkeys([*ground_truth.remarks, *inputs.remarks]):
            log.warning(remark)
    return EvaluationPairs(ground_truth, inputs, scale)


def measure_pairs(
    task: Restorer, pairs: ValidationPairs, border: int | None = None, tile: int | None = None
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return the mean of each metric, and the metrics of each image by its stem, in the order of the pairs.

    Collective: every process must call it; the pairs are divided over the processes, and each returns the whole result.
    """
    border = default_border(task.scale) if border is None else border
    images, failed = _measure_all(_restore_with(task, tile), pairs, _make_measure(border))
    if failed:
        raise UserError("\n".join(failed))
    return average_metrics([*images.values()]), images


def _measure_all(
    restore: Callable[[ImagePair], Array], pairs: ValidationPairs, measure_image: Measure
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """The metrics of each image by its stem, and a message for each image that cannot be read or measured."""
    state = process_state()
    mine: list[tuple[int, str, dict[str, float] | None]] = []
    for index in range(state.process_index, len(pairs), state.num_processes):
        try:
            mine.append((index, *_measure_pair(pairs[index], restore, measure_image)))
        except UserError as error:
            mine.append((index, str(error), None))
    gathered = sorted(gather_object(mine), key=lambda entry: entry[0])
    images = {name: metrics for _, name, metrics in gathered if metrics is not None}
    return images, [message for _, message, metrics in gathered if metrics is None]


def infer_scale(degraded: str, clean: str) -> int:
    """Infer the scale from the sizes of the first pair; `ValidationPairs` checks the other pairs."""
    if is_sample(degraded):
        return SAMPLE_SCALE if degraded == SAMPLE else 1
    small, large = open_images(degraded, "val_degraded", 1), open_images(clean, "val_clean", 1)
    index_of = {large.stem(i): i for i in range(len(large))}
    for i in range(len(small)):
        stem = small.stem(i)
        match = index_of.get(stem, index_of.get(re.sub(r"x\d+$", "", stem)))  # DIV2K: 0801x4 belongs to 0801
        if match is not None:
            with suppress(UserError):  # named when all pairs are measured
                return max(1, round(large[match].shape[1] / small[i].shape[1]))
    return 1  # no pair: ValidationPairs names the images without a partner


def _restore_with(task: Restorer, tile: int | None) -> Callable[[ImagePair], Array]:
    return lambda pair: restore_image(task, pair.degraded, tile)


def _read_from(folder: RestoredFolder) -> Callable[[ImagePair], Array]:
    return lambda pair: folder[pair.name]


class SheetWriter:
    """Writes a comparison sheet of each image; a sheet that cannot be written does not stop the evaluation."""

    def __init__(self, folder: Path, scale: int, border: int) -> None:
        """Create the folder.

        Raises:
            WriteError: it cannot be created.
        """
        create_folder(folder)
        self.folder, self.scale, self.border, self.files = folder, scale, border, OutputFiles()

    def write(self, pair: ImagePair, restored: Array, values: dict[str, float]) -> None:
        sheet = draw_comparison_sheet(pair, restored, values, self.scale, self.border)
        with self.files.attempt():
            write_image(self.folder / f"{pair.name}.png", sheet)


def _gather_sheets(mine: OutputFiles, files: OutputFiles | None) -> None:
    """Count the sheets of all processes in `files`, or raise where one is missing."""
    total = files or OutputFiles()
    for part in gather_object([mine]):
        total.add(part)
    if files is None:
        total.check_complete()


def _make_measure(border: int, perceptual: Sequence[str] = (), sheets: SheetWriter | None = None) -> Measure:
    """Return a function that measures a pair and, with `sheets`, writes its comparison sheet."""
    distances = perceptual_metrics(perceptual, best_device()) if perceptual else {}

    def measure_image(pair: ImagePair, restored: Array) -> dict[str, float]:
        values = measure(restored, pair.clean, border)
        values |= {name: distance(restored, pair.clean, border) for name, distance in distances.items()}
        if sheets:
            sheets.write(pair, restored, values)
        return values

    return measure_image


def _measure_pair(
    pair: ImagePair, restore: Callable[[ImagePair], Array], measure_image: Measure
) -> tuple[str, dict[str, float]]:
    restored = restore(pair)
    try:
        return pair.name, measure_image(pair, restored)
    except UserError as error:
        raise UserError(f"{escape(pair.name)}: {error}") from error
