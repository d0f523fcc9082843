"""The measurement of the camera before the first step."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

from unpairaug.camera.optics import FIT_STEPS
from unpairaug.measuring.crops import count_crops, count_scenes, crop_to_measure
from unpairaug.recipe import Recipe
from unpairaug.recipe.translator_section import START
from unpairaug.terminal.progress import with_bar
from unpairaug.training.step_reader import to_device
from unpairaug.training.trainer import JointTrainer
from unpairaug.training.training_data import READ_CHUNK, TrainingData

log = logging.getLogger("unpairaug")

NOISE_SEEN = 0.25
"""8-bit steps of noise below which a log says that none was found."""
NOTHING_FOUND = (
    "note: the degraded images are as clean and as sharp as the clean ones; are data.clean and data.degraded swapped?"
)


def measure_camera(recipe: Recipe, data: TrainingData, trainer: JointTrainer) -> dict[str, float]:
    """Measure the camera on the first crops of the stream, and return its figures by name, as a run logs them.

    Nothing is measured, and the result is empty, where the translator holds no camera or is a trained one. Every
    process reads the same crops, so all measure the same.

    Raises:
        UserError: the degraded images have nothing to measure.
    """
    if trainer.translator.camera is None or START in recipe.translator:
        return {}
    sides = [data.report.sets[part].shortest_side for part in ("clean", "degraded")]
    crop = crop_to_measure(recipe.data.crop, trainer.task.scale, *sides)
    if crop != recipe.data.crop:
        data = replace(data, crops=data.crops.with_crop(crop))
    count = count_crops(data.crops)
    log.info(f"measuring the camera on {count} crops of {crop // trainer.task.scale} px, before the first step")
    is_main = trainer.accelerator.is_main_process
    reading = partial(with_bar, total=-(-count // READ_CHUNK), what="reading crops") if is_main else iter
    clean, real, _ = to_device(data.first_samples(count, reading), trainer.accelerator)
    progress = partial(with_bar, total=FIT_STEPS, what="measuring the camera") if is_main else iter
    return trainer.measure_camera(clean, real, count_scenes(data.crops), progress).values()


def format_camera(found: dict[str, float]) -> str:
    """The figures that matter as one line of a log."""
    gains = sorted((float(name[5:]), value) for name, value in found.items() if name.startswith("gain_"))
    shown = [gains[i] for i in (0, len(gains) // 2, -1)] if gains else []
    kept = ", ".join(f"{gain:.0%} at {frequency:.2f}" for frequency, gain in shown)
    optics = f"of the contrast it keeps {kept} cycles per pixel; " if kept else ""
    blurs = bool(gains) and gains[-1][1] < 1
    doubt = "" if blurs or found["noise"] >= NOISE_SEEN else f"\n{NOTHING_FOUND}"
    return f"camera: {optics}noise of {found['noise']:.1f} 8-bit steps{doubt}"
