"""Picture sheets of a run: what goes in, what the translator makes of it, what the head makes of that."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from unpairaug.bridge import round_to_8_bits
from unpairaug.data import UnpairedBatch, ValidationPairs
from unpairaug.data.files import write_file
from unpairaug.restoring.restore import Bicubic
from unpairaug.rng import sample_rng
from unpairaug.task import Task
from unpairaug.training.trainer import JointTrainer
from unpairaug.translator import Translator, degrade_input

COLUMNS = ["source", "fake", "real", "restored real", "restored fake", "clean"]
SIDE = 128
"""Pixels that a picture should have to be looked at: smaller crops are shown enlarged by a whole factor."""
CROP = 256
"""Pixels of the crop of a validation pair: smaller ones cannot be judged."""
GAP = 4
"""Pixels between pictures."""
TITLE = 14
"""Pixels for the line of column titles."""


@torch.inference_mode()
def sample_sheet(translator: Translator, task: Task, batch: UnpairedBatch, seed: int) -> np.ndarray:
    """A sheet (H, W, 3) uint8: a row for each sample, a column for each of `COLUMNS`."""
    source = task.source(batch.clean)
    rng = sample_rng(seed, batch.index.tolist(), source.device)
    fake = round_to_8_bits(translator(degrade_input(translator, batch.clean, source), rng).clamp(0, 1))
    small = [F.interpolate(x, scale_factor=task.scale, mode="nearest") for x in (source, fake, batch.degraded)]
    return sheet([*small, task(batch.degraded), task(fake), batch.clean], COLUMNS)


def draw_samples(trainer: JointTrainer, batch: UnpairedBatch, pairs: ValidationPairs | None, seed: int) -> np.ndarray:
    """The sheet of samples and, where there are pairs, a crop of the first validation pair below: (H, W, 3) uint8."""
    samples = sample_sheet(trainer.ema_translator, trainer.ema_task, batch, seed)
    if pairs is None:
        return samples
    below = validation_sheet(trainer.ema_task, pairs[0].degraded, pairs[0].clean)
    width = max(samples.shape[1], below.shape[1])
    padded = (np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in (samples, below))
    return np.concatenate([*padded])


@torch.inference_mode()
def validation_sheet(task: Task, degraded: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """A crop around the middle: baseline (bicubic, or the input at scale 1), restored image, ground truth.

    Args:
        task: restores.
        degraded: (h, w, 3) uint8.
        clean: its ground truth, (scale * h, scale * w, 3) uint8.
    """
    scale = task.scale
    side = min(CROP // scale, *degraded.shape[:2])
    top, left = ((size - side) // 2 for size in degraded.shape[:2])
    small = degraded[top : top + side, left : left + side]
    large = clean[scale * top : scale * (top + side), scale * left : scale * (left + side)]
    device = next((parameter.device for parameter in task.parameters()), torch.device("cpu"))
    source, truth = (torch.tensor(part, device=device).permute(2, 0, 1)[None] / 255 for part in (small, large))
    titles = ["input" if scale == 1 else "bicubic", "restored", "clean: a validation pair"]
    return sheet([Bicubic(scale)(source), task(source), truth], titles)


def sheet(columns: list[Tensor], titles: list[str]) -> np.ndarray:
    """Columns of pictures (B, 3, H, W) in [0, 1] under their titles, as one (H, W, 3) uint8 image."""
    pictures = torch.stack([c.float().clamp(0, 1).cpu() for c in columns], dim=1)  # (B, columns, 3, H, W)
    zoom = max(1, SIDE // pictures.shape[-1])
    pictures = pictures.repeat_interleave(zoom, -2).repeat_interleave(zoom, -1)
    rows, _, _, height, width = pictures.shape
    canvas = np.full((TITLE + rows * (height + GAP), len(columns) * (width + GAP), 3), 255, np.uint8)
    for (row, column), picture in zip(np.ndindex(rows, len(columns)), pictures.flatten(0, 1), strict=True):
        top, left = TITLE + row * (height + GAP), column * (width + GAP)
        canvas[top : top + height, left : left + width] = (picture * 255).round().byte().permute(1, 2, 0).numpy()
    titled = Image.fromarray(canvas)
    draw = ImageDraw.Draw(titled)
    for column, title in enumerate(titles):
        draw.text((column * (width + GAP) + 2, 1), title, fill="black")
    return np.asarray(titled)


def save_sheet(path: Path, picture: np.ndarray) -> None:
    """Write a sheet (H, W, 3) uint8 as PNG.

    Raises:
        WriteError: it cannot be written.
    """
    encoded = BytesIO()
    Image.fromarray(picture).save(encoded, "png")
    write_file(path, encoded.getvalue())
