"""From what a recipe says (`data.clean: photos/`, `data.degraded: sample`) to images."""

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
"""The word for the photographs that come with scikit-image; a folder of that name is written `./sample`.

`sample:noise` and the like are the same seen by another camera of `CAMERAS`, `sample:drawn-1` by one drawn at random.
"""


Source = str | Mapping[str, float]
"""A folder, shards, `sample`, or several of them with their weights."""


def open_images(source: Source, part: Part, scale: int) -> ImageSet:
    """The images of one part of the data.

    Args:
        source: a folder, searched to any depth; shards (see `open_shards`); `sample`, `sample:noise` and
            the like; or a mapping of such to weights.
        part: which of the sample's sets; anything else is read as it is.
        scale: side of a clean image over the side of its degraded twin; the sample is made for it.

    Raises:
        UserError: there is no such folder, it is a file, or it holds no image; the sample knows no such camera; or what
            is wrong with a shard.
    """
    if isinstance(source, Mapping):
        return MixedImages([open_images(one, part, scale) for one in source], list(source.values()))
    if is_sample(source):
        return MemoryImages(source, sample_images(part, scale, _camera(source)))
    return open_shards(source) or FolderImages(source)


def is_sample(source: object) -> bool:
    """Whether the source is the sample photographs, whatever their camera."""
    return isinstance(source, str) and source.partition(":")[0] == SAMPLE


def _camera(source: str) -> str:
    camera = source.partition(":")[2] or "lens"
    if find_camera(camera) is None:
        known = [f"{SAMPLE}:{name}" for name in (*CAMERAS, "drawn-1")]
        raise UserError(f"{source!r}: the sample photographs were seen by no such camera; {suggest(source, known)}")
    return camera
