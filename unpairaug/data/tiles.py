"""Tiling of large images: input windows of a network, and how its outputs are stitched to one image.

All positions are whole pixels of the network's input image; the output is `scale` times as large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""(H, W) or (H, W, C)."""


class Box(NamedTuple):
    """A window of an image in pixels: rows `top` to `bottom`, columns `left` to `right`, both ends exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an (H, W, ...) array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, other: Box) -> Box:
        """The same window relative to the first pixel of another."""
        return Box(self.top - other.top, self.left - other.left, self.bottom - other.top, self.right - other.left)

    def times(self, scale: int | Fraction) -> Box:
        """The same window of the image scaled by `scale`."""
        return Box(*(int(edge * scale) for edge in self))


class Span(NamedTuple):
    """A tile along one axis; each field is (start, stop) in pixels."""

    seen: tuple[int, int]
    """Input of the network."""
    blended: tuple[int, int]
    """Output with a weight above 0: the tile and its overlap with the neighbours."""
    kept: tuple[int, int]
    """The tile itself; all tiles together cover the image without gap or overlap."""

    def weights(self, scale: int | Fraction = 1) -> NDArray[np.float32]:
        """Blending weight of each output pixel along `blended`: 1, falling linearly to 0 across an overlap."""
        start, stop = (int(edge * scale) for edge in self.blended)
        middle = np.arange(start, stop, dtype=np.float64) + 0.5
        weights = np.ones_like(middle)
        for inner, outer in zip(self.kept, self.blended, strict=True):
            if inner != outer:
                weights *= ((middle - outer * float(scale)) / (2 * (inner - outer) * float(scale))).clip(0, 1)
        return weights.astype(np.float32)


class Tile(NamedTuple):
    """One tile of an image."""

    seen: Box
    """Input of the network."""
    kept: Box
    """Output that is used; all tiles together cover the image without gap or overlap."""


def split_into_tiles(height: int, width: int, side: int, margin: int, step: int = 1) -> Iterator[Tile]:
    """Yield the tiles of an image of (height, width), row by row.

    Args:
        side: longest side of a tile without its margin; the tiles of an image have about the same size.
        margin: context in pixels on each side of a tile, as far as the image reaches.
        step: windows begin and end at multiples of it, or at the image's edge, as strided and windowed networks need.
            It rounds margins up, and no tile is smaller than `step`.
    """
    for row, column in product(split_axis(height, side, margin, step=step), split_axis(width, side, margin, step=step)):
        yield Tile(_box(row.seen, column.seen), _box(row.kept, column.kept))


def split_axis(length: int, side: int, margin: int, overlap: int = 0, step: int = 1) -> list[Span]:
    """The tiles along one axis; arguments as in `split_into_tiles` and `stitch`."""
    assert length > 0 and side > 0 and step > 0 and margin >= 0 and overlap >= 0, (length, side, margin, overlap, step)
    cells = -(-length // step)
    count = -(-cells // max(side // step, 1))
    edges = [min(cells * i // count * step, length) for i in range(count + 1)]
    kept = list(pairwise(edges))
    reach = min(overlap, min(stop - start for start, stop in kept) // 2) // step * step  # so at most two tiles overlap
    axis = []
    for start, stop in kept:
        blended = max(start - reach, 0), min(stop + reach, length)
        first = max(blended[0] - margin, 0) // step * step
        last = min(-(-(blended[1] + margin) // step) * step, length)
        axis.append(Span((first, last), blended, (start, stop)))
    return axis


def stitch(
    size: tuple[int, int],
    make: Callable[[Box], Pixels],
    side: int,
    margin: int,
    overlap: int = 0,
    step: int = 1,
    scale: int | Fraction = 1,
) -> Iterator[NDArray[np.float32]]:
    """Apply `make` to an image of `size` (height, width) tile by tile; yield strips of full width, top to bottom.

    Only one strip of about `side` rows is in memory at a time.

    Args:
        make: returns the output (h * scale, w * scale[, C]) for an input window of (h, w).
        side: as in `split_into_tiles`, likewise `margin` and `step`.
        overlap: pixels on each side of a tile border over which neighbours are blended linearly: a multiple of `step`,
            at most half a tile, added to the margin. 0 places tiles side by side.
        scale: output size over input size; below 1, its denominator divides `step` and both sides.
    """
    columns = split_axis(size[1], side, margin, overlap, step)
    rows = split_axis(size[0], side, margin, overlap, step)
    strip: Pixels | None = None
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        strip = _blend(row, columns, make, scale, carried=strip)
        start, stop = (int(edge * scale) for edge in row.blended)
        done = (int(following.blended[0] * scale) if following else stop) - start
        yield strip[:done]
        strip = strip[done:]


def _blend(
    row: Span, columns: list[Span], make: Callable[[Box], Pixels], scale: int | Fraction, carried: Pixels | None
) -> NDArray[np.float32]:
    """Weighted sum of one row of tiles; `carried` is the overlap from the row above, added to the first rows."""
    down = row.weights(scale)
    width = int(columns[-1].blended[1] * scale)
    strip: Pixels | None = None
    for column in columns:
        seen, blended = _box(row.seen, column.seen), _box(row.blended, column.blended)
        output = make(seen)
        if strip is None:
            strip = np.zeros((len(down), width, *output.shape[2:]), np.float32)
        part = output[blended.within(seen).times(scale).slices]
        weights = (down[:, None] * column.weights(scale)).reshape(*part.shape[:2], *(1 for _ in part.shape[2:]))
        strip[:, slice(*(int(edge * scale) for edge in column.blended))] += part * weights
    assert strip is not None
    if carried is not None:
        strip[: len(carried)] += carried
    return strip


def _box(row: tuple[int, int], column: tuple[int, int]) -> Box:
    return Box(row[0], column[0], row[1], column[1])
