"""Restores image files and folders into PNG files, with alpha, colour profile and EXIF of the input."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from unpairaug.augment import MixedPrecision
from unpairaug.data.files import WriteError, real_path
from unpairaug.data.images import EXTENSIONS, find_images, has_images
from unpairaug.data.output_files import OutputFiles
from unpairaug.data.photograph import Photograph, read_photograph, write_photograph
from unpairaug.data.remote_images import find_remote_images
from unpairaug.data.remote_output import RemoteOutput
from unpairaug.data.storage import is_url, strip_query
from unpairaug.errors import UserError, escape
from unpairaug.restoring.precision import cast_to, check_precision
from unpairaug.restoring.restart import CompleteFiles
from unpairaug.restoring.restore import (
    Bicubic,
    Restorer,
    choose_tile,
    load_model,
    restore_image,
    restore_within_memory,
)

log = logging.getLogger("unpairaug")


def plan_outputs(source: Path | str, target: Path, unlistable: list[str] | None = None) -> dict[Path | str, Path]:
    """Map each image of `source`, a file or a folder or the URL of one, to the path of its restored PNG.

    `target` keeps the folder structure of `source`. For a single image, `target` may be the PNG file itself.

    Args:
        unlistable: see `find_images`.

    Raises:
        UserError: `source` holds no image, an output would overwrite an input, or two outputs have the same path.
    """
    if is_url(str(source)):
        return _plan_remote(str(source), target)
    source = Path(source)
    _refuse_shards(source)
    if not os.path.exists(source):
        raise UserError(f"there is no file or folder {escape(source)}; give an image or a folder of images to restore")
    outputs: dict[Path | str, Path] = {source: _plan_file(source, target)} if not os.path.isdir(source) else {}
    outputs = outputs or _plan_folder(source, target, unlistable)
    _refuse_overwriting(outputs)
    return outputs


@dataclass
class RestoredFile:
    """What became of an image."""

    source: Path | str
    """A path, or a URL."""
    target: Path
    bytes: int = -1
    """Size of the result."""
    unreadable: str = ""
    """Why it could not be restored."""
    unwritten: str = ""
    """Why the result could not be written."""
    is_of_disk: bool = False
    """Whether the disk is at fault, so that no further file can be written either."""


class FileRestorer:
    """Restores one image file after another.

    By default, large images are cut into tiles. After the device ran out of memory, the tile size that fitted is used
    for all later images.
    """

    def __init__(
        self,
        task: Restorer,
        tile: int | None = None,
        ensemble: bool = False,
        remote: RemoteOutput | None = None,
        mixed_precision: MixedPrecision = "no",
    ) -> None:
        self.task, self.tile, self.ensemble, self.remote = task, tile, ensemble, remote
        self.mixed_precision: MixedPrecision = mixed_precision
        self.is_checked = False
        """Whether the precision has been compared with full precision, on the first image."""

    def __call__(self, paths: tuple[Path | str, Path]) -> RestoredFile:
        """Restore the first path into the second."""
        result = RestoredFile(*paths)
        try:
            photograph = read_photograph(result.source)
            requested = self.tile or choose_tile(self.task, *photograph.pixels.shape[:2])
            if not self.is_checked:
                check_precision(self.mixed_precision, self.task, photograph.pixels)
                self.is_checked = True
            with cast_to(self.mixed_precision, self.task):
                restored, fitting = restore_photograph(self.task, photograph, requested, self.ensemble)
            self.tile = self.tile if fitting == requested else fitting
            write_photograph(result.target, restored)
            result.bytes = result.target.stat().st_size
            if self.remote:
                self.remote.push([{"file": result.target.relative_to(self.remote.folder).as_posix()}])
        except UserError as error:
            result.unreadable = str(error)
        except WriteError as error:
            result.unwritten, result.is_of_disk = str(error), error.is_of_disk
        return result


@dataclass(frozen=True)
class MakeRestorer:
    """Creates the worker of a process."""

    model: str
    scale: int | None = None
    tile: int | None = None
    ensemble: bool = False
    trust_code: bool = False
    remote: RemoteOutput | None = None
    """Where complete files are moved."""
    mixed_precision: MixedPrecision = "no"

    def __call__(self, device: str | None) -> FileRestorer:
        """Load the model, by default onto the accelerator of this machine."""
        task = load_model(self.model, self.scale, device, trust_code=self.trust_code)
        return FileRestorer(task, self.tile, self.ensemble, self.remote, self.mixed_precision)


def restore_files(
    task: Restorer,
    outputs: Mapping[Path | str, Path],
    tile: int | None = None,
    ensemble: bool = False,
    unlistable: Sequence[str] = (),
) -> Iterator[Path]:
    """Restore each image, write it, and yield its path; skip bad files and name them at the end.

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
    results = map(FileRestorer(task, tile, ensemble), outputs.items())
    return collect_results(results, len(outputs), unlistable=unlistable)


def collect_results(
    results: Iterable[RestoredFile],
    total: int,
    complete: CompleteFiles | None = None,
    unlistable: Sequence[str] = (),
) -> Iterator[Path]:
    """Yield the path of each result; name the files that failed at the end.

    Args:
        results: the results of `FileRestorer`.
        total: their number.
        complete: where complete files are recorded.
        unlistable: messages about folders that could not be listed.

    Raises:
        RunStopped: after the last image, if some files could not be written; at once where the disk is full.
        UserError: after the last image, if some images could not be restored.
    """
    files, unreadable = OutputFiles(), [*unlistable]
    for result in results:
        if result.unreadable:
            unreadable.append(result.unreadable)
        elif result.unwritten:
            files.errors.append(result.unwritten)
            files.disk_error = WriteError(result.unwritten) if result.is_of_disk else None
        else:
            files.written += 1
            if complete is not None:
                complete.add(result.source, result.target, result.bytes)
        files.stop_on_disk_error(total)
        yield result.target
    heading = f"{len(unreadable)} of {total} images not restored; {files.written} restored:"
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


def _plan_remote(source: str, target: Path) -> dict[Path | str, Path]:
    name = strip_query(source).rpartition("/")[2]
    if name.lower().endswith(EXTENSIONS):
        return {source: _plan_file(Path(name), target)}
    if name.endswith(".tar"):
        _refuse_shards(Path(name))
    sizes, skipped = find_remote_images(source)
    if skipped:
        log.warning(skipped)
    outputs: dict[Path | str, Path] = {
        f"{source.rstrip('/')}/{name}": target / PurePosixPath(name).with_suffix(".png") for name in sizes
    }
    _refuse_overwriting(outputs)
    return outputs


def _refuse_shards(source: Path) -> None:
    """Refuse shards, which training reads and `restore` does not."""
    is_tar = re.search(r"\.(tar|tgz|tar\.\w+)$", source.name) and not os.path.isdir(source)
    is_packed = os.path.isdir(source) and not has_images(source) and any(source.glob("*.tar"))
    if is_tar or is_packed:
        raise UserError(
            f"{escape(source)}: restore reads image files and no shards; unpack the images (tar xf) into a folder and "
            "give that folder"
        )


def _plan_folder(source: Path, target: Path, unlistable: list[str] | None) -> dict[Path | str, Path]:
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


def _refuse_overwriting(outputs: Mapping[Path | str, Path]) -> None:
    sources = {real_path(source): source for source in outputs if isinstance(source, Path)}
    first: dict[Path, Path | str] = {}
    for source, target in outputs.items():
        if real_path(target) in sources:
            raise UserError(f"{escape(target)} is an input image and would be overwritten; give another output folder")
        if (other := first.setdefault(target, source)) != source:
            raise UserError(
                f"{escape(other)} and {escape(source)} would both become {escape(target)}; rename one, or restore them "
                "separately"
            )
