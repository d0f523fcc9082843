"""Restores an image of any size with a trained head: whole, or in tiles without seams."""

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

from unpairaug.data.tiles import Box, stitch
from unpairaug.errors import UserError, escape
from unpairaug.networks.in_place import set_in_place
from unpairaug.networks.resize import enlarge
from unpairaug.task import Task

log = logging.getLogger("unpairaug")

BICUBIC = "bicubic"
"""Name of the model without weights: bicubic interpolation."""

TILE_MARGIN = 32
"""Context of a tile in pixels of the degraded image, for heads without `receptive_margin`.

A head of n 3x3 convolutions needs n pixels on each side, its interpolation 2. The built-in heads have an exact
`receptive_margin`. No margin suffices for a head with global context; `restore_image` refuses tiles with instance norm.
"""

TILE_OVERLAP = 16
"""Pixels on each side of a tile border over which tiles of such a head are blended."""

TILE_STEP = 16
"""Tiles of such a head begin at multiples of this: strides and attention windows are powers of 2."""

PIXELS_AT_ONCE = 2**21
"""Largest restored image in pixels without tiling by default: 64 float32 features take half a GiB."""

SMALLEST_TILE = 32
"""Smallest tile side in pixels after halving."""


class Restorer(Protocol):
    """A `Task`, or any `nn.Module` with a `scale`: (B, 3, h, w) -> (B, 3, scale * h, scale * w), both in [0, 1]."""

    scale: int

    def __call__(self, degraded: Tensor, /) -> Tensor: ...
    def modules(self) -> Iterator[nn.Module]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...


class Bicubic(nn.Module):
    """Bicubic interpolation of (B, C, h, w) by an integer; kernel of Pillow and MATLAB (Keys, 1981, a = -1/2)."""

    receptive_margin = 2

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, degraded: Tensor) -> Tensor:
        return enlarge(degraded, self.scale)


def load_model(
    model: str, scale: int | None = None, device: torch.device | str | None = None, trust_code: bool = False
) -> Restorer:
    """Load a run folder, its `head/`, a hub id, or `bicubic`; by default onto the accelerator if there is one.

    Args:
        trust_code: see `Task.from_pretrained`.

    Raises:
        UserError: the model does not exist, `bicubic` has no scale, or `scale` differs from the model's.
    """
    if scale is not None and scale < 1:
        raise UserError(f"scale {scale} is invalid; give 1 or more")
    if model == BICUBIC:
        if scale is None:
            raise UserError("bicubic needs a scale: --scale 2")
        return Bicubic(scale)
    task = Task.from_pretrained(model, trust_code=trust_code)
    if scale not in (None, task.scale):
        raise UserError(f"{escape(model)} was trained for scale {task.scale} and cannot restore at scale {scale}")
    return task.to(device or best_device())


def best_device() -> torch.device:
    """The accelerator of this machine if there is one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def restore_image(task: Restorer, image: np.ndarray, tile: int | None = None, ensemble: bool = False) -> np.ndarray:
    """Restore (H, W, 3) RGB to (scale * H, scale * W, 3), or (H, W) grey to (scale * H, scale * W).

    Input and output are uint8, uint16, or float32 in [0, 1]. Grey is restored as three equal channels and averaged.

    Args:
        tile: side in pixels of the degraded image; None restores the whole image at once. Tiles overlap by the
            receptive field of the head, so that no seams appear. When the device runs out of memory, tiles are halved.
        ensemble: average over the eight rotations and flips (Timofte et al., 2016, "Seven ways to improve
            example-based single image super resolution", 3.5).

    Raises:
        UserError: `tile` is not positive, the head cannot work in tiles, its output is not finite, or the device has
            too little memory.
    """
    return restore_within_memory(task, image, tile, ensemble)[0]


def restore_within_memory(
    task: Restorer, image: np.ndarray, tile: int | None = None, ensemble: bool = False
) -> tuple[np.ndarray, int | None]:
    """Return the result of `restore_image`, and the tile size that fitted into the device's memory."""
    longest = max(image.shape[:2])
    if tile is not None:
        _check_tile(task, tile, needed=tile < longest)
    while True:
        restored = _try_restore(task, image, tile or longest, ensemble)
        if restored is not None:
            return restored, tile
        tile = _halve_tile(task, min(tile or longest, longest))


def choose_tile(task: Restorer, height: int, width: int) -> int | None:
    """The default tile side for a degraded image of that size; None restores it whole (up to `PIXELS_AT_ONCE`)."""
    fits = height * width * task.scale**2 <= PIXELS_AT_ONCE
    return None if fits or _normalises_whole_images(task) else max(isqrt(PIXELS_AT_ONCE) // task.scale, SMALLEST_TILE)


def receptive_margin(task: Restorer) -> int:
    """Context in pixels that a tile needs on each side: the head's `receptive_margin`, or `TILE_MARGIN`."""
    return _tile_geometry(task).margin


class _TileGeometry(NamedTuple):
    """Margin, overlap and alignment of tiles in pixels of the degraded image; see `tiles.stitch`."""

    margin: int
    overlap: int
    step: int


def _tile_geometry(task: Restorer) -> _TileGeometry:
    """Exact margins if the head has a `receptive_margin`, in steps of its `tile_step`; otherwise blended overlaps."""
    margin = _exact_margin(task)
    if margin is None:
        return _TileGeometry(TILE_MARGIN, TILE_OVERLAP, TILE_STEP)
    return _TileGeometry(margin, 0, getattr(getattr(task, "head", task), "tile_step", 1))


def _exact_margin(task: Restorer) -> int | None:
    """Margin of the task or its head, plus that of the translator in front of it; None if one of them is unknown."""
    own, restorer = _first_margin(task, getattr(task, "head", None)), getattr(task, "restorer", None)
    before = 0 if restorer is None else _first_margin(restorer, *restorer.generators.values())
    return None if own is None or before is None else own + before


def _first_margin(*modules: object) -> int | None:
    margins = (getattr(module, "receptive_margin", None) for module in modules)
    return next((margin for margin in margins if margin is not None), None)


def _check_tile(task: Restorer, tile: int, needed: bool) -> None:
    if tile < 1:
        raise UserError(f"tile {tile} is invalid; give a side in pixels of the degraded image, such as 256")
    if needed and _normalises_whole_images(task):
        raise UserError("the head has instance norm, which would normalise each tile by itself; restore without --tile")


def _normalises_whole_images(task: Restorer) -> bool:
    return any(isinstance(module, nn.InstanceNorm2d) and not module.track_running_stats for module in task.modules())


def _halve_tile(task: Restorer, side: int) -> int:
    """Half the tile side after the device ran out of memory; raises UserError if tiles cannot be smaller."""
    device = _device_of(task)
    if _normalises_whole_images(task):
        raise UserError(
            f"an image of {side} px does not fit into the memory of {device}, and a head with instance norm cannot "
            "restore tiles; cut the image into smaller ones"
        )
    if side < 2 * SMALLEST_TILE:
        raise UserError(f"not even tiles of {side} px fit into the memory of {device}; free some memory")
    log.warning(f"tiles of {side} px do not fit into the memory of {device}; continuing with tiles of {side // 2} px")
    return side // 2


def _try_restore(task: Restorer, image: np.ndarray, side: int, ensemble: bool) -> np.ndarray | None:
    """The restored image, or None if tiles of that side do not fit into the device's memory."""
    height, width, scale = *image.shape[:2], task.scale
    restored = np.empty((height * scale, width * scale, *image.shape[2:]), image.dtype)
    is_float = image.dtype.kind == "f"
    top = 1 if is_float else np.iinfo(image.dtype).max

    def restore_tile(window: Box) -> np.ndarray:
        return _restore_window(task, image[window.slices], top, ensemble)

    done = 0
    try:
        with torch.inference_mode(), _evaluation_mode(task):
            for strip in stitch((height, width), restore_tile, side, *_tile_geometry(task), scale=scale):
                strip.clip(0, 1, out=strip)  # in place: a strip of a large image takes hundreds of MiB
                strip *= top
                restored[done : done + len(strip)] = strip if is_float else np.rint(strip, out=strip)
                done += len(strip)
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        return None
    return restored


def _is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether a smaller tile could help. Some of PyTorch's allocators raise a plain RuntimeError."""
    messages = r"out of memory|not enough memory|can't allocate memory"
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or bool(re.search(messages, str(error)))


def _restore_window(task: Restorer, image: np.ndarray, top: int, ensemble: bool) -> np.ndarray:
    """Restore a window (h, w, 3) or (h, w) with white level `top`: floats, about [0, 1], `scale` times as large."""
    is_grey = image.ndim == 2
    colour = np.repeat(image[..., None], 3, axis=2) if is_grey else image
    degraded = torch.from_numpy(colour.astype(np.float32)).to(_device_of(task)).permute(2, 0, 1)[None] / top
    # A copy: of one image, `contiguous` keeps strides that convolutions do not take for channels_last.
    degraded = degraded.clone(memory_format=torch.channels_last)
    restored = _restore_with_ensemble(task, degraded) if ensemble else task(degraded)
    expected = tuple(task.scale * side for side in degraded.shape[-2:])
    assert restored.shape[-2:] == expected, (
        f"head output {tuple(restored.shape)} for input {tuple(degraded.shape)} at scale {task.scale}"
    )
    if not restored.isfinite().all():
        raise UserError("the head's output is not finite: its training diverged; use an earlier checkpoint")
    values = restored[0].float().permute(1, 2, 0)
    return (values.mean(dim=2) if is_grey else values).cpu().numpy()


def _restore_with_ensemble(task: Restorer, degraded: Tensor) -> Tensor:
    """Mean output over the eight rotations and flips of (1, 3, h, w), each transformed back."""
    restored = []
    for flipped in (False, True):
        image = degraded.flip(3) if flipped else degraded
        for turns in range(4):
            back = task(image.rot90(turns, (2, 3))).float().rot90(-turns, (2, 3))
            restored.append(back.flip(3) if flipped else back)
    return torch.stack(restored).mean(dim=0)


def _device_of(task: Restorer) -> torch.device:
    parameter = next(iter(task.parameters()), None)
    return torch.device("cpu") if parameter is None else parameter.device


@contextmanager
def _evaluation_mode(task: Restorer) -> Iterator[None]:
    """Evaluation mode with activations in place; afterwards every module is as before, also frozen ones."""
    training = [module for module in task.modules() if module.training]
    for module in training:
        module.training = False
    in_place = set_in_place(task.modules())
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for module in in_place:
            module.inplace = False
