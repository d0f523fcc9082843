"""Open the image sources of a recipe, such as `data.clean: photos/` and `data.degraded: sample`."""

from __future__ import annotations

from collections.abc import Mapping

from unpairaug.data.cameras import CAMERAS
from unpairaug.data.drawn_camera import find_camera
from unpairaug.data.images import FolderImages, ImageSet, MemoryImages
from unpairaug.data.mixture import MixedImages
from unpairaug.data.sample import Part, sample_images
from unpairaug.data.shards import open_shards
from unpairaug.errors import UserError
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
    return open_shards(source) or FolderImages(source)


def is_sample(source: object) -> bool:
    """Whether the source is the sample, with any camera."""
    return isinstance(source, str) and source.partition(":")[0] == SAMPLE


def _camera(source: str) -> str:
    camera = source.partition(":")[2] or "lens"
    if find_camera(camera) is None:
        known = [f"{SAMPLE}:{name}" for name in (*CAMERAS, "drawn-1")]
        raise UserError(f"{source!r}: the sample has no such camera; {suggest(source, known)}")
    return camera
