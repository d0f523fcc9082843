"""Restores image files and folders into PNG files, with alpha, colour profile and EXIF of the input."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from unpairaug.data.images import has_images, list_images
from unpairaug.data.photograph import Photograph, read_photograph, write_photograph
from unpairaug.errors import UserError, escape
from unpairaug.restoring.restore import Bicubic, Restorer, choose_tile, restore_image, restore_within_memory


def plan_outputs(source: Path, target: Path) -> dict[Path, Path]:
    """Map each image of `source`, a file or a folder, to the path of its restored PNG.

    `target` keeps the folder structure of `source`. For a single image, `target` may be the PNG file itself.

    Raises:
        UserError: `source` holds no image, an output would overwrite an input, or two outputs have the same path.
    """
    _refuse_shards(source)
    if not source.exists():
        raise UserError(f"there is no file or folder {source}; give an image or a folder of images to restore")
    outputs = _plan_folder(source, target) if source.is_dir() else {source: _plan_file(source, target)}
    _refuse_overwriting(outputs)
    return outputs


def restore_files(
    task: Restorer, outputs: Mapping[Path, Path], tile: int | None = None, ensemble: bool = False
) -> Iterator[Path]:
    """Restore each image, write it, and yield its path; skip unreadable images and name them at the end.

    By default, large images are cut into tiles. After the device ran out of memory, the tile size that fitted is used
    for all later images.

    Raises:
        UserError: after the last image, if some images could not be restored.
    """
    failures: list[str] = []
    for source, target in outputs.items():
        try:
            photograph = read_photograph(source)
            requested = tile or choose_tile(task, *photograph.pixels.shape[:2])
            restored, fitting = restore_photograph(task, photograph, requested, ensemble)
        except UserError as error:
            failures.append(str(error))
        else:
            tile = tile if fitting == requested else fitting
            write_photograph(target, restored)
        yield target
    if failures:
        raise UserError(f"{len(failures)} of {len(outputs)} images not restored:\n" + "\n".join(failures))


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
    is_far = re.match(r"\w+(::\w+)*:/", source.as_posix()) and not source.exists()  # pathlib makes s3:/ of s3://
    is_tar = re.search(r"\.(tar|tgz|tar\.\w+)$", source.name) and not source.is_dir()
    is_packed = source.is_dir() and not has_images(source) and any(source.glob("*.tar"))
    if is_far or is_tar or is_packed:
        raise UserError(
            f"{escape(source)}: restore reads local image files, no shards and no URLs; unpack the "
            "images (tar xf) into a folder and give that folder"
        )


def _plan_folder(source: Path, target: Path) -> dict[Path, Path]:
    if target.is_file():
        raise UserError(f"{source} is a folder and {target} a file; give a folder for the results")
    place = target.resolve()
    if place == source.resolve():
        raise UserError(f"{source} is both input and output folder; give another folder for the results")
    # Skip an output folder inside the input folder, or the next call would restore the results again.
    inside = source.resolve() in place.parents
    inputs = [path for path in list_images(source) if not (inside and place in path.resolve().parents)]
    if not inputs:
        raise UserError(f"{source} holds no images outside the output folder {target}; there is nothing to restore")
    return {path: target / path.relative_to(source).with_suffix(".png") for path in inputs}


def _plan_file(source: Path, target: Path) -> Path:
    if target.is_dir() or not target.suffix:
        return target / f"{source.stem}.png"
    if target.suffix.lower() != ".png":
        raise UserError(f"restored images are PNG files; give {target.with_suffix('.png')} instead of {target}")
    return target


def _refuse_overwriting(outputs: Mapping[Path, Path]) -> None:
    sources = {source.resolve(): source for source in outputs}
    first: dict[Path, Path] = {}
    for source, target in outputs.items():
        if target.resolve() in sources:
            raise UserError(f"{target} is an input image and would be overwritten; give another output folder")
        if (other := first.setdefault(target, source)) != source:
            raise UserError(f"{other} and {source} would both become {target}; rename one, or restore them separately")
