"""From folders of photographs to two endless, unpaired, exactly reproducible streams of crops.

What a trainer does with it::

    clean = open_images(source, "clean", scale)          # a folder, or "sample"; likewise each other part
    report = preflight(clean, degraded, scale=scale, crop=crop, val_clean=…)    # from unpairaug.data.preflight
    crops = UnpairedCrops(clean, degraded, crop=crop, scale=scale, seed=seed)
    batches = StepBatches(start, stop, batch_size, accumulation, rank, processes)
    for batch in loader(crops, batches, num_workers):    # UnpairedBatch(clean, degraded, index)
        …
    for name, clean_image, degraded_image in ValidationPairs(val_clean, val_degraded, scale):
        …

The names below are imported at first use, so that reading an image does not import torch. (`preflight` is imported
from its module, which has the same name.)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unpairaug.data.images import FolderImages, ImageSet, MemoryImages, list_images, read_image, write_image
    from unpairaug.data.pairs import ImagePair, ValidationPairs
    from unpairaug.data.preflight import DataReport, SetReport
    from unpairaug.data.sources import open_images
    from unpairaug.data.streams import StepBatches, UnpairedBatch, UnpairedCrops, loader

__all__ = [
    "DataReport",
    "FolderImages",
    "ImagePair",
    "ImageSet",
    "MemoryImages",
    "SetReport",
    "StepBatches",
    "UnpairedBatch",
    "UnpairedCrops",
    "ValidationPairs",
    "list_images",
    "loader",
    "open_images",
    "read_image",
    "write_image",
]

_HOMES = {
    "images": ("FolderImages", "ImageSet", "MemoryImages", "list_images", "read_image", "write_image"),
    "pairs": ("ImagePair", "ValidationPairs"),
    "preflight": ("DataReport", "SetReport"),
    "sources": ("open_images",),
    "streams": ("StepBatches", "UnpairedBatch", "UnpairedCrops", "loader"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            globals()[name] = value = getattr(import_module(f"unpairaug.data.{module}"), name)
            return value
    raise AttributeError(f"module 'unpairaug.data' has no attribute {name!r}; public names: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
