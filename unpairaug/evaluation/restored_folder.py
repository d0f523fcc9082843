"""Images that any program has restored, in the place of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unpairaug.data.decode import Array
from unpairaug.data.images import FolderImages, has_images
from unpairaug.data.pairs import some
from unpairaug.errors import UserError, escape

MODEL_FILES = ("config.json", "head", "recipe.yaml", "metrics.jsonl")
"""What a folder of a model or of a run has: its pictures are no results."""


def is_restored_folder(model: str) -> bool:
    """Whether it is a folder of images, and of no model."""
    folder = Path(model)
    return folder.is_dir() and not any((folder / name).exists() for name in MODEL_FILES) and has_images(folder)


class RestoredFolder:
    """A restored image for each clean one, by file stem; `0801x4` is understood as that of `0801` at scale 4, too."""

    def __init__(self, folder: str, names: Sequence[str], scale: int) -> None:
        """Match the folder's images with the stems of the clean ones.

        Raises:
            UserError: an image of either side has no twin on the other.
        """
        self.images = FolderImages(folder)
        at = {self.images.stem(i): i for i in range(len(self.images))}
        found = {name: at.get(name, at.get(f"{name}x{scale}")) for name in names}
        self.places = {name: i for name, i in found.items() if i is not None}
        missing = [name for name in names if name not in self.places]
        alone = [self.images.where(i) for i in at.values() if i not in set(self.places.values())]
        if missing or alone:
            lacks = [f"no restored image is there for {some(missing)}"] if missing else []
            lacks += [f"no clean one for {some(alone)}"] if alone else []
            raise UserError(
                f"{escape(folder)} holds {len(self.images)} restored images, and there are {len(names)} pairs: "
                f"{'; '.join(lacks)}; twins have the same name apart from the extension"
            )

    def __getitem__(self, name: str) -> Array:
        """The restored image of a clean one's stem, (H, W, 3) RGB in 8 bits."""
        return self.images[self.places[name]]
