"""A model's restored images against their known clean twins: every metric for every image, and the means."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from unpairaug.data.decode import Array
from unpairaug.data.images import write_file, write_image
from unpairaug.data.pairs import ImagePair, ValidationPairs
from unpairaug.data.sources import SAMPLE, is_sample, open_images
from unpairaug.errors import UserError
from unpairaug.evaluation.comparison_sheet import comparison_sheet
from unpairaug.evaluation.metrics import default_border, mean_of, measure
from unpairaug.evaluation.perceptual_metrics import perceptual_metrics
from unpairaug.evaluation.restored_folder import RestoredFolder, is_restored_folder
from unpairaug.restoring.processes import processes
from unpairaug.restoring.restore import BICUBIC, Restorer, best_device, load_model, restore_image

Results = dict[str, Any]
"""The mean of each metric by its name; `model`, `scale`, `border`, `count`; and `images`: stem -> metrics."""

SAMPLE_SCALE = 2
"""Where `bicubic` meets the sample, whose degraded side is made for any scale: the scale of the bundled recipes."""


NARROWEST = 6
"""Characters of a column of figures: `lpips` is shorter than what stands below it."""

Measure = Callable[[ImagePair, Array], dict[str, float]]
"""Every metric of a pair whose degraded image was restored to that."""


def evaluate(
    model: str,
    degraded: str,
    clean: str,
    border: int | None = None,
    tile: int | None = None,
    scale: int | None = None,
    perceptual: Sequence[str] = (),
    sheets: Path | None = None,
) -> Results:
    """Restore every degraded image and measure it against its clean twin, found by file stem.

    Under `accelerate launch` the processes share the images, and each gets the whole result.

    Args:
        model: a run folder, its `head/`, a hub id, or `bicubic`, whose scale is read off the images; or a folder of
            images that something else has restored, with the names of the clean ones.
        degraded: a folder, or `sample` for the validation split of the sample photographs.
        clean: the folder of the clean twins, or `sample`.
        border: pixels left out on every side; by convention the scale, or 0 at scale 1.
        tile: side in pixels of the tiles that the degraded images are cut into; whole images by default.
        scale: for `bicubic`, if it is not to be read off the images; a trained head knows its own.
        perceptual: names of `PERCEPTUAL`, to be measured, too.
        sheets: a folder for a PNG of each pair and its restored image side by side.

    Raises:
        UserError: the folders hold no pairs, a size contradicts the scale, an image cannot be read or measured, or a
            perceptual metric cannot be had.
    """
    is_folder = is_restored_folder(model)
    if (model == BICUBIC or is_folder) and scale is None:
        scale = infer_scale(degraded, clean)
    restorer = None if is_folder else load_model(model, scale, processes().device)
    scale = restorer.scale if restorer else scale or 1
    border = default_border(scale) if border is None else border
    pairs = ValidationPairs(open_images(clean, "val_clean", scale), open_images(degraded, "val_degraded", scale), scale)
    if restorer:
        restored = _by_restorer(restorer, tile)
    else:
        restored = _from_folder(RestoredFolder(model, [pairs.clean.stem(i) for i, _ in pairs.matches], scale))
    means, images = measure_restored(restored, pairs, _measure(border, perceptual, sheets, scale))
    facts = {"model": model, "scale": scale, "border": border, "count": len(images)}
    return {**means, **facts, "images": images}


def measure_pairs(
    task: Restorer, pairs: ValidationPairs, border: int | None = None, tile: int | None = None
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The mean of each metric, and every image's by its stem in the pairs' order; the processes share the pairs.

    Collective: every process must call it, and each gets the whole result.
    """
    border = default_border(task.scale) if border is None else border
    return measure_restored(_by_restorer(task, tile), pairs, _measure(border))


def measure_restored(
    restored: Callable[[ImagePair], Array], pairs: ValidationPairs, measured: Measure
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """What `measure_pairs` returns, of images restored in any way."""
    state = processes()
    mine: list[tuple[int, str, dict[str, float] | None]] = []
    for index in range(state.process_index, len(pairs), state.num_processes):
        try:
            mine.append((index, *_measure_pair(pairs[index], restored, measured)))
        except UserError as error:  # told to all processes first: one that stopped here would leave the others waiting
            mine.append((index, str(error), None))
    found = sorted(gather_object(mine), key=lambda entry: entry[0])
    if wrong := [message for _, message, metrics in found if metrics is None]:
        raise UserError("\n".join(wrong))
    images = {name: metrics for _, name, metrics in found if metrics is not None}
    return mean_of(list(images.values())), images


def infer_scale(degraded: str, clean: str) -> int:
    """The scale that the first pair's sizes make; whether all pairs agree is for `ValidationPairs` to say."""
    if is_sample(degraded):
        return SAMPLE_SCALE if degraded == SAMPLE else 1
    small, large = open_images(degraded, "val_degraded", 1), open_images(clean, "val_clean", 1)
    twins = {large.stem(i): i for i in range(len(large))}
    for i in range(len(small)):
        stem = small.stem(i)
        twin = twins.get(stem, twins.get(re.sub(r"x\d+$", "", stem)))  # DIV2K: 0801x4 is the twin of 0801
        if twin is not None:
            return max(1, round(large[twin].shape[1] / small[i].shape[1]))
    return 1  # no pair at all: the matching says which images are alone


def table(results: Results) -> str:
    """The results as aligned text: a line for each image, then the means, then what was measured."""
    rows, metrics = _rows(results)
    width = max(len(name) for name, _ in rows)
    lines = ["  ".join(["image".ljust(width), *(metric.rjust(NARROWEST) for metric in metrics)])]
    for name, values in rows:
        cells = (_cell(metric, values[metric]).rjust(max(len(metric), NARROWEST)) for metric in metrics)
        lines.append("  ".join([name.ljust(width), *cells]))
    return "\n".join([*lines, _facts(results)])


def write_markdown(results: Results, path: Path) -> None:
    """Write the same as a table in Markdown, the means in its last line."""
    rows, metrics = _rows(results)
    lines = ["| " + " | ".join(["image", *metrics]) + " |", "|---" + "|---:" * len(metrics) + "|"]
    for name, values in rows:
        cells = [re.sub(r"([\\|`*_<&])", r"\\\1", name), *(_cell(metric, values[metric]) for metric in metrics)]
        lines.append("| " + " | ".join(cells) + " |")
    write_file(path, ("\n".join([*lines, "", _facts(results)]) + "\n").encode("utf-8", "backslashreplace"))


def _rows(results: Results) -> tuple[list[tuple[str, dict[str, float]]], list[str]]:
    """Every image and the mean with its metrics, and the metrics' names in their order."""
    images: dict[str, dict[str, float]] = results["images"]
    return [*images.items(), ("mean", results)], list(next(iter(images.values())))


def _cell(metric: str, value: float) -> str:
    return f"{value:.{2 if 'psnr' in metric else 4}f}"


def _facts(results: Results) -> str:
    count = f"{results['count']} image{'' if results['count'] == 1 else 's'}"
    return f"{results['model']}: scale {results['scale']}, border {results['border']} px, {count}"


def write_json(results: Mapping[str, Any], path: Path) -> None:
    """Write the results as JSON, whole or not at all; the PSNR of equal images is 1e999, which reads as infinity."""
    text = json.dumps(results, indent=2, ensure_ascii=False)
    # Python's own `Infinity` is no JSON, and other readers refuse it. Only a bare value can end a line so.
    text = re.sub(r": Infinity(,?)$", r": 1e999\1", text, flags=re.MULTILINE)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _by_restorer(task: Restorer, tile: int | None) -> Callable[[ImagePair], Array]:
    return lambda pair: restore_image(task, pair.degraded, tile)


def _from_folder(folder: RestoredFolder) -> Callable[[ImagePair], Array]:
    return lambda pair: folder[pair.name]


def _measure(border: int, perceptual: Sequence[str] = (), sheets: Path | None = None, scale: int = 1) -> Measure:
    """Measures a pair, and leaves a sheet of it where one is wanted."""
    others = perceptual_metrics(perceptual, best_device()) if perceptual else {}

    def measured(pair: ImagePair, restored: Array) -> dict[str, float]:
        values = measure(restored, pair.clean, border)
        values |= {name: distance(restored, pair.clean, border) for name, distance in others.items()}
        if sheets:
            write_image(sheets / f"{pair.name}.png", comparison_sheet(pair, restored, values, scale, border))
        return values

    return measured


def _measure_pair(
    pair: ImagePair, restored: Callable[[ImagePair], Array], measured: Measure
) -> tuple[str, dict[str, float]]:
    made = restored(pair)
    try:
        return pair.name, measured(pair, made)
    except UserError as error:
        raise UserError(f"{pair.name}: {error}") from error
