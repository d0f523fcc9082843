"""A large image in tiles: which windows a network is given, what is kept of each result, and how they become one image.

All positions are whole pixels of the image that is given to the network; a result is `scale` times as large.
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
    """A window of an image, in pixels: rows `top` to `bottom`, columns `left` to `right`, without the last ones."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an (H, W, ...) array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, other: Box) -> Box:
        """The same window, counted from the first pixel of another."""
        return Box(self.top - other.top, self.left - other.left, self.bottom - other.top, self.right - other.left)

    def times(self, scale: int | Fraction) -> Box:
        """The same window of an image enlarged or made smaller."""
        return Box(*(int(edge * scale) for edge in self))


class Span(NamedTuple):
    """A tile along one axis, each a (first, behind the last) pixel."""

    seen: tuple[int, int]
    """What the network is given."""
    blended: tuple[int, int]
    """Where the result counts: all that is kept, and what fades into the neighbours."""
    kept: tuple[int, int]
    """The tile itself: those of all tiles make up the image, without gap or overlap."""

    def weights(self, scale: int | Fraction = 1) -> NDArray[np.float32]:
        """What each pixel of the result counts along `blended`: 1, or on a straight line to 0 across an overlap."""
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
    """What the network is given."""
    kept: Box
    """What is taken of its result where tiles are laid side by side; those of all tiles make up the image."""


def tiles(height: int, width: int, side: int, margin: int, step: int = 1) -> Iterator[Tile]:
    """The tiles of an image of (height, width), row by row.

    Args:
        side: longest side of what is kept of a tile; the tiles of an image are about equally large.
        margin: pixels that a network is given beyond what is kept, wherever the image has them.
        step: windows begin and end at multiples of it, or at the image's edge: for networks that shrink what they are
            given, or look at it in windows of their own. It may make margins larger, and a tile no smaller than itself.
    """
    for row, column in product(spans(height, side, margin, step=step), spans(width, side, margin, step=step)):
        yield Tile(_box(row.seen, column.seen), _box(row.kept, column.kept))


def spans(length: int, side: int, margin: int, overlap: int = 0, step: int = 1) -> list[Span]:
    """The tiles along one axis; the arguments are those of `tiles` and `stitch`."""
    assert length > 0 and side > 0 and step > 0 and margin >= 0 and overlap >= 0, (length, side, margin, overlap, step)
    cells = -(-length // step)
    count = -(-cells // max(side // step, 1))
    edges = [min(cells * i // count * step, length) for i in range(count + 1)]
    kept = list(pairwise(edges))
    reach = min(overlap, min(stop - start for start, stop in kept) // 2) // step * step  # so only two tiles ever meet
    found = []
    for start, stop in kept:
        blended = max(start - reach, 0), min(stop + reach, length)
        first = max(blended[0] - margin, 0) // step * step
        last = min(-(-(blended[1] + margin) // step) * step, length)
        found.append(Span((first, last), blended, (start, stop)))
    return found


def stitch(
    size: tuple[int, int],
    make: Callable[[Box], Pixels],
    side: int,
    margin: int,
    overlap: int = 0,
    step: int = 1,
    scale: int | Fraction = 1,
) -> Iterator[NDArray[np.float32]]:
    """What `make` makes of an image of `size` (height, width), tile by tile: its rows in strips, from top to bottom.

    No more than one strip is held: of about `side` rows, as wide as the result.

    Args:
        make: the result, (h * scale, w * scale) or with channels, for a window of (h, w) that the network is given.
        side: as for `tiles`, likewise `margin` and `step`.
        overlap: pixels on either side of the border of two tiles over which one fades into the other, a multiple of
            `step`, no more than half of a tile; the margin is beyond it. Without it tiles are laid side by side.
        scale: size of the result over size of the image; below 1, its denominator divides `step` and both sides.
    """
    columns = spans(size[1], side, margin, overlap, step)
    rows = spans(size[0], side, margin, overlap, step)
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
    """The sum of one row of tiles, and on its first rows of what is `carried` over from the row above."""
    down = row.weights(scale)
    width = int(columns[-1].blended[1] * scale)
    strip: Pixels | None = None
    for column in columns:
        seen, blended = _box(row.seen, column.seen), _box(row.blended, column.blended)
        made = make(seen)
        if strip is None:
            strip = np.zeros((len(down), width, *made.shape[2:]), np.float32)
        part = made[blended.within(seen).times(scale).slices]
        weights = (down[:, None] * column.weights(scale)).reshape(*part.shape[:2], *(1 for _ in part.shape[2:]))
        strip[:, slice(*(int(edge * scale) for edge in column.blended))] += part * weights
    assert strip is not None
    if carried is not None:
        strip[: len(carried)] += carried
    return strip


def _box(row: tuple[int, int], column: tuple[int, int]) -> Box:
    return Box(row[0], column[0], row[1], column[1])
