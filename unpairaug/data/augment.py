"""Crops, flips and turns through albumentations, each from the random numbers of its own sample."""

from __future__ import annotations

import os
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from unpairaug.data.images import Array, too_small
from unpairaug.errors import UserError


class Draws:
    """The random numbers of one sample, in the two forms that albumentations wants."""

    def __init__(self, seed: int, stream: int, purpose: int, k: int) -> None:
        self.numpy = np.random.default_rng([seed, stream, purpose, k])
        self.python = random.Random(int(self.numpy.integers(2**63)))


class Augment(ABC):
    """An albumentations transform that takes its random numbers from the sample, not from itself.

    Its own seeding will not do: `Compose.set_random_seed` gives each of its transforms a generator of the same seed, so
    that all of them flip together (2.0.8); a state set from outside is shared. The transform is made at first use and
    never pickled, so that a loader worker makes its own.
    """

    drawn: dict[str, Any]
    """What was drawn last."""

    @abstractmethod
    def make(self, albumentations: Any) -> Any:
        """The transform, from the module that was imported late."""

    @cached_property
    def transform(self) -> Any:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network for a newer version
        import albumentations

        return self.make(albumentations)

    def apply(self, image: Array, draws: Draws) -> Array:
        """The image transformed: often a view of it, which its batch copies once.

        A transform that is always applied is taken in its two halves, draw and apply; calling it as a whole would copy
        the pixels before and after, which takes longer than all the rest.
        """
        transform = self.transform
        transform.set_random_state(draws.numpy, draws.python)
        if not hasattr(transform, "get_params"):  # a composition
            return transform(image=image)["image"]
        data = {"image": image}
        self.drawn = transform.update_transform_params(transform.get_params(), data)
        self.drawn.update(transform.get_params_dependent_on_data(self.drawn, data))
        return transform.apply(image, **self.drawn)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "transform"}


class Window(Augment):
    """A square window at a random place."""

    def __init__(self, side: int) -> None:
        self.side = side

    def make(self, albumentations: Any) -> Any:
        return albumentations.RandomCrop(self.side, self.side)

    def __call__(self, image: Array, draws: Draws, where: Callable[[int], str], i: int) -> Array:
        if min(image.shape[:2]) < self.side:
            problem = too_small(image.shape[1], image.shape[0], self.side, where(i))
            raise UserError(f"{problem}; give a smaller data.crop or remove the image")
        return self.apply(image, draws)

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the last window."""
        return self.drawn["crop_coords"]


class Turns(Augment):
    """Flips and quarter turns; without either, the image as it is."""

    def __init__(self, flip: bool, rotate: bool) -> None:
        self.flip, self.rotate = flip, rotate

    def make(self, albumentations: Any) -> Any:
        if self.flip and self.rotate:
            return albumentations.D4(p=1)  # all eight symmetries of the square, in one pass over the pixels
        if self.rotate:
            return albumentations.RandomRotate90(p=1)
        return albumentations.Compose([albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)])

    def __call__(self, image: Array, draws: Draws) -> Array:
        return self.apply(image, draws) if self.flip or self.rotate else image


def copy_turned(image: Array, out: Array) -> None:
    """Copy an image (H, W, 3), often a flipped or turned view of a larger one, into `out` of the same shape.

    NumPy copies such a view byte by byte: 1.3 ms for 192 pixels, a third of what decoding the JPEG takes; OpenCV's flip
    and transpose, in the order in which the pixels lie, take a tenth of that.
    """
    import cv2

    swapped = abs(image.strides[0]) < abs(image.strides[1])
    pixels = image.swapaxes(0, 1) if swapped else image
    upside_down, mirrored = pixels.strides[0] < 0, pixels.strides[1] < 0
    pixels = pixels[:: -1 if upside_down else 1, :: -1 if mirrored else 1]  # as they lie in memory
    if upside_down or mirrored:
        pixels = cv2.flip(pixels, -1 if upside_down and mirrored else int(mirrored))
    if swapped:
        cv2.transpose(pixels, out)
    else:
        out[...] = pixels
