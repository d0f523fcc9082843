"""A trained translator on images of any size: whole, or in tiles that equal the whole image."""

from __future__ import annotations

import logging
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
from unpairaug.errors import UserError
from unpairaug.networks.resize import shrink
from unpairaug.restoring.tiles import Box, split_into_tiles
from unpairaug.rng import PositionRng, mix_seed, uniform
from unpairaug.sharing.pretrained import FOLDER
from unpairaug.task import Task
from unpairaug.translator import Translator, degrade_input, own_scale

log = logging.getLogger("unpairaug")

WHOLE = 2**20
"""Pixels of the largest source that is degraded at once where no tile is asked for."""
SIDE = 512
"""Side in pixels of the tiles of a larger one."""
STEP = 16
"""Tiles begin at multiples of so many pixels: a network that shrinks what it is given cuts it as it cuts the whole."""
SOURCE_MARGIN = 16
"""Pixels of the source beyond a window that it is made with; antialiased bicubic needs 2."""
MARGINS = (16, 32, 64, 128)
"""Margins in pixels that are tried, the smallest first."""
AGREEMENT = 1 / 64
"""How far, in 8-bit steps, a tile with a good margin may be from the whole image before both are rounded."""


@dataclass(frozen=True)
class Degradation:
    """All that decides what a degraded image looks like, beside the clean image, its name and the draw."""

    model: str
    """A run folder, its `translator/`, or a hub id."""
    seed: int = 0
    strength: tuple[float, float] = (1.0, 1.0)
    """Share of the translation, drawn uniformly for each image: 0 is the source, 1 what the translator makes of it."""
    scale: int | None = None
    """Side of the clean image over the side of its source; None takes the run's own, or 1 where there is no run."""
    tile: int | None = None
    """Side in pixels of the source's tiles; None chooses: images of up to `WHOLE` pixels at once, others by `SIDE`."""

    @staticmethod
    def of(row: Mapping[str, Any]) -> Degradation:
        """The one that a line of a manifest tells of."""
        known = {field.name: row[field.name] for field in fields(Degradation)}
        return Degradation(**{**known, "strength": tuple(known["strength"])})


class Degrader:
    """Makes degraded images of clean ones, always the same of the same image, name and draw."""

    def __init__(self, how: Degradation, device: torch.device | str = "cpu") -> None:
        """Load the translator, and the task of its run where there is one.

        Raises:
            UserError: there is no such model, or its task or translator has another scale.
        """
        self.how, self.device = how, torch.device(device)
        self.translator = Translator.from_pretrained(how.model).to(self.device)
        in_run = (Path(how.model) / FOLDER["task"] / "config.json").is_file()
        self.task = Task.from_pretrained(how.model) if in_run else None
        if self.task is not None and how.scale not in (None, self.task.scale):
            raise UserError(
                f"{how.model} is a run at scale {self.task.scale}, given --scale {how.scale}; leave it out, or give "
                f"its {FOLDER['translator']}/ folder to use the translator for something else"
            )
        self.scale = self.task.scale if self.task is not None else how.scale or own_scale(self.translator)
        if (own := own_scale(self.translator)) not in (1, self.scale):
            raise UserError(f"{how.model} shrinks images by {own} itself, given --scale {self.scale}")
        self.bridge = Bridge(strength=how.strength)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a manifest's line says of how an image was made; `model_sha256` is that of `model.safetensors`."""
        from safetensors.torch import save

        weights = {name: tensor.cpu().contiguous() for name, tensor in self.translator.generators.state_dict().items()}
        facts = asdict(self.how)
        return {**facts, "strength": [*self.how.strength], "scale": self.scale, "model_sha256": digest(save(weights))}

    def __str__(self) -> str:
        size = "as large as the clean ones" if self.scale == 1 else f"1/{self.scale} as wide and high as the clean ones"
        whence = f"as in its task {self.task.config['type']}" if self.task else "no run, so by --scale alone"
        return f"{self.how.model}: degraded images are {size} ({whence})"

    def cropped(self, clean: Array) -> Array:
        """The image (H, W, 3), less what is over at right and bottom so that both sides are multiples of the scale.

        Raises:
            UserError: a side is shorter than the scale.
        """
        height, width = (side // self.scale * self.scale for side in clean.shape[:2])
        if not height or not width:
            raise UserError(f"{clean.shape[1]}×{clean.shape[0]} px are too small for scale {self.scale}")
        return clean[:height, :width]

    def __call__(self, clean: Array, name: str, draw: int = 0) -> Array:
        """The degraded image (H / scale, W / scale, 3) of a cropped clean one, both uint8 RGB.

        Args:
            clean: as `cropped` gives it.
            name: what the image is called; with seed and draw it decides all that is random.
            draw: which of several degraded images of the same one.

        Raises:
            UserError: it makes what is no number, cannot work in the tiles that were asked for, or memory is too small.
        """
        height, width = (side // self.scale for side in clean.shape[:2])
        seed = mix_seed(self.how.seed, int(digest(name.encode(errors="surrogatepass"))[:16], 16), draw)
        side = self._side(height, width)
        if side is None:
            return self._window(clean, Box(0, 0, height, width), seed)
        degraded = np.empty((height, width, 3), np.uint8)
        for tile in split_into_tiles(height, width, side, self.margin or 0, STEP):
            degraded[tile.kept.slices] = self._window(clean, tile.seen, seed)[tile.kept.within(tile.seen).slices]
        return degraded

    @cached_property
    def margin(self) -> int | None:
        """Pixels that a tile must see beyond itself, found by trying; None if no margin makes it equal the whole.

        So it is with instance norm, or whatever else looks at the whole image.
        """
        side, middle = 4 * MARGINS[-1], 2 * MARGINS[-1]
        scale = own_scale(self.translator)
        image = _probe(scale * side, self.device)
        whole = self._translated(image, Box(0, 0, side, side))[..., middle:, middle:]
        for margin in MARGINS:
            start = middle - margin
            within = image[..., scale * start :, scale * start :]
            part = self._translated(within, Box(start, start, side, side))
            if (part[..., margin:, margin:] - whole).abs().max() <= AGREEMENT / 255:
                return margin
        log.warning("%s: it looks at the whole image, so large ones are not cut into tiles", self.how.model)
        return None

    def _side(self, height: int, width: int) -> int | None:
        """Side of the tiles of a source, or None if it stays whole."""
        if self.how.tile is None:
            return SIDE if height * width > WHOLE and self.margin is not None else None
        if max(height, width) <= self.how.tile:
            return None
        if self.margin is None:
            raise UserError(f"{self.how.model} looks at the whole image, so tiles would show; leave --tile out")
        return self.how.tile

    def _window(self, clean: Array, window: Box, seed: int) -> Array:
        """The degraded pixels (h, w, 3) of a window of the source."""
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
                source = self._source(pixels)[..., rows, columns]
                rng = PositionRng(seed, window)
                part = pixels[(..., *window.within(wide).times(self.scale).slices)]
                fake = self.translator(degrade_input(self.translator, part, source), rng)
                degraded = self.bridge(source, fake, fake, feedback=0, rng=rng)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"{window.right - window.left}×{window.bottom - window.top} px at once do not fit into the memory of "
                f"{self.device}; give a smaller --tile"
            ) from error
        if not degraded.isfinite().all():
            raise UserError(f"{self.how.model} makes values that are no numbers; take an earlier checkpoint")
        return degraded[0].mul(255).round().byte().permute(1, 2, 0).cpu().numpy()

    def _source(self, clean: Tensor) -> Tensor:
        """What is degraded, (1, 3, h, w), of a window of the clean image (1, 3, scale * h, scale * w); in [0, 1]."""
        if self.task is not None:
            return self.task.source(clean)
        return round_to_8_bits(shrink(clean, self.scale).clamp(0, 1))

    def _translated(self, given: Tensor, window: Box) -> Tensor:
        with torch.inference_mode():
            return self.translator(given, PositionRng(0, window)).clamp(0, 1)


def _probe(side: int, device: torch.device) -> Tensor:
    """An image (1, 3, side, side) in [0, 1] of coarse and fine random texture, which moves a network everywhere."""
    like, window = torch.empty(0, device=device), (0, 0, side, side)
    fine = uniform((1, 3, side, side), like, PositionRng(0, window))
    coarse = uniform((1, 3, side, side), like, PositionRng(1, window))[..., ::STEP, ::STEP]
    return (fine + coarse.repeat_interleave(STEP, -1).repeat_interleave(STEP, -2)) / 2


def digest(data: bytes) -> str:
    """The sha256 of a file's bytes, as `sha256sum` writes it."""
    return sha256(data).hexdigest()
