"""From what a recipe says (`data.clean: photos/`, `data.degraded: sample`) to images."""

from __future__ import annotations

from unpairaug.data.images import FolderImages, ImageSet, MemoryImages
from unpairaug.data.sample import Part, sample_images

SAMPLE = "sample"
"""The word for the photographs that come with scikit-image; a folder of that name is written `./sample`."""


def open_images(source: str, part: Part, scale: int) -> ImageSet:
    """The images of one part of the data, from a folder or from the sample.

    Args:
        source: a folder, searched to any depth, or `sample`.
        part: which of the sample's sets; a folder is read as it is.
        scale: side of a clean image over the side of its degraded twin; the sample is made for it.

    Raises:
        UserError: there is no such folder, it is a file, or it holds no image.
    """
    if source == SAMPLE:
        return MemoryImages(SAMPLE, sample_images(part, scale))
    return FolderImages(source)
