"""Experiment trackers that a run reports to, beside `metrics.jsonl`: TensorBoard, wandb, trackio, mlflow."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import LoggerType
from numpy.typing import NDArray

from unpairaug.errors import UserError
from unpairaug.recipe import Recipe
from unpairaug.recipe.sections import TrackerName

PROJECT = "unpairaug"
"""Project or experiment of the trackers that sort runs into such."""
TENSORBOARD = "tensorboard"
"""The tracker, and its folder in the run folder."""


def check_installed(trackers: tuple[TrackerName, ...]) -> None:
    """Check that the package of every tracker is installed.

    Raises:
        UserError: one is not; the message names what to install.
    """
    missing = [name for name in trackers if find_spec(name) is None]
    if missing:
        rest = [name for name in trackers if name not in missing]
        raise UserError(
            f"train.trackers: {', '.join(missing)} is not installed: pip install {' '.join(missing)}, "
            f"or give train.trackers=[{', '.join(rest)}]"
        )


def start_trackers(accelerator: Accelerator, recipe: Recipe) -> None:
    """Start the recipe's trackers; a run has the name of its folder there. Only the main process reports."""
    name, values = Path(recipe.output_dir).name, recipe.model_dump(mode="json")
    options: dict[str, dict[str, Any]] = {
        "wandb": {"name": name, "dir": recipe.output_dir},
        "trackio": {"name": name},
        "mlflow": {"run_name": name},
    }
    started = []
    for kind in recipe.train.trackers:
        accelerator.log_with = [LoggerType(kind)]  # type: ignore[assignment]
        if kind == TENSORBOARD:
            accelerator.init_trackers(TENSORBOARD)  # its folder; the recipe lies beside it
        else:
            config = values if kind != "mlflow" else None  # which takes flat values of 500 characters at most
            accelerator.init_trackers(PROJECT, config, {kind: options[kind]})
        started += accelerator.trackers
    accelerator.trackers = started


def log_picture(accelerator: Accelerator, name: str, picture: NDArray[Any], step: int) -> None:
    """Report a picture (H, W, 3) in 8 bits to the trackers that show pictures."""
    for tracker in accelerator.trackers:
        if tracker.name == TENSORBOARD:
            tracker.log_images({name: picture[None]}, step=step, dataformats="NHWC")
        elif tracker.name == "wandb":
            tracker.log_images({name: [picture]}, step=step)


def flush_trackers(accelerator: Accelerator) -> None:
    """Write what TensorBoard holds back; the others write by themselves."""
    for tracker in accelerator.trackers if accelerator.is_main_process else ():
        if tracker.name == TENSORBOARD:
            tracker.tracker.flush()
