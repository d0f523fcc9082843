"""Restores image files and folders into PNG files, with alpha, colour profile and EXIF of the input."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from unpairaug.data.files import real_path
from unpairaug.data.images import find_images, has_images
from unpairaug.data.output_files import OutputFiles
from unpairaug.data.photograph import Photograph, read_photograph, write_photograph
from unpairaug.errors import UserError, escape
from unpairaug.restoring.restore import Bicubic, Restorer, choose_tile, restore_image, restore_within_memory

log = logging.getLogger("unpairaug")


def plan_outputs(source: Path, target: Path, unlistable: list[str] | None = None) -> dict[Path, Path]:
    """Map each image of `source`, a file or a folder, to the path of its restored PNG.

    `target` keeps the folder structure of `source`. For a single image, `target` may be the PNG file itself.

    Args:
        unlistable: see `find_images`.

    Raises:
        UserError: `source` holds no image, an output would overwrite an input, or two outputs have the same path.
    """
    _refuse_shards(source)
    if not os.path.exists(source):
        raise UserError(f"there is no file or folder {escape(source)}; give an image or a folder of images to restore")
    outputs = (
        _plan_folder(source, target, unlistable) if os.path.isdir(source) else {source: _plan_file(source, target)}
    )
    _refuse_overwriting(outputs)
    return outputs


def restore_files(
    task: Restorer,
    outputs: Mapping[Path, Path],
    tile: int | None = None,
    ensemble: bool = False,
    unlistable: Sequence[str] = (),
) -> Iterator[Path]:
    """Restore each image, write it, and yield its path; skip bad files and name them at the end.

    By default, large images are cut into tiles. After the device ran out of memory, the tile size that fitted is used
    for all later images.

    Args:
        task: restores.
        outputs: of `plan_outputs`.
        tile: side of the tiles in pixels.
        ensemble: whether eight orientations are averaged.
        unlistable: messages about folders that could not be listed; they are part of the message at the end.

    Raises:
        RunStopped: after the last image, if some files could not be written; at once where the disk is full.
        UserError: after the last image, if some images could not be restored.
    """
    files, unreadable = OutputFiles(), [*unlistable]
    for source, target in outputs.items():
        try:
            photograph = read_photograph(source)
            requested = tile or choose_tile(task, *photograph.pixels.shape[:2])
            restored, fitting = restore_photograph(task, photograph, requested, ensemble)
        except UserError as error:
            unreadable.append(str(error))
        else:
            tile = tile if fitting == requested else fitting
            with files.attempt():
                write_photograph(target, restored)
            files.stop_on_disk_error(len(outputs))
        yield target
    heading = f"{len(unreadable)} of {len(outputs)} images not restored; {files.written} restored:"
    files.check_complete(unreadable, heading)


def restore_photograph(
    task: Restorer, photograph: Photograph, tile: int | None = None, ensemble: bool = False
) -> tuple[Photograph, int | None]:
    """Restore a photograph with its metadata; also return the tile size that fitted into memory.

    Colours are restored without regard to alpha. Alpha is enlarged by bicubic interpolation.
    """
    pixels, fitting = restore_within_memory(task, photograph.pixels, tile, ensemble)
    alpha = photograph.alpha
    if alpha is not None:
        enlarge = Bicubic(task.scale)
        alpha = restore_image(enlarge, alpha, choose_tile(enlarge, *alpha.shape))
    return replace(photograph, pixels=pixels, alpha=alpha), fitting


def _refuse_shards(source: Path) -> None:
    """Refuse shards and URLs, which training reads and `restore` does not."""
    is_far = re.match(r"\w+(::\w+)*:/", source.as_posix()) and not os.path.exists(source)  # Path turns s3:// into s3:/
    is_tar = re.search(r"\.(tar|tgz|tar\.\w+)$", source.name) and not os.path.isdir(source)
    is_packed = os.path.isdir(source) and not has_images(source) and any(source.glob("*.tar"))
    if is_far or is_tar or is_packed:
        raise UserError(
            f"{escape(source)}: restore reads local image files, no shards and no URLs; unpack the "
            "images (tar xf) into a folder and give that folder"
        )


def _plan_folder(source: Path, target: Path, unlistable: list[str] | None) -> dict[Path, Path]:
    if os.path.isfile(target):
        raise UserError(f"{escape(source)} is a folder and {escape(target)} a file; give a folder for the results")
    place = real_path(target)
    if place == real_path(source):
        raise UserError(f"{escape(source)} is both input and output folder; give another folder for the results")
    # Skip an output folder inside the input folder, or the next call would restore the results again.
    inside = real_path(source) in place.parents
    images, skipped = find_images(source, unlistable)
    if skipped:
        log.warning(skipped)
    inputs = [path for path in images if not (inside and place in real_path(path).parents)]
    if not inputs:
        raise UserError(
            f"{escape(source)} holds no images outside the output folder {escape(target)}; there is nothing to restore"
        )
    return {path: target / path.relative_to(source).with_suffix(".png") for path in inputs}


def _plan_file(source: Path, target: Path) -> Path:
    if os.path.isdir(target) or not target.suffix:
        return target / f"{source.stem}.png"
    if target.suffix.lower() != ".png":
        raise UserError(
            f"restored images are PNG files; give {escape(target.with_suffix('.png'))} instead of {escape(target)}"
        )
    return target


def _refuse_overwriting(outputs: Mapping[Path, Path]) -> None:
    sources = {real_path(source): source for source in outputs}
    first: dict[Path, Path] = {}
    for source, target in outputs.items():
        if real_path(target) in sources:
            raise UserError(f"{escape(target)} is an input image and would be overwritten; give another output folder")
        if (other := first.setdefault(target, source)) != source:
            raise UserError(
                f"{escape(other)} and {escape(source)} would both become {escape(target)}; rename one, or restore them "
                "separately"
            )
