"""A trained head on images of any size: whole, or in tiles that equal the whole image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from unpairaug.data.images import has_images, list_images, read_image, write_image
from unpairaug.errors import UserError, shown
from unpairaug.networks import enlarge
from unpairaug.task import Task

BICUBIC = "bicubic"
"""The model that is always there: plain enlargement."""

TILE_MARGIN = 32
"""Pixels of the degraded image that a tile sees beyond itself, unless the head has a `receptive_margin` of its own.

A head of n 3x3 convolutions sees n pixels each way, and its interpolation 2; the built-in ones say how far
they see. No margin covers a head that looks at the whole image; with instance norm, `restore_image` refuses.
"""


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


def restore_image(task: Restorer, image: np.ndarray, tile: int | None = None) -> np.ndarray:
    """The restored image (scale * H, scale * W, 3) of an (H, W, 3) one, both uint8 RGB, of any size.

    Whole by default. With `tile`, one square of so many pixels of the degraded image at a time, and only that on the
    device; each sees a margin beyond itself that covers what the head looks at, so that no seam shows.

    Raises:
        UserError: `tile` is not positive, the head cannot work in tiles or makes what is no number, or the device's
            memory does not suffice.
    """
    height, width = image.shape[:2]
    if tile is not None:
        _check_tile(task, tile, needed=tile < max(height, width))
    side, margin, scale = tile or max(height, width), receptive_margin(task), task.scale
    restored = np.empty((height * scale, width * scale, 3), np.uint8)
    with torch.inference_mode(), _evaluation_mode(task):
        for top in range(0, height, side):
            for left in range(0, width, side):
                # What the tile sees, and where the tile itself lies in it: at the image's edge there is no margin.
                above, before = max(top - margin, 0), max(left - margin, 0)
                seen = image[above : top + side + margin, before : left + side + margin]
                whole = _restore_at_once(task, seen)
                core = restored[top * scale : (top + side) * scale, left * scale : (left + side) * scale]
                y, x = (top - above) * scale, (left - before) * scale
                core[:] = whole[y : y + core.shape[0], x : x + core.shape[1]]
    return restored


def receptive_margin(task: Restorer) -> int:
    """Pixels of the degraded image that the head sees beyond a tile: its own `receptive_margin`, or `TILE_MARGIN`."""
    for module in (task, getattr(task, "head", None)):
        margin = getattr(module, "receptive_margin", None)
        if margin is not None:
            return margin
    return TILE_MARGIN


def outputs_of(source: Path, target: Path) -> dict[Path, Path]:
    """Each image of `source`, a file or a folder, and the PNG to write for it.

    It lies in the folder `target` where the image lies in `source`; for a single image, `target` may be the PNG itself.

    Raises:
        UserError: there is no image, one would be overwritten, or two would become one file.
    """
    _refuse_shards(source)
    if not source.exists():
        raise UserError(f"there is no file or folder {source}; give an image or a folder of images to restore")
    outputs = _outputs_of_folder(source, target) if source.is_dir() else {source: _output_of_file(source, target)}
    _refuse_overwriting(outputs)
    return outputs


def _refuse_shards(source: Path) -> None:
    """Say what is read here to whoever gives what training reads."""
    is_far = re.match(r"\w+(::\w+)*:/", source.as_posix()) and not source.exists()  # pathlib makes s3:/ of s3://
    is_tar = re.search(r"\.(tar|tgz|tar\.\w+)$", source.name) and not source.is_dir()
    is_packed = source.is_dir() and not has_images(source) and any(source.glob("*.tar"))
    if is_far or is_tar or is_packed:
        raise UserError(
            f"{shown(source)}: restore reads image files of this machine, and no shards or addresses; unpack the "
            "images (tar xf) into a folder and give that"
        )


def restore_files(task: Restorer, outputs: Mapping[Path, Path], tile: int | None = None) -> Iterator[Path]:
    """Restore each image into its file and yield that; what cannot be read is left out and named at the end.

    Raises:
        UserError: after the last image, if some could not be restored.
    """
    failures: list[str] = []
    for source, target in outputs.items():
        try:
            restored = restore_image(task, read_image(source), tile)
        except UserError as error:
            failures.append(str(error))
        else:
            write_image(target, restored)
        yield target
    if failures:
        raise UserError(f"{len(failures)} of {len(outputs)} images not restored:\n" + "\n".join(failures))


def _check_tile(task: Restorer, tile: int, needed: bool) -> None:
    if tile < 1:
        raise UserError(f"tile {tile} is not a size; give a side in pixels of the degraded image, such as 256")
    if needed and any(isinstance(m, nn.InstanceNorm2d) and not m.track_running_stats for m in task.modules()):
        raise UserError("this head has instance norm, which would treat each tile by itself; restore without --tile")


def _restore_at_once(task: Restorer, image: np.ndarray) -> np.ndarray:
    """One forward pass over an (h, w, 3) uint8 image or tile, rounded to uint8."""
    parameter = next(iter(task.parameters()), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    degraded = torch.tensor(image, device=device).permute(2, 0, 1)[None].float() / 255
    try:
        restored = task(degraded)
    except torch.OutOfMemoryError as error:
        height, width = image.shape[:2]
        raise UserError(
            f"{width} x {height} px at once do not fit into the memory of {device}; use a smaller --tile"
        ) from error
    expected = tuple(task.scale * side for side in degraded.shape[-2:])
    assert restored.shape[-2:] == expected, (
        f"the head made {tuple(restored.shape)} of {tuple(degraded.shape)} at scale {task.scale}"
    )
    if not restored.isfinite().all():
        raise UserError("the head makes values that are no numbers; its training diverged, take an earlier checkpoint")
    return restored[0].float().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()


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


def _outputs_of_folder(source: Path, target: Path) -> dict[Path, Path]:
    if target.is_file():
        raise UserError(f"{source} is a folder and {target} a file; give a folder for the results")
    place = target.resolve()
    if place == source.resolve():
        raise UserError(f"the results would lie among the images of {source}; give another folder for them")
    # A result folder inside the input folder must not be restored again at the next call.
    inside = source.resolve() in place.parents
    inputs = [path for path in list_images(source) if not (inside and place in path.resolve().parents)]
    if not inputs:
        raise UserError(f"all images of {source} lie in {target}, the folder for the results; there is none to restore")
    return {path: target / path.relative_to(source).with_suffix(".png") for path in inputs}


def _output_of_file(source: Path, target: Path) -> Path:
    if target.is_dir() or not target.suffix:
        return target / f"{source.stem}.png"
    if target.suffix.lower() != ".png":
        raise UserError(f"results are written as PNG; give {target.with_suffix('.png')} instead of {target}")
    return target


def _refuse_overwriting(outputs: Mapping[Path, Path]) -> None:
    sources = {source.resolve(): source for source in outputs}
    first: dict[Path, Path] = {}
    for source, target in outputs.items():
        if target.resolve() in sources:
            raise UserError(f"{target} is an input image and would be overwritten; give another place for the results")
        if (other := first.setdefault(target, source)) != source:
            raise UserError(f"{other} and {source} would both become {target}; rename one, or restore them apart")
