"""Degrades an image of any size with a trained translator: whole, or in tiles without seams."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unpairaug.bridge import Bridge, round_to_8_bits
from unpairaug.data.decode import Array
from unpairaug.data.tiles import Box, split_into_tiles
from unpairaug.errors import UserError, escape
from unpairaug.networks.resize import shrink
from unpairaug.rng import PositionRng, mix_seed
from unpairaug.sharing.pretrained import FOLDER
from unpairaug.task import Task
from unpairaug.translator import Translator, degrade_input, own_scale
from unpairaug.translators.base.tile_margin import MAX_WHOLE_PIXELS, TILE_SIDE, TILE_STEP, find_tile_margin

log = logging.getLogger("unpairaug")

SOURCE_MARGIN = 16
"""Margin in source pixels for downsampling a window; antialiased bicubic needs 2."""


@dataclass(frozen=True)
class Degradation:
    """Settings of a degraded image. The clean image, its name and the draw determine the rest."""

    model: str
    """A run folder, its `translator/`, or a hub id."""
    seed: int = 0
    strength: tuple[float, float] = (1.0, 1.0)
    """Blend of source (0) and translation (1), drawn uniformly for each image."""
    scale: int | None = None
    """Size ratio of clean to degraded images; None uses that of the run, or 1 without a run."""
    tile: int | None = None
    """Side in pixels of the source's tiles; None uses `TILE_SIDE` for sources above `MAX_WHOLE_PIXELS`."""
    trust_code: bool = False
    """See `Translator.from_pretrained`. It is not recorded: the reader of a manifest decides anew."""

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> Degradation:
        """The settings in a line of a manifest."""
        known = {field.name: row[field.name] for field in fields(Degradation) if field.name != "trust_code"}
        return Degradation(**{**known, "strength": tuple(known["strength"])})


class Degrader:
    """Degrades clean images; the result depends only on image, name, draw and settings."""

    def __init__(self, degradation: Degradation, device: torch.device | str = "cpu") -> None:
        """Load the translator, and the task if the model is a run folder.

        Raises:
            UserError: the model does not exist, or its task or translator has another scale.
        """
        self.degradation, self.device = degradation, torch.device(device)
        trust = degradation.trust_code
        self.translator = Translator.from_pretrained(degradation.model, trust_code=trust).to(self.device)
        in_run = os.path.isfile(Path(degradation.model) / FOLDER["task"] / "config.json")
        self.task = Task.from_pretrained(degradation.model, trust_code=trust) if in_run else None
        if self.task is not None and degradation.scale not in (None, self.task.scale):
            raise UserError(
                f"{escape(degradation.model)} is a run at scale {self.task.scale}, but --scale is {degradation.scale}; "
                f"omit it or give its {FOLDER['translator']}/ folder to use the translator at another scale"
            )
        self.scale = self.task.scale if self.task is not None else degradation.scale or own_scale(self.translator)
        if (own := own_scale(self.translator)) not in (1, self.scale):
            raise UserError(
                f"{escape(degradation.model)} downsamples images by {own} itself, but --scale is {self.scale}"
            )
        self.bridge = Bridge(strength=degradation.strength)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Settings in a line of the manifest; `model_sha256` is the hash of `model.safetensors`."""
        from safetensors.torch import save

        _, saved = self.translator.saved()
        weights = {name: tensor.cpu().contiguous() for name, tensor in saved.items()}
        facts = asdict(self.degradation)
        del facts["trust_code"]
        return {
            **facts,
            "strength": [*self.degradation.strength],
            "scale": self.scale,
            "model_sha256": sha256_of(save(weights)),
        }

    def __str__(self) -> str:
        size = "the size" if self.scale == 1 else f"1/{self.scale} of the width and height"
        origin = f"from its task {self.task.config['type']}" if self.task else "from --scale; MODEL is not a run folder"
        return f"{escape(self.degradation.model)}: degraded images have {size} of the clean images ({origin})"

    def crop(self, clean: Array) -> Array:
        """Crop an image (H, W, 3) at right and bottom, so that both sides are multiples of the scale.

        Raises:
            UserError: a side is shorter than the scale.
        """
        height, width = (side // self.scale * self.scale for side in clean.shape[:2])
        if not height or not width:
            raise UserError(f"{clean.shape[1]}×{clean.shape[0]} px is too small for scale {self.scale}")
        return clean[:height, :width]

    def __call__(self, clean: Array, name: str, draw: int = 0) -> Array:
        """Degrade a clean image (H, W, 3) to (H / scale, W / scale, 3), both uint8 RGB.

        Args:
            clean: the image, cropped by `crop`.
            name: name of the image; with seed and draw it determines all random numbers.
            draw: number of the degraded image of the same clean image, from 0.

        Raises:
            UserError: the output is not finite, the translator cannot be tiled, or memory does not suffice.
        """
        height, width = (side // self.scale for side in clean.shape[:2])
        seed = mix_seed(self.degradation.seed, int(sha256_of(name.encode(errors="surrogatepass"))[:16], 16), draw)
        side = self._tile_side(height, width)
        if side is None:
            return self._degrade_window(clean, Box(0, 0, height, width), seed)
        degraded = np.empty((height, width, 3), np.uint8)
        for tile in split_into_tiles(height, width, side, self.margin or 0, TILE_STEP):
            degraded[tile.kept.slices] = self._degrade_window(clean, tile.seen, seed)[
                tile.kept.within(tile.seen).slices
            ]
        return degraded

    @cached_property
    def margin(self) -> int | None:
        """See `find_tile_margin`."""
        margin = find_tile_margin(self.translator, self.device)
        if margin is None:
            log.warning("%s has global context; large images are not cut into tiles", escape(self.degradation.model))
        return margin

    def _tile_side(self, height: int, width: int) -> int | None:
        """Tile side for a source of this size; None if it stays whole."""
        if self.degradation.tile is None:
            return TILE_SIDE if height * width > MAX_WHOLE_PIXELS and self.margin is not None else None
        if max(height, width) <= self.degradation.tile:
            return None
        if self.margin is None:
            raise UserError(
                f"{escape(self.degradation.model)} has global context, so tiles would have seams; omit --tile"
            )
        return self.degradation.tile

    def _degrade_window(self, clean: Array, window: Box, seed: int) -> Array:
        """Degrade a window of the source: (h, w, 3) uint8."""
        height, width = (side // self.scale for side in clean.shape[:2])
        top, left = max(window.top - SOURCE_MARGIN, 0), max(window.left - SOURCE_MARGIN, 0)
        wide = Box(top, left, min(window.bottom + SOURCE_MARGIN, height), min(window.right + SOURCE_MARGIN, width))
        try:
            pixels = (
                torch.tensor(clean[wide.times(self.scale).slices], device=self.device).permute(2, 0, 1)[None].float()
                / 255
            )
            with torch.inference_mode():
                rows, columns = window.within(wide).slices
                source = self._make_source(pixels)[..., rows, columns]
                rng = PositionRng(seed, window)
                part = pixels[(..., *window.within(wide).times(self.scale).slices)]
                fake = self.translator(degrade_input(self.translator, part, source), rng)
                degraded = self.bridge(source, fake, fake, feedback=0, rng=rng)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"{window.right - window.left}×{window.bottom - window.top} px do not fit into the memory of "
                f"{self.device}; give a smaller --tile"
            ) from error
        if not degraded.isfinite().all():
            raise UserError(
                f"{escape(self.degradation.model)} has output that is not finite; use an earlier checkpoint"
            )
        return degraded[0].mul(255).round().byte().permute(1, 2, 0).cpu().numpy()

    def _make_source(self, clean: Tensor) -> Tensor:
        """Source (1, 3, h, w) of a window of the clean image (1, 3, scale * h, scale * w); both in [0, 1]."""
        if self.task is not None:
            return self.task.source(clean)
        return round_to_8_bits(shrink(clean, self.scale).clamp(0, 1))


def sha256_of(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return sha256(data).hexdigest()
