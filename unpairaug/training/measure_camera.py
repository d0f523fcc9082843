"""The measurement of the camera before the first step."""

from __future__ import annotations

import logging

from unpairaug.recipe import Recipe
from unpairaug.recipe.translator_section import START
from unpairaug.training.build import TrainingData
from unpairaug.training.loop import to_device
from unpairaug.training.run_folder import RunFolder
from unpairaug.training.trainer import JointTrainer

PIXELS = 2**23
"""Pixels of all degraded crops together: from here on, more of them change little."""
CROPS_PER_IMAGE = 400
"""Crops of each image of the side that has fewer: more show the same again."""
MAX_CROPS, MIN_CROPS = 8192, 256

log = logging.getLogger("unpairaug")


def measure_camera(recipe: Recipe, data: TrainingData, trainer: JointTrainer, run: RunFolder) -> None:
    """Measure the camera on the first crops of the stream, unless the translator holds none or is a trained one.

    The figures are logged, and kept in the run's metrics (split `camera`). Every process reads the same crops, so all
    measure the same.
    """
    if trainer.translator.camera is None or START in recipe.translator:
        return
    side, scenes = recipe.data.crop // trainer.task.scale, min(len(data.crops.clean), len(data.crops.degraded))
    crops = data.first_samples(max(MIN_CROPS, min(PIXELS // side**2, CROPS_PER_IMAGE * scenes, MAX_CROPS)))
    clean, real, _ = to_device(crops, trainer.accelerator)
    found = trainer.measure_camera(clean, real, scenes).values()
    run.log_metrics(0, "camera", found)
    log.info("camera  " + "  ".join(f"{name} {value:.2f}" for name, value in found.items()))
