"""The crops on which a camera is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from unpairaug.data import UnpairedCrops

CROP = 32
"""Side in pixels of degraded crops that show all that is measured, JPEG blocks included."""
PIXELS = 2**23
"""Pixels of all degraded crops together: from here on, more of them change little."""
CROPS_PER_IMAGE = 400
"""Crops of each image of the side that has fewer: more show the same again."""
MAX_CROPS, MIN_CROPS = 8192, 256
READ_CHUNK = 64
"""Crops that are read together."""


class Crops(NamedTuple):
    """Crops of both sides, 8-bit values as floats in [0, 1], and the images that they are from."""

    clean: Tensor
    """(N, 3, H, W)."""
    degraded: Tensor
    """(N, 3, h, w)."""
    images: Tensor
    """Index of the clean and of the degraded image of each crop, (N, 2)."""


def crop_to_measure(crop: int, scale: int, clean_side: int, degraded_side: int) -> int:
    """Side of the clean crops to measure on, in pixels: at least `CROP * scale`, as far as the images allow.

    Args:
        crop: side of a clean training crop.
        scale: side of a clean crop over that of a degraded one.
        clean_side: shortest side of the clean images.
        degraded_side: shortest side of the degraded images.
    """
    largest = min(clean_side // scale, degraded_side)
    return max(crop, min(CROP, largest) * scale)


def count_crops(crops: UnpairedCrops) -> int:
    """How many crops a measurement takes of these images."""
    side = crops.crop // crops.scale
    return max(MIN_CROPS, min(PIXELS // side**2, CROPS_PER_IMAGE * count_scenes(crops), MAX_CROPS))


def count_scenes(crops: UnpairedCrops) -> int:
    """Number of images of the side that has fewer."""
    return min(len(crops.clean), len(crops.degraded))


def read_crops(
    crops: UnpairedCrops, count: int, progress: Callable[[Iterable[Tensor]], Iterator[Tensor]] = iter
) -> Crops:
    """The first crops of the stream.

    Args:
        crops: the stream.
        count: how many.
        progress: passes the chunks of sample numbers on, and may show how many are read.
    """
    batches = [crops.__getitems__(samples.tolist()) for samples in progress(torch.arange(count).split(READ_CHUNK))]
    clean, degraded, _ = map(torch.cat, zip(*batches, strict=True))
    images = torch.tensor([crops.image_indices(sample) for sample in range(count)])
    return Crops(clean.float() / 255, degraded.float() / 255, images)
