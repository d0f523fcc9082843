"""A model's restored images against their known clean twins: every metric for every image, and the means."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env

from unpairaug.data.pairs import ImagePair, ValidationPairs
from unpairaug.data.sources import SAMPLE, is_sample, open_images
from unpairaug.errors import UserError
from unpairaug.metrics import METRICS, default_border, mean_of, measure
from unpairaug.restore import BICUBIC, Restorer, load_model, restore_image

Results = dict[str, Any]
"""The mean of each metric by its name; `model`, `scale`, `border`, `count`; and `images`: stem -> metrics."""

SAMPLE_SCALE = 2
"""Where `bicubic` meets the sample, whose degraded side is made for any scale: the scale of the bundled recipes."""


def evaluate(
    model: str, degraded: str, clean: str, border: int | None = None, tile: int | None = None, scale: int | None = None
) -> Results:
    """Restore every degraded image and measure it against its clean twin, found by file stem.

    Under `accelerate launch` the processes share the images, and each gets the whole result.

    Args:
        model: a run folder, its `head/`, a hub id, or `bicubic`, whose scale is read off the images.
        degraded: a folder, or `sample` for the validation split of the sample photographs.
        clean: the folder of the clean twins, or `sample`.
        border: pixels left out on every side; by convention the scale, or 0 at scale 1.
        tile: side in pixels of the tiles that the degraded images are cut into; whole images by default.
        scale: for `bicubic`, if it is not to be read off the images; a trained head knows its own.

    Raises:
        UserError: the folders hold no pairs, a size contradicts the scale, or an image cannot be read or measured.
    """
    if model == BICUBIC and scale is None:
        scale = infer_scale(degraded, clean)
    restorer = load_model(model, scale, processes().device)
    scale = restorer.scale
    border = default_border(scale) if border is None else border
    pairs = ValidationPairs(open_images(clean, "val_clean", scale), open_images(degraded, "val_degraded", scale), scale)
    means, images = measure_pairs(restorer, pairs, border, tile)
    facts = {"model": model, "scale": scale, "border": border, "count": len(images)}
    return {**means, **facts, "images": images}


def measure_pairs(
    task: Restorer, pairs: ValidationPairs, border: int | None = None, tile: int | None = None
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The mean of each metric, and every image's by its stem in the pairs' order; the processes share the pairs.

    Collective: every process must call it, and each gets the whole result.
    """
    state = processes()
    border = default_border(task.scale) if border is None else border
    mine: list[tuple[int, str, dict[str, float] | None]] = []
    for index in range(state.process_index, len(pairs), state.num_processes):
        try:
            mine.append((index, *_measure_pair(task, pairs[index], border, tile)))
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


def processes(**options: Any) -> PartialState:
    """This process among those that `accelerate launch` or `torchrun` started; options are of their process group."""
    # Left to itself, PartialState overlooks accelerate's flag for the CPU, and takes each process for the only one.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), **options)


def table(results: Results) -> str:
    """The results as aligned text: a line for each image, then the means, then what was measured."""
    rows = [*results["images"].items(), ("mean", results)]
    width = max(len(name) for name, _ in rows)
    lines = ["  ".join(["image".ljust(width), *METRICS])]
    for name, values in rows:
        cells = (f"{values[metric]:{len(metric)}.{4 if 'ssim' in metric else 2}f}" for metric in METRICS)
        lines.append("  ".join([name.ljust(width), *cells]))
    count = f"{results['count']} image{'' if results['count'] == 1 else 's'}"
    return "\n".join([*lines, f"{results['model']}: scale {results['scale']}, border {results['border']} px, {count}"])


def write_json(results: Mapping[str, Any], path: Path) -> None:
    """Write the results as JSON, whole or not at all; the PSNR of equal images is 1e999, which reads as infinity."""
    text = json.dumps(results, indent=2, ensure_ascii=False)
    # Python's own `Infinity` is no JSON, and other readers refuse it. Only a bare value can end a line so.
    text = re.sub(r": Infinity(,?)$", r": 1e999\1", text, flags=re.MULTILINE)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _measure_pair(task: Restorer, pair: ImagePair, border: int, tile: int | None) -> tuple[str, dict[str, float]]:
    restored = restore_image(task, pair.degraded, tile)
    try:
        return pair.name, measure(restored, pair.clean, border)
    except UserError as error:
        raise UserError(f"{pair.name}: {error}") from error
