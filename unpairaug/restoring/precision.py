"""Restoration in bfloat16: about twice as fast where the processor has instructions for it."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from unpairaug.augment import MixedPrecision
from unpairaug.restoring.restore import Restorer, best_device, restore_image

log = logging.getLogger("unpairaug")

ENOUGH = 48.0
"""PSNR in dB against full precision: an error of one of 255 steps."""
PROBE_SIDE = 128
"""Side in pixels of the window in the middle of an image that is restored in both precisions."""


def cast_to(precision: MixedPrecision, task: Restorer) -> AbstractContextManager[Any]:
    """The context in which a head restores in that precision."""
    if precision == "no":
        return nullcontext()
    device = next((parameter.device for parameter in task.parameters()), best_device())
    return torch.autocast(device.type, torch.bfloat16)


def check_precision(precision: MixedPrecision, task: Restorer, image: np.ndarray) -> None:
    """Warn if the head restores the middle of an image (H, W[, 3]) less than `ENOUGH` dB from full precision."""
    if precision == "no":
        return
    top, left = (max(side - PROBE_SIDE, 0) // 2 for side in image.shape[:2])
    middle = image[top : top + PROBE_SIDE, left : left + PROBE_SIDE]
    values = middle if image.dtype.kind == "f" else (middle / np.iinfo(image.dtype).max).astype(np.float32)
    full = restore_image(task, values)
    with cast_to(precision, task):
        error = float(np.square(restore_image(task, values) - full).mean())
    found = -10 * np.log10(error) if error else np.inf
    if found < ENOUGH:
        log.warning(
            f"in bfloat16, this head restores an image {found:.1f} dB from full precision, and {ENOUGH:.0f} dB is one "
            "step of 8 bits; restore without --mixed-precision"
        )
