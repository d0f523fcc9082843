"""A finished run as an object: its metrics, and its networks at work on images in memory."""

from __future__ import annotations

from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from unpairaug.augment import TranslatorAugment
from unpairaug.data.array_image import to_arrays
from unpairaug.errors import UserError, escape
from unpairaug.files import read_json
from unpairaug.recipe import Recipe, load_recipe
from unpairaug.registry.trust import names_from
from unpairaug.restoring.restore import Restorer, choose_tile, load_model, restore_image
from unpairaug.training.metrics_file import read_metrics
from unpairaug.training.summary import SUMMARY

Picture = TypeVar("Picture")
"""A PIL image, a NumPy array or a tensor; see `unpairaug.data.array_image.to_arrays`."""


class TrainedModel:
    """The trained parts in a folder: `head/`, which restores images, and `translator/`, which degrades them."""

    def __init__(self, folder: str | PathLike[str], trust_code: bool = False) -> None:
        """Load nothing yet.

        Args:
            folder: a run folder, or its `best/`.
            trust_code: see `Task.from_pretrained`.
        """
        self.folder = Path(folder)
        """The folder; every command takes it as MODEL."""
        self.trust_code = trust_code

    @cached_property
    def head(self) -> Restorer:
        """The head with averaged weights, on the accelerator if there is one; loaded at first use."""
        return load_model(str(self._part("head").parent), trust_code=self.trust_code)

    @cached_property
    def augment(self) -> TranslatorAugment:
        """The translator with averaged weights as a module for batches; loaded at first use."""
        return TranslatorAugment(self._part("translator").parent, trust_code=self.trust_code)

    def _part(self, name: str) -> Path:
        """The folder of a part.

        Raises:
            UserError: there is none.
        """
        folder = self.folder / name
        if not (folder / "config.json").is_file():
            raise UserError(f"{escape(self.folder)} holds no trained {name}/: give the folder of a finished run")
        return folder

    def restore(self, image: Picture, tile: int | None = None) -> Picture:
        """Restore an image, or a batch, and return the kind that was given, `scale` times as large.

        Args:
            image: a PIL image, an array (H, W, 3) or (H, W), or a tensor (3, H, W) or (B, 3, H, W); arrays and tensors
                in uint8, uint16, or floats in [0, 1].
            tile: side in pixels of tiles; by default images of more than two million restored pixels are tiled.

        Raises:
            UserError: the image is of another kind, shape, type or range.
        """
        images = to_arrays(image)
        tiles = [tile or choose_tile(self.head, *array.shape[:2]) for array in images.arrays]
        return images.back([restore_image(self.head, a, t) for a, t in zip(images.arrays, tiles, strict=True)])

    def degrade(self, image: Picture, seed: int = 0) -> Picture:
        """Show an image, or a batch, as the real camera would, and return the kind that was given.

        Args:
            image: as `restore` takes it.
            seed: of the noise; the same seed gives the same image.

        Raises:
            UserError: the image is of another kind, shape, type or range.
        """
        images = to_arrays(image)
        rng = torch.Generator().manual_seed(seed)
        return images.back([self._degrade_array(array, rng) for array in images.arrays])

    def _degrade_array(self, array: NDArray[Any], rng: torch.Generator) -> NDArray[Any]:
        """An array (H, W, 3) or (H, W) in uint8, uint16 or float32, degraded."""
        top = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
        planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        degraded = self.augment(torch.from_numpy(planes.astype(np.float32) / top), rng=rng).numpy()
        pixels = degraded[0] if array.ndim == 2 else degraded.transpose(1, 2, 0)
        return (pixels if top == 1 else np.rint(pixels * top)).astype(array.dtype)


class Run(TrainedModel):
    """The folder of a run after its last step."""

    @cached_property
    def recipe(self) -> Recipe:
        """The complete recipe.

        Raises:
            UserError: there is none, it is invalid, or it names code without trust.
        """
        with names_from(str(self.folder), self.trust_code):
            return load_recipe(self.folder / "recipe.yaml")

    @property
    def metrics(self) -> dict[str, float]:
        """The latest metrics of the head on the validation pairs, and their `step`.

        Without such pairs, the metric of the summary, on translated images whose ground truth is known.
        """
        found, summary = read_metrics(self.folder / "metrics.jsonl"), self.summary
        if steps := found.steps("val"):
            return {"step": steps[-1], **(found.line("val", steps[-1]) or {})}
        return {"step": summary["steps"], summary["metric"]: summary["value"]} if "value" in summary else {}

    @property
    def summary(self) -> dict[str, Any]:
        """`summary.json`: `metric`, its `value`, `baseline` and `difference`, …; empty before the last step."""
        file = self.folder / SUMMARY
        return read_json(file) if file.is_file() else {}

    @property
    def best(self) -> BestModel | None:
        """The networks at the step with the best score on unpaired images; None without `train.select_checkpoint`."""
        folder = self.folder / "best"
        return BestModel(folder, self.trust_code) if folder.is_dir() else None

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        return f"Run({str(self.folder)!r}: {values})" if values else f"Run({str(self.folder)!r})"


class BestModel(TrainedModel):
    """The networks of a run at its best step."""

    @property
    def score(self) -> dict[str, float]:
        """The `step`, its `score` in dB (smaller is better) and the terms of it."""
        return read_json(self.folder / "selection.json")

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value:.4g}" for name, value in self.score.items() if name in ("step", "score"))
        return f"BestModel({str(self.folder)!r}: {values})"
