"""A folder of images that any program restored, evaluated in place of a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from unpairaug.data.decode import Array
from unpairaug.data.images import FolderImages, has_images
from unpairaug.data.pairs import abbreviate
from unpairaug.errors import UserError, escape

MODEL_FILES = ("config.json", "head", "recipe.yaml", "metrics.jsonl")
"""Files of a model or run folder, whose images are not results."""


def is_restored_folder(model: str) -> bool:
    """Whether `model` is a folder of images and not a model or run folder."""
    folder = Path(model)
    return (
        os.path.isdir(folder) and not any(os.path.exists(folder / name) for name in MODEL_FILES) and has_images(folder)
    )


class RestoredFolder:
    """Restored images matched with the ground truth by file stem; at scale 4, `0801x4` also matches `0801`."""

    def __init__(self, folder: str, names: Sequence[str], scale: int) -> None:
        """Match the folder's images with the stems of the ground truth.

        Raises:
            UserError: a restored image or a ground truth has no partner.
        """
        self.images = FolderImages(folder)
        index_of = {self.images.stem(i): i for i in range(len(self.images))}
        found = {name: index_of.get(name, index_of.get(f"{name}x{scale}")) for name in names}
        self.places = {name: i for name, i in found.items() if i is not None}
        missing = [name for name in names if name not in self.places]
        alone = [self.images.location(i) for i in index_of.values() if i not in set(self.places.values())]
        if missing or alone:
            problems = [f"no restored image for {abbreviate(missing)}"] if missing else []
            problems += [f"no ground truth for {abbreviate(alone)}"] if alone else []
            raise UserError(
                f"{escape(folder)} holds {len(self.images)} restored images for {len(names)} pairs: "
                f"{'; '.join(problems)}; both must have the same name apart from the extension"
            )

    def __getitem__(self, name: str) -> Array:
        """The restored image for the stem of a ground truth, (H, W, 3) uint8 RGB."""
        return self.images[self.places[name]]
