"""One image to its sub-images: where they lie, which are too flat to learn from, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unpairaug.data.decode import Array
from unpairaug.errors import UserError


class Window(NamedTuple):
    """A sub-image of an upright image, in its pixels."""

    row: int
    """Place in the grid of windows, from 0."""
    column: int
    left: int
    top: int
    right: int
    bottom: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom), the latter two exclusive."""
        return self[2:]


@dataclass(frozen=True)
class Cut:
    """How images are cut."""

    size: int | None = None
    """Side of a sub-image in pixels; None leaves images whole."""
    stride: int | None = None
    """Pixels from one sub-image to the next."""
    min_detail: float = 0.0
    """Outputs of less `measure_detail` are left out."""

    @classmethod
    def from_options(cls, size: int | None, stride: int | None, scale: int, min_detail: float) -> Cut:
        """The cut that the options ask for: size and stride in clean pixels, both divided by the scale.

        Raises:
            UserError: there is a stride or scale without a size, the scale divides them not, or pixels would be lost.
        """
        if size is None:
            if stride is not None or scale != 1:
                raise UserError("--stride and --scale say how sub-images are cut; give their --size too, such as 480")
            return cls(min_detail=min_detail)
        stride = stride or max(size // 2 // scale, 1) * scale
        if stride > size:
            raise UserError(
                f"--stride {stride} is larger than --size {size}, so the pixels between sub-images would be lost; "
                f"give a stride of {size} or less"
            )
        for name, value in (("size", size), ("stride", stride)):
            if value % scale:
                good = max(round(value / scale), 1) * scale
                raise UserError(f"--{name} {value} is not divisible by --scale {scale}; try {good}")
        return cls(size // scale, stride // scale, min_detail)

    def windows(self, width: int, height: int) -> Iterator[Window]:
        """The sub-images of an image, row by row; the image itself where it is to stay whole.

        The last of a row or column lies flush with the border, so every pixel is in one; a side shorter than `size` is
        taken whole.
        """
        for row, (top, bottom) in enumerate(self._spans(height)):
            for column, (left, right) in enumerate(self._spans(width)):
                yield Window(row, column, left, top, right, bottom)

    def _spans(self, length: int) -> list[tuple[int, int]]:
        if self.size is None or length <= self.size:
            return [(0, length)]
        last = length - self.size
        starts = [*range(0, last, self.stride or self.size), last]
        return [(start, start + self.size) for start in starts]

    def suffix(self, window: Window) -> str:
        """What a sub-image adds to the key of its image; the same for the twins of a pair, each cut at its scale."""
        return "" if self.size is None else f"_r{window.row:02}c{window.column:02}"


def measure_detail(image: Array) -> float:
    """The standard deviation of the Laplacian (4 neighbours) of the grey image, in steps of 8 bits.

    Of 480-pixel parts of 73 free photographs, 1 in 100 has less than 2.6, 1 in 10 less than 6.7, half more than 21.
    """
    import cv2

    return float(np.std(cv2.Laplacian(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), cv2.CV_32F)))
