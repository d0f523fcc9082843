"""Several image sets as one, each with a sampling weight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from unpairaug.data.decode import Array, Place
from unpairaug.data.image_cache import Identity
from unpairaug.data.images import ImageSet


class MixedImages(ImageSet):
    """The images of several sets, concatenated; `order.MixedOrder` applies the weights."""

    def __init__(self, sets: Sequence[ImageSet], weights: Sequence[float]) -> None:
        """Concatenate the sets.

        Args:
            sets: at least one.
            weights: relative sampling frequencies, above 0.
        """
        assert len(sets) == len(weights) and min(weights) > 0, "a positive weight for every set"
        self.sets, self.weights = sets, weights
        self.source = " + ".join(images.source for images in sets)
        self.names = _NameSequence(self)
        self.remarks = list(chain.from_iterable(images.remarks for images in sets))
        self._ends = np.cumsum([len(images) for images in sets])

    def __getitem__(self, i: int) -> Array:
        images, i = self.locate(i)
        return images[i]

    def read_window(self, i: int, place: Place) -> Array:
        images, i = self.locate(i)
        return images.read_window(i, place)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def locate(self, i: int) -> tuple[ImageSet, int]:
        """The set that holds image `i`, and its index in that set."""
        at = int(np.searchsorted(self._ends, i, side="right"))
        if not 0 <= i < len(self):
            raise IndexError(i)
        return self.sets[at], i - int(self._ends[at]) + len(self.sets[at])

    def read_bytes(self, i: int) -> bytes:
        images, i = self.locate(i)
        return images.read_bytes(i)

    def prefetch(self, wanted: Iterable[int]) -> None:
        members = [self.locate(i) for i in wanted]
        for images in self.sets:
            images.prefetch([i for owner, i in members if owner is images])

    def reserve_indexes(self, shards: int) -> None:
        for images in self.sets:
            images.reserve_indexes(shards)

    def identity(self, i: int) -> Identity | None:
        images, i = self.locate(i)
        return images.identity(i)

    def indexed_size(self, i: int) -> tuple[int, int] | None:
        images, i = self.locate(i)
        return images.indexed_size(i)

    def location(self, i: int) -> str:
        images, i = self.locate(i)
        return images.location(i)

    def stem(self, i: int) -> str:
        images, i = self.locate(i)
        return images.stem(i)


class _NameSequence(Sequence[str]):
    def __init__(self, images: MixedImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> str:  # type: ignore[override]  # no slices
        return self.images.location(i)
