"""Image files and folders of them through a trained head, into PNG files that keep what the images had."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from unpairaug.data.images import has_images, list_images
from unpairaug.data.photograph import Photograph, read_photograph, write_photograph
from unpairaug.errors import UserError, escape
from unpairaug.restoring.restore import Bicubic, Restorer, automatic_tile, restore_image, restore_within_memory


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


def restore_files(
    task: Restorer, outputs: Mapping[Path, Path], tile: int | None = None, ensemble: bool = False
) -> Iterator[Path]:
    """Restore each image into its PNG and yield that; what cannot be read is left out and named at the end.

    By default, images are cut into tiles where they are large. Once the memory did not suffice, later images are cut
    into tiles no larger than what did.

    Raises:
        UserError: after the last image, if some could not be restored.
    """
    failures: list[str] = []
    for source, target in outputs.items():
        try:
            photograph = read_photograph(source)
            wanted = tile or automatic_tile(task, *photograph.pixels.shape[:2])
            restored, fitting = restore_photograph(task, photograph, wanted, ensemble)
        except UserError as error:
            failures.append(str(error))
        else:
            tile = tile if fitting == wanted else fitting
            write_photograph(target, restored)
        yield target
    if failures:
        raise UserError(f"{len(failures)} of {len(outputs)} images not restored:\n" + "\n".join(failures))


def restore_photograph(
    task: Restorer, photograph: Photograph, tile: int | None = None, ensemble: bool = False
) -> tuple[Photograph, int | None]:
    """The restored photograph with all else that it had, and the tile with which the memory sufficed.

    Colours are restored as they are, also where they are transparent; alpha is enlarged bicubically.
    """
    pixels, fitting = restore_within_memory(task, photograph.pixels, tile, ensemble)
    alpha = photograph.alpha
    if alpha is not None:
        enlarge = Bicubic(task.scale)
        alpha = restore_image(enlarge, alpha, automatic_tile(enlarge, *alpha.shape))
    return replace(photograph, pixels=pixels, alpha=alpha), fitting


def _refuse_shards(source: Path) -> None:
    """Say what is read here to whoever gives what training reads."""
    is_far = re.match(r"\w+(::\w+)*:/", source.as_posix()) and not source.exists()  # pathlib makes s3:/ of s3://
    is_tar = re.search(r"\.(tar|tgz|tar\.\w+)$", source.name) and not source.is_dir()
    is_packed = source.is_dir() and not has_images(source) and any(source.glob("*.tar"))
    if is_far or is_tar or is_packed:
        raise UserError(
            f"{escape(source)}: restore reads image files of this machine, and no shards or addresses; unpack the "
            "images (tar xf) into a folder and give that"
        )


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
