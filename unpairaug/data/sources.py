"""Open the image sources of a recipe, such as `data.clean: photos/` and `data.degraded: sample`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from unpairaug.data.cameras import CAMERAS
from unpairaug.data.drawn_camera import find_camera
from unpairaug.data.images import FolderImages, ImageSet, MemoryImages
from unpairaug.data.mixture import MixedImages
from unpairaug.data.remote_images import RemoteImages
from unpairaug.data.sample import Part, sample_images
from unpairaug.data.shards import open_shards
from unpairaug.data.storage import is_url
from unpairaug.errors import UserError, escape
from unpairaug.registry.suggestions import suggest

SAMPLE = "sample"
"""The source name of the photographs in scikit-image; write `./sample` for a folder of that name.

`sample:noise` selects another camera of `CAMERAS`, and `sample:drawn-1` a randomly drawn camera.
"""


Source = str | Mapping[str, float]
"""A folder, shards, `sample`, or several of them with their sampling weights."""


def open_images(source: Source, part: Part, scale: int) -> ImageSet:
    """Open the images of one part of the data.

    Args:
        source: a folder, searched recursively; shards (see `open_shards`); `sample` or `sample:CAMERA`; or a mapping of
            such sources to weights.
        part: selects the set of the sample; other sources ignore it.
        scale: side length of the ground truth divided by that of the degraded image; only the sample needs it.

    Raises:
        UserError: the folder does not exist or holds no image, the camera is unknown, or a shard cannot be read.
    """
    if isinstance(source, Mapping):
        return MixedImages([open_images(one, part, scale) for one in source], list(source.values()))
    if is_sample(source):
        return MemoryImages(source, sample_images(part, scale, _camera(source)))
    return open_shards(source) or (RemoteImages(source) if is_url(source) else FolderImages(source))


def check_output_dir(output_dir: str, sources: Iterable[Source | None]) -> None:
    """Check that a run's folder and its data do not lie in each other.

    A run writes images: in a data folder they would become training images, and deleting a run would delete its data.

    Raises:
        UserError: the output folder is or lies in a data folder, or a data folder lies in it.
    """
    output = Path(output_dir).expanduser().resolve()
    for source in sources:
        for one in source if isinstance(source, Mapping) else [source]:
            if one is None or is_sample(one) or is_url(one):
                continue
            path = Path(one.partition("{")[0]).expanduser().resolve()
            what = f"output_dir {escape(output_dir)} and the data {escape(one)}"
            if output in (path, *path.parents):
                raise UserError(f"{what} are the same folder, or the data lie in it; give another output_dir")
            if path.is_dir() and "{" not in one and path in output.parents:
                raise UserError(
                    f"{what}: the run lies in it, and its images would become data; give another output_dir"
                )


def is_sample(source: object) -> bool:
    """Whether the source is the sample, with any camera."""
    return isinstance(source, str) and source.partition(":")[0] == SAMPLE


def _camera(source: str) -> str:
    camera = source.partition(":")[2] or "lens"
    if find_camera(camera) is None:
        known = [f"{SAMPLE}:{name}" for name in (*CAMERAS, "drawn-1")]
        raise UserError(f"{source!r}: the sample has no such camera; {suggest(source, known)}")
    return camera
