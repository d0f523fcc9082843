"""Measure a camera from two unpaired image sets, and save what was found."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from typing import Any

from torch import Tensor

from unpairaug.bridge import round_to_8_bits
from unpairaug.camera.measured_camera import CameraReport, Measure, MeasuredCamera
from unpairaug.camera.optics import FIT_STEPS
from unpairaug.data import UnpairedCrops, open_images
from unpairaug.data.sources import Source
from unpairaug.measuring.crops import CROP, READ_CHUNK, Crops, count_crops, count_scenes, read_crops
from unpairaug.networks.resize import shrink
from unpairaug.terminal.progress import with_bar
from unpairaug.translator import Translator, build_translator, measure_camera

CROPS_OF_HALF = 2048
"""Crops of each side that tell how sure the figures are."""

log = logging.getLogger("unpairaug")


@dataclass(frozen=True)
class Measurement:
    """A measured camera, its figures, and how sure they are."""

    translator: Translator
    """The camera as a translator of type `measured`: call it, save it, or start a recipe from it."""
    report: CameraReport
    """The figures from all images."""
    halves: tuple[CameraReport, CameraReport]
    """The figures from every second image of both sides, and from the others."""
    images: tuple[int, int]
    """Number of clean and of degraded images."""

    def values(self) -> dict[str, Any]:
        """The figures as `--json` writes them; `_error` is half of the difference between the two halves."""
        first, second = (half.values() for half in self.halves)
        found = {"images_clean": self.images[0], "images_degraded": self.images[1], **self.report.values()}
        errors = {name: abs(first[name] - second[name]) / 2 for name in first.keys() & second.keys()}
        return {**found, **{f"{name}_error": errors[name] for name in found if name in errors}}

    def save(self, folder: str | PathLike[str]) -> None:
        """Write a translator folder that `degrade`, `TranslatorAugment` and `translator.from` take."""
        self.translator.trained = {"measured": self.values()}
        self.translator.save_pretrained(folder)


def measure(
    clean: Source | PathLike[str],
    degraded: Source | PathLike[str],
    scale: int = 1,
    what: Measure = "all",
    seed: int = 0,
) -> Measurement:
    """Measure the camera that took `degraded`, from clean images of other scenes.

    Args:
        clean: a folder or shards of clean images, or `sample`.
        degraded: likewise, of real degraded images; their scenes must differ.
        scale: side of the clean images' scenes over that of the degraded ones: 2 where a camera shows half the size.
        what: `all`, or `noise` where clean and degraded images have the same optics.
        seed: which crops are looked at.

    Raises:
        UserError: a set cannot be read, or its images are too small.
    """
    one, other = (fspath(source) if isinstance(source, PathLike) else source for source in (clean, degraded))
    sets = open_images(one, "clean", scale), open_images(other, "degraded", scale)
    stream = UnpairedCrops(*sets, crop=CROP * scale, scale=scale, seed=seed, rotate=False)
    count = count_crops(stream)
    log.info(f"measuring the camera on {count} crops of {CROP} px, of {len(sets[0])} clean and {len(sets[1])} degraded")
    crops = read_crops(stream, count, partial(with_bar, total=-(-count // READ_CHUNK), what="reading crops"))
    source = round_to_8_bits(shrink(crops.clean, scale).clamp(0, 1))
    translator = build_translator({"type": "measured", "measure": what})
    scenes = count_scenes(stream)
    progress = partial(with_bar, total=FIT_STEPS, what="measuring")
    report = measure_camera(translator.eval(), source, crops.degraded, scenes, progress)
    halves = tuple(_measure_half(crops, source, half, scenes, what) for half in (0, 1))
    return Measurement(translator, report, (halves[0], halves[1]), (len(sets[0]), len(sets[1])))


def _measure_half(crops: Crops, source: Tensor, half: int, scenes: int, what: Measure) -> CameraReport:
    """The figures from the images of each side whose index is even (half 0) or odd (half 1).

    `scenes` is that of all images, so that the priors weigh as much as in the whole measurement.
    """
    mine = crops.images % 2 == half
    clean, degraded = source[mine[:, 0]][:CROPS_OF_HALF], crops.degraded[mine[:, 1]][:CROPS_OF_HALF]
    return MeasuredCamera(what).measure(clean, degraded, scenes)


def describe(found: Measurement) -> str:
    """The figures as lines for a person: gain by frequency, noise, JPEG quality, each with its error."""
    values = found.values()
    lines = [f"{found.images[0]} clean and {found.images[1]} degraded images"]
    gains = [name for name in values if name.startswith("gain_") and not name.endswith("_error")]
    if gains:
        lines.append("gain of the optics by frequency (cycles per pixel):")
        lines += [f"  {name[5:]}  {values[name]:.2f} ± {values[f'{name}_error']:.2f}" for name in gains]
    noise, growth = values["noise"], values["noise_growth"]
    lines.append(
        f"noise: {noise:.1f} ± {values['noise_error']:.1f} 8-bit steps at mean light, {growth:.0%} of its variance"
    )
    lines[-1] += " grows with the light"
    quality = found.report.jpeg_quality
    lines.append("JPEG: no sign of compression" if quality is None else f"JPEG: quality {quality}")
    if gains and values["max_perturbation"] > 0:
        lines.append(
            f"the gain exceeds 1: the camera sharpens, which no optics do; a recipe should draw its strength from "
            f"{values['min_strength']:.2f} to 1 and add up to {values['max_perturbation']:.1f} steps of noise"
        )
    return "\n".join(lines)
