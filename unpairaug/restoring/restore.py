"""A trained head on an image of any size: whole, or in tiles that equal the whole image."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from unpairaug.errors import UserError
from unpairaug.networks.generators import enlarge
from unpairaug.restoring.tiles import Box, stitch
from unpairaug.task import Task

log = logging.getLogger("unpairaug")

BICUBIC = "bicubic"
"""The model that is always there: plain enlargement."""

TILE_MARGIN = 32
"""Pixels of the degraded image that a tile sees beyond itself, unless the head has a `receptive_margin` of its own.

A head of n 3x3 convolutions sees n pixels each way, and its interpolation 2; the built-in ones say how far
they see. No margin covers a head that looks at the whole image; with instance norm, `restore_image` refuses.
"""

TILE_OVERLAP = 16
"""Pixels on either side of a border over which tiles of such a head fade into each other."""

TILE_STEP = 16
"""Where tiles of such a head begin: heads that shrink the image or look at it in windows do so in powers of 2."""

PIXELS_AT_ONCE = 2**21
"""Pixels of a restored image that `automatic_tile` lets a head make at once: 64 features of each are half a GiB."""

SMALLEST_TILE = 32
"""Side in pixels below which tiles are not halved."""


class Restorer(Protocol):
    """A `Task`, or any `nn.Module` with a `scale`: (B, 3, h, w) -> (B, 3, scale * h, scale * w), both in [0, 1]."""

    scale: int

    def __call__(self, degraded: Tensor, /) -> Tensor: ...
    def modules(self) -> Iterator[nn.Module]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...


class Bicubic(nn.Module):
    """Bicubic enlargement of (B, C, h, w) by a factor, with Pillow's and MATLAB's kernel (Keys, 1981, a = -1/2)."""

    receptive_margin = 2

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, degraded: Tensor) -> Tensor:
        return enlarge(degraded, self.scale)


def load_model(model: str, scale: int | None = None, device: torch.device | str | None = None) -> Restorer:
    """The model that a command names: a run folder, its `head/`, a hub id, or `bicubic`; on the best device by default.

    Raises:
        UserError: there is no such model, `bicubic` has no scale, or the model's scale is not the one asked for.
    """
    if scale is not None and scale < 1:
        raise UserError(f"scale {scale} is not a factor of enlargement; give 1 or more")
    if model == BICUBIC:
        if scale is None:
            raise UserError("bicubic does not know how far to enlarge; give the scale: --scale 2")
        return Bicubic(scale)
    task = Task.from_pretrained(model)
    if scale not in (None, task.scale):
        raise UserError(f"{model} was trained for scale {task.scale} and cannot restore at scale {scale}")
    return task.to(device or best_device())


def best_device() -> torch.device:
    """The accelerator of this machine, or its CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def restore_image(task: Restorer, image: np.ndarray, tile: int | None = None, ensemble: bool = False) -> np.ndarray:
    """The restored image, (scale * H, scale * W, 3) RGB of (H, W, 3), or (scale * H, scale * W) grey of (H, W).

    Both in 8 or both in 16 bits, uint8 or uint16. Grey is restored as three equal channels, of which the mean is taken.

    Whole by default. With `tile`, a square of at most so many pixels of the degraded image at a time, and only that on
    the device; each sees a margin beyond itself that covers what the head looks at, so that no seam shows. Where the
    memory of the device does not suffice, tiles are halved.

    Args:
        ensemble: restore the image in its eight turns and flips, and take the mean (Timofte et al., 2016, "Seven ways
            to improve example-based single image super resolution", 3.5).

    Raises:
        UserError: `tile` is not positive, the head cannot work in tiles or makes what is no number, or the device's
            memory does not suffice.
    """
    return restore_within_memory(task, image, tile, ensemble)[0]


def restore_within_memory(
    task: Restorer, image: np.ndarray, tile: int | None = None, ensemble: bool = False
) -> tuple[np.ndarray, int | None]:
    """What `restore_image` returns, and the tile with which the device's memory sufficed."""
    longest = max(image.shape[:2])
    if tile is not None:
        _check_tile(task, tile, needed=tile < longest)
    while True:
        restored = _restore_if_it_fits(task, image, tile or longest, ensemble)
        if restored is not None:
            return restored, tile
        tile = _halved(task, min(tile or longest, longest))


def automatic_tile(task: Restorer, height: int, width: int) -> int | None:
    """The tile for a degraded image of that size: None, for the whole of it, where `PIXELS_AT_ONCE` suffice."""
    fits = height * width * task.scale**2 <= PIXELS_AT_ONCE
    return None if fits or _normalises_whole_images(task) else max(isqrt(PIXELS_AT_ONCE) // task.scale, SMALLEST_TILE)


def receptive_margin(task: Restorer) -> int:
    """Pixels of the degraded image that the head sees beyond a tile: its own `receptive_margin`, or `TILE_MARGIN`."""
    return _surroundings(task).margin


class _Surroundings(NamedTuple):
    """How the tiles of a head meet, in pixels of the degraded image (see `unpairaug.restoring.tiles.stitch`)."""

    margin: int
    overlap: int
    step: int


def _surroundings(task: Restorer) -> _Surroundings:
    """Exact where the head says how far it looks; otherwise tiles fade into each other."""
    known = _own_margin(task)
    return _Surroundings(TILE_MARGIN, TILE_OVERLAP, TILE_STEP) if known is None else _Surroundings(known, 0, 1)


def _own_margin(task: Restorer) -> int | None:
    """Of the task or its head, and of the translator that it stands behind; None where one of them does not say."""
    own, behind = _first_margin(task, getattr(task, "head", None)), getattr(task, "behind", None)
    before = 0 if behind is None else _first_margin(behind, *behind.generators.values())
    return None if own is None or before is None else own + before


def _first_margin(*modules: object) -> int | None:
    margins = (getattr(module, "receptive_margin", None) for module in modules)
    return next((margin for margin in margins if margin is not None), None)


def _check_tile(task: Restorer, tile: int, needed: bool) -> None:
    if tile < 1:
        raise UserError(f"tile {tile} is not a size; give a side in pixels of the degraded image, such as 256")
    if needed and _normalises_whole_images(task):
        raise UserError("this head has instance norm, which would treat each tile by itself; restore without --tile")


def _normalises_whole_images(task: Restorer) -> bool:
    return any(isinstance(module, nn.InstanceNorm2d) and not module.track_running_stats for module in task.modules())


def _halved(task: Restorer, side: int) -> int:
    """Half the tile whose restoration took more memory than there is."""
    device = _device_of(task)
    if _normalises_whole_images(task):
        raise UserError(
            f"{side} px at once do not fit into the memory of {device}, and a head with instance norm cannot work in "
            "tiles; cut the image into smaller ones"
        )
    if side < 2 * SMALLEST_TILE:
        raise UserError(f"not even tiles of {side} px fit into the memory of {device}; free some of it")
    log.warning(f"{side} px at once do not fit into the memory of {device}; going on with tiles of {side // 2} px")
    return side // 2


def _restore_if_it_fits(task: Restorer, image: np.ndarray, side: int, ensemble: bool) -> np.ndarray | None:
    """The restored image; None if the device's memory does not suffice for tiles of that side."""
    height, width, scale = *image.shape[:2], task.scale
    restored = np.empty((height * scale, width * scale, *image.shape[2:]), image.dtype)
    top = np.iinfo(image.dtype).max

    def make(seen: Box) -> np.ndarray:
        return _restore_at_once(task, image[seen.slices], top, ensemble)

    done = 0
    try:
        with torch.inference_mode(), _evaluation_mode(task):
            for strip in stitch((height, width), make, side, *_surroundings(task), scale=scale):
                strip.clip(0, 1, out=strip)  # in place: a strip of a large image takes hundreds of MiB
                strip *= top
                restored[done : done + len(strip)] = np.rint(strip, out=strip)
                done += len(strip)
    except (RuntimeError, MemoryError) as error:
        if not _is_lack_of_memory(error):
            raise
        return None
    return restored


def _is_lack_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether a smaller tile could help: some of PyTorch's allocators raise no error of their own."""
    wanting = r"out of memory|not enough memory|can't allocate memory"
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or bool(re.search(wanting, str(error)))


def _restore_at_once(task: Restorer, image: np.ndarray, top: int, ensemble: bool) -> np.ndarray:
    """(h, w, 3) or (h, w) whose white is `top` through the head, as floats of about [0, 1], at the scale."""
    is_grey = image.ndim == 2
    colour = np.repeat(image[..., None], 3, axis=2) if is_grey else image
    degraded = torch.from_numpy(colour.astype(np.float32)).to(_device_of(task)).permute(2, 0, 1)[None] / top
    restored = _mean_of_turns(task, degraded) if ensemble else task(degraded)
    expected = tuple(task.scale * side for side in degraded.shape[-2:])
    assert restored.shape[-2:] == expected, (
        f"the head made {tuple(restored.shape)} of {tuple(degraded.shape)} at scale {task.scale}"
    )
    if not restored.isfinite().all():
        raise UserError("the head makes values that are no numbers; its training diverged, take an earlier checkpoint")
    values = restored[0].float().permute(1, 2, 0)
    return (values.mean(dim=2) if is_grey else values).cpu().numpy()


def _mean_of_turns(task: Restorer, degraded: Tensor) -> Tensor:
    """The mean of what the head makes of the eight turns and flips of (1, 3, h, w), each turned back."""
    restored = []
    for flipped in (False, True):
        given = degraded.flip(3) if flipped else degraded
        for turns in range(4):
            back = task(given.rot90(turns, (2, 3))).float().rot90(-turns, (2, 3))
            restored.append(back.flip(3) if flipped else back)
    return torch.stack(restored).mean(dim=0)


def _device_of(task: Restorer) -> torch.device:
    parameter = next(iter(task.parameters()), None)
    return torch.device("cpu") if parameter is None else parameter.device


@contextmanager
def _evaluation_mode(task: Restorer) -> Iterator[None]:
    """Evaluation mode; then each module gets its own back, so frozen parts of a model in training stay frozen."""
    training = [module for module in task.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
