"""Sub-images of an image: their windows, names, and detail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unpairaug.data.decode import Array
from unpairaug.errors import UserError


class Window(NamedTuple):
    """A window of an upright image, in pixels."""

    row: int
    """Row in the grid of windows, from 0."""
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
    """The rule by which images are cut."""

    size: int | None = None
    """Side of a sub-image in pixels; None keeps images whole."""
    stride: int | None = None
    """Pixels from one sub-image to the next."""
    min_detail: float = 0.0
    """Outputs with less detail (see `measure_detail`) are skipped."""

    @classmethod
    def from_options(cls, size: int | None, stride: int | None, scale: int, min_detail: float) -> Cut:
        """Create the rule from the options; size and stride are in clean pixels, and are divided by the scale.

        Raises:
            UserError: stride or scale are given without a size, are not divisible by the scale, or skip pixels.
        """
        if size is None:
            if stride is not None or scale != 1:
                raise UserError("--stride and --scale need a --size, such as 480")
            return cls(min_detail=min_detail)
        stride = stride or max(size // 2 // scale, 1) * scale
        if stride > size:
            raise UserError(
                f"--stride {stride} is larger than --size {size}, which skips the pixels between sub-images; "
                f"give a stride of {size} or less"
            )
        for name, value in (("size", size), ("stride", stride)):
            if value % scale:
                good = max(round(value / scale), 1) * scale
                raise UserError(f"--{name} {value} is not divisible by --scale {scale}; try {good}")
        return cls(size // scale, stride // scale, min_detail)

    def windows(self, width: int, height: int) -> Iterator[Window]:
        """The windows of an image, row by row; one window of the whole image without `size`.

        The last window of a row or column is aligned with the border, so every pixel is covered. A side shorter than
        `size` is not cut.
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
        """The suffix of a sub-image's key; equal for the two images of a pair, each cut at its scale."""
        return "" if self.size is None else f"_r{window.row:02}c{window.column:02}"


def measure_detail(image: Array) -> float:
    """Standard deviation of the Laplacian (4 neighbours) of the grey image (H, W, 3), in 8-bit steps.

    Of 480-pixel parts of 73 free photographs, 1 in 100 has less than 2.6, 1 in 10 less than 6.7, half more than 21.
    """
    import cv2

    return float(np.std(cv2.Laplacian(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), cv2.CV_32F)))
