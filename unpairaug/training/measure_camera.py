"""What a translator takes from the images before the first step: see `Translator.measure`."""

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
OF_EACH = 400
"""Crops of each image of the side that has fewer: more show the same again."""
MOST, LEAST = 8192, 256
"""Crops, however small or many the images are, and however large or few."""

log = logging.getLogger("unpairaug")


def measure_camera(recipe: Recipe, data: TrainingData, trainer: JointTrainer, run: RunFolder) -> None:
    """Show the translator the first crops of the stream, unless it measures nothing or is a trained one.

    What it found is said, and kept in the run's metrics (split `camera`). Every process reads the same crops, so that
    all find the same.
    """
    if not trainer.translator.measures or START in recipe.translator:
        return
    side, scenes = recipe.data.crop // trainer.task.scale, min(len(data.crops.clean), len(data.crops.degraded))
    crops = data.shown(max(LEAST, min(PIXELS // side**2, OF_EACH * scenes, MOST)))
    clean, real, _ = to_device(crops, trainer.accelerator)
    found = trainer.measure(clean, real, scenes)
    run.metrics(0, "camera", found)
    log.info("camera  " + "  ".join(f"{name} {value:.2f}" for name, value in found.items()))
