"""Compares restored images with their ground truth: metrics of each image and their means."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from unpairaug.data.decode import Array
from unpairaug.data.files import write_file
from unpairaug.data.images import write_image
from unpairaug.data.pairs import ImagePair, ValidationPairs
from unpairaug.data.sources import SAMPLE, is_sample, open_images
from unpairaug.errors import UserError
from unpairaug.evaluation.comparison_sheet import draw_comparison_sheet
from unpairaug.evaluation.metrics import average_metrics, default_border, measure
from unpairaug.evaluation.perceptual_metrics import perceptual_metrics
from unpairaug.evaluation.restored_folder import RestoredFolder, is_restored_folder
from unpairaug.restoring.processes import process_state
from unpairaug.restoring.restore import BICUBIC, Restorer, best_device, load_model, restore_image

Results = dict[str, Any]
"""The mean of each metric by its name; `model`, `scale`, `border`, `count`; and `images`: stem -> metrics."""

SAMPLE_SCALE = 2
"""Scale of `bicubic` on the sample, which exists at any scale; the same as in the bundled recipes."""

MIN_WIDTH = 6
"""Minimum column width in characters: the heading `lpips` is shorter than its values."""

Measure = Callable[[ImagePair, Array], dict[str, float]]
"""(pair, restored image) -> every metric by its name."""


def evaluate(
    model: str,
    degraded: str,
    clean: str,
    border: int | None = None,
    tile: int | None = None,
    scale: int | None = None,
    perceptual: Sequence[str] = (),
    sheets: Path | None = None,
    trust_code: bool = False,
) -> Results:
    """Restore every degraded image and compare it with its ground truth, matched by file stem.

    Under `accelerate launch` the images are divided over the processes; each process returns the whole result.

    Args:
        model: a run folder, its `head/`, a hub id, `bicubic`, or a folder of images that another program restored,
            named as the ground truth.
        degraded: a folder, or `sample` for the validation split of the sample photographs.
        clean: the folder of the ground truth, or `sample`.
        border: pixels cropped from every side before measuring; by default the scale, or 0 at scale 1.
        tile: side in pixels of the tiles of a degraded image; by default images stay whole.
        scale: of `bicubic`, by default inferred from the sizes of the images; a trained head has its own.
        perceptual: names of `PERCEPTUAL` to measure as well.
        sheets: a folder for a comparison sheet (PNG) of each image.
        trust_code: see `Task.from_pretrained`.

    Raises:
        UserError: the folders hold no pairs, a size contradicts the scale, an image cannot be read or measured, or a
            perceptual metric is not available.
    """
    is_folder = is_restored_folder(model)
    if (model == BICUBIC or is_folder) and scale is None:
        scale = infer_scale(degraded, clean)
    restorer = None if is_folder else load_model(model, scale, process_state().device, trust_code)
    scale = restorer.scale if restorer else scale or 1
    border = default_border(scale) if border is None else border
    pairs = ValidationPairs(open_images(clean, "val_clean", scale), open_images(degraded, "val_degraded", scale), scale)
    if restorer:
        restore = _restore_with(restorer, tile)
    else:
        restore = _read_from(RestoredFolder(model, [pairs.clean.stem(i) for i, _ in pairs.matches], scale))
    means, images = measure_restored(restore, pairs, _make_measure(border, perceptual, sheets, scale))
    settings = {"model": model, "scale": scale, "border": border, "count": len(images)}
    return {**means, **settings, "images": images}


def measure_pairs(
    task: Restorer, pairs: ValidationPairs, border: int | None = None, tile: int | None = None
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return the mean of each metric, and the metrics of each image by its stem, in the order of the pairs.

    Collective: every process must call it; the pairs are divided over the processes, and each returns the whole result.
    """
    border = default_border(task.scale) if border is None else border
    return measure_restored(_restore_with(task, tile), pairs, _make_measure(border))


def measure_restored(
    restore: Callable[[ImagePair], Array], pairs: ValidationPairs, measure_image: Measure
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Like `measure_pairs`, for any function that returns the restored image of a pair."""
    state = process_state()
    mine: list[tuple[int, str, dict[str, float] | None]] = []
    for index in range(state.process_index, len(pairs), state.num_processes):
        try:
            mine.append((index, *_measure_pair(pairs[index], restore, measure_image)))
        except UserError as error:  # gathered first: a process that stopped here would leave the others waiting
            mine.append((index, str(error), None))
    gathered = sorted(gather_object(mine), key=lambda entry: entry[0])
    if problems := [message for _, message, metrics in gathered if metrics is None]:
        raise UserError("\n".join(problems))
    images = {name: metrics for _, name, metrics in gathered if metrics is not None}
    return average_metrics(list(images.values())), images


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
            return max(1, round(large[match].shape[1] / small[i].shape[1]))
    return 1  # no pair: ValidationPairs names the images without a partner


def format_table(results: Results) -> str:
    """Format the results as aligned text: a line for each image, the means, and the settings."""
    rows, metrics = _table_rows(results)
    width = max(len(name) for name, _ in rows)
    lines = ["  ".join(["image".ljust(width), *(metric.rjust(MIN_WIDTH) for metric in metrics)])]
    for name, values in rows:
        cells = (_format_value(metric, values[metric]).rjust(max(len(metric), MIN_WIDTH)) for metric in metrics)
        lines.append("  ".join([name.ljust(width), *cells]))
    return "\n".join([*lines, _format_footer(results)])


def write_markdown(results: Results, path: Path) -> None:
    """Write the results as a Markdown table; the last row has the means."""
    rows, metrics = _table_rows(results)
    lines = ["| " + " | ".join(["image", *metrics]) + " |", "|---" + "|---:" * len(metrics) + "|"]
    for name, values in rows:
        cells = [re.sub(r"([\\|`*_<&])", r"\\\1", name), *(_format_value(metric, values[metric]) for metric in metrics)]
        lines.append("| " + " | ".join(cells) + " |")
    write_file(path, ("\n".join([*lines, "", _format_footer(results)]) + "\n").encode("utf-8", "backslashreplace"))


def _table_rows(results: Results) -> tuple[list[tuple[str, dict[str, float]]], list[str]]:
    """(name, metrics) of each image and of the mean, and the names of the metrics in order."""
    images: dict[str, dict[str, float]] = results["images"]
    return [*images.items(), ("mean", results)], list(next(iter(images.values())))


def _format_value(metric: str, value: float) -> str:
    return f"{value:.{2 if 'psnr' in metric else 4}f}"


def _format_footer(results: Results) -> str:
    count = f"{results['count']} image{'' if results['count'] == 1 else 's'}"
    return f"{results['model']}: scale {results['scale']}, border {results['border']} px, {count}"


def write_json(results: Mapping[str, Any], path: Path) -> None:
    """Write the results as JSON; infinity (the PSNR of equal images) becomes 1e999, which parsers read as infinity."""
    text = json.dumps(results, indent=2, ensure_ascii=False)
    # Python's `Infinity` is not valid JSON. Only a bare value can end a line like this.
    text = re.sub(r": Infinity(,?)$", r": 1e999\1", text, flags=re.MULTILINE)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _restore_with(task: Restorer, tile: int | None) -> Callable[[ImagePair], Array]:
    return lambda pair: restore_image(task, pair.degraded, tile)


def _read_from(folder: RestoredFolder) -> Callable[[ImagePair], Array]:
    return lambda pair: folder[pair.name]


def _make_measure(border: int, perceptual: Sequence[str] = (), sheets: Path | None = None, scale: int = 1) -> Measure:
    """Return a function that measures a pair and, with `sheets`, writes its comparison sheet."""
    distances = perceptual_metrics(perceptual, best_device()) if perceptual else {}

    def measure_image(pair: ImagePair, restored: Array) -> dict[str, float]:
        values = measure(restored, pair.clean, border)
        values |= {name: distance(restored, pair.clean, border) for name, distance in distances.items()}
        if sheets:
            write_image(sheets / f"{pair.name}.png", draw_comparison_sheet(pair, restored, values, scale, border))
        return values

    return measure_image


def _measure_pair(
    pair: ImagePair, restore: Callable[[ImagePair], Array], measure_image: Measure
) -> tuple[str, dict[str, float]]:
    restored = restore(pair)
    try:
        return pair.name, measure_image(pair, restored)
    except UserError as error:
        raise UserError(f"{pair.name}: {error}") from error
