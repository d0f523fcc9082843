"""The context that a translator needs around a tile of an image, found by trial."""

from __future__ import annotations

import torch
from torch import Tensor

from unpairaug.data.tiles import Box
from unpairaug.rng import PositionRng, uniform
from unpairaug.translator import Translator, own_scale

MAX_WHOLE_PIXELS = 2**20
"""Largest source in pixels that is degraded whole by default."""
TILE_SIDE = 512
"""Side in pixels of the tiles of larger sources."""
TILE_STEP = 16
"""Tiles begin at multiples of this, so that strided networks sample tile and whole image alike."""
MARGINS = (16, 32, 64, 128)
"""Candidate tile margins in pixels, in ascending order."""
MAX_TILE_DIFFERENCE = 1 / 64
"""Largest accepted difference in 8-bit steps between tile and whole image, before rounding."""


def find_tile_margin(translator: Translator, device: torch.device | str = "cpu") -> int | None:
    """Margin in pixels of the source that makes tiles equal the whole image; None if none of `MARGINS` does.

    None is the result for networks with global statistics, such as instance norm.
    """
    side, middle, scale = 4 * MARGINS[-1], 2 * MARGINS[-1], own_scale(translator)
    image = _make_probe(scale * side, torch.device(device))
    whole = _translate(translator, image, Box(0, 0, side, side))[..., middle:, middle:]
    for margin in MARGINS:
        start = middle - margin
        within = image[..., scale * start :, scale * start :]
        part = _translate(translator, within, Box(start, start, side, side))
        if (part[..., margin:, margin:] - whole).abs().max() <= MAX_TILE_DIFFERENCE / 255:
            return margin
    return None


def _translate(translator: Translator, source: Tensor, window: Box) -> Tensor:
    with torch.inference_mode():
        return translator(source, PositionRng(0, window)).clamp(0, 1)


def _make_probe(side: int, device: torch.device) -> Tensor:
    """Test image (1, 3, side, side) in [0, 1] with coarse and fine random texture."""
    like, window = torch.empty(0, device=device), (0, 0, side, side)
    fine = uniform((1, 3, side, side), like, PositionRng(0, window))
    coarse = uniform((1, 3, side, side), like, PositionRng(1, window))[..., ::TILE_STEP, ::TILE_STEP]
    return (fine + coarse.repeat_interleave(TILE_STEP, -1).repeat_interleave(TILE_STEP, -2)) / 2
