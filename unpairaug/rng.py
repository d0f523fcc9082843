"""Random numbers that belong to a sample and not to a process.

Every draw of the joint step (a translator's noise, the bridge's strength, the pool's choice) comes from a generator
seeded by (seed, global sample index). So the same sample sees the same draws whatever the number of processes, and a
resumed run draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

BLOCK = 64
"""Side in pixels of the squares that `PositionRng` draws at once."""


class NumberSource(Protocol):
    """Gives random numbers in the order in which they are asked for."""

    def draw(self, draw: Callable[..., Tensor], shape: Sequence[int], device: torch.device) -> Tensor:
        """Numbers of `shape`, 32 bits, from the law of `draw`, which is `torch.randn` or `torch.rand`."""
        ...


class RecordedNumbers:
    """Draws from a generator of its own, and keeps what it drew, so that `GivenNumbers` can give it again."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn: list[tuple[Callable[..., Tensor], Tensor]] = []
        """The law (`torch.randn` or `torch.rand`) and the numbers of each draw, in their order."""

    def draw(self, draw: Callable[..., Tensor], shape: Sequence[int], device: torch.device) -> Tensor:
        self.drawn.append((draw, draw(*shape, generator=self.generator, dtype=torch.float32)))
        return self.drawn[-1][1].to(device)


class GivenNumbers:
    """Numbers that were drawn before, in the order of their draws; for networks whose noise is an input."""

    def __init__(self, numbers: Iterable[Tensor]) -> None:
        self.numbers = iter(numbers)

    def draw(self, draw: Callable[..., Tensor], shape: Sequence[int], device: torch.device) -> Tensor:
        return next(self.numbers)


class PositionRng:
    """Random numbers that belong to a place of an image, so that a window draws what the whole image draws there.

    Numbers for each pixel of the window, (B, C, h, w), come in squares of `BLOCK` pixels, each a function of the seed,
    how many draws came before, and where it lies. Any other shape, such as a latent (B, n) or (B, n, 1, 1), is the same
    for every window. All are drawn on the CPU: every device gets the same.
    """

    def __init__(self, seed: int, window: tuple[int, int, int, int]) -> None:
        """Begin with the first draw for the window (top, left, bottom, right) of an image, in pixels."""
        self.seed, self.window, self.drawn = seed, window, 0

    def draw(self, draw: Callable[..., Tensor], shape: Sequence[int], device: torch.device) -> Tensor:
        """Numbers of `shape` from `draw`, which is `torch.randn` or `torch.rand`."""
        number, self.drawn = self.drawn, self.drawn + 1
        top, left, bottom, right = self.window
        if tuple(shape[2:]) != (bottom - top, right - left) or all(side == 1 for side in shape[2:]):
            return draw(*shape, generator=_generator(self.seed, number), dtype=torch.float32).to(device)
        numbers = torch.empty(*shape, dtype=torch.float32)
        for y in range(top // BLOCK * BLOCK, bottom, BLOCK):
            for x in range(left // BLOCK * BLOCK, right, BLOCK):
                # Counted from 1: trailing zeros would make the first square's seed that of a draw without a place.
                generator = _generator(self.seed, number, 1 + y // BLOCK, 1 + x // BLOCK)
                square = draw(*shape[:2], BLOCK, BLOCK, generator=generator, dtype=torch.float32)
                above, before, below, behind = max(y, top), max(x, left), min(y + BLOCK, bottom), min(x + BLOCK, right)
                part = square[..., above - y : below - y, before - x : behind - x]
                numbers[..., above - top : below - top, before - left : behind - left] = part
        return numbers.to(device)


class TileNumbers:
    """The numbers that a generator gives for a whole image, tile by tile: a tile gets those of its place.

    Each tile asks for the same draws in the same order. Numbers for each pixel, (B, C, h, w), are drawn for the whole
    image at the first tile; any other shape is the same for every tile.
    """

    def __init__(self, generator: torch.Generator, size: tuple[int, int]) -> None:
        """Begin with no tile; `size` is (height, width) of the image in pixels."""
        self.generator, self.size = generator, size
        self.window, self.number = (0, 0, *size), 0
        self.drawn: list[Tensor] = []

    def begin(self, window: tuple[int, int, int, int]) -> TileNumbers:
        """Go to the tile (top, left, bottom, right), and back to the first draw."""
        self.window, self.number = window, 0
        return self

    def draw(self, draw: Callable[..., Tensor], shape: Sequence[int], device: torch.device) -> Tensor:
        """Numbers of `shape` from `draw`, which is `torch.randn` or `torch.rand`."""
        top, left, bottom, right = self.window
        per_pixel = tuple(shape[2:]) == (bottom - top, right - left) and any(side > 1 for side in shape[2:])
        if self.number == len(self.drawn):
            whole = (*shape[:2], *self.size) if per_pixel else shape
            self.drawn.append(draw(*whole, generator=self.generator, dtype=torch.float32))
        numbers, self.number = self.drawn[self.number], self.number + 1
        return (numbers[..., top:bottom, left:right] if per_pixel else numbers).to(device)


Rng = torch.Generator | Sequence[torch.Generator] | NumberSource | None
"""One generator for a batch, one a sample, or another source of numbers; None means torch's global generator."""


def sample_rng(seed: int, index: Iterable[int], device: torch.device | str = "cpu") -> list[torch.Generator]:
    """One generator for each global sample index of a batch."""
    return [torch.Generator(device).manual_seed(mix_seed(seed, i)) for i in index]


def normal(shape: Sequence[int], like: Tensor, rng: Rng = None) -> Tensor:
    """Standard normal numbers of `shape` (B, ...), on the device of `like`."""
    return _draw(torch.randn, shape, like, rng)


def uniform(shape: Sequence[int], like: Tensor, rng: Rng = None) -> Tensor:
    """Uniform numbers in [0, 1) of `shape` (B, ...), on the device of `like`."""
    return _draw(torch.rand, shape, like, rng)


def numpy_generators(images: Tensor, rng: Rng = None) -> list[np.random.Generator]:
    """A NumPy generator for each image of a batch (B, ...), seeded by a draw from `rng`.

    It is for degradations written with NumPy, OpenCV or albumentations: the same `rng` gives the same image.
    """
    return [np.random.default_rng(seed) for seed in image_seeds(images, rng)]


def image_seeds(images: Tensor, rng: Rng = None) -> list[list[int]]:
    """Two whole numbers below 2**24 for each image of a batch (B, ...), drawn from `rng`: a seed for any library."""
    draws = uniform((len(images), 2), images, rng)
    return (draws.double() * 2**24).long().tolist()  # all that a draw of 32 bits holds


def _draw(draw: Callable[..., Tensor], shape: Sequence[int], like: Tensor, rng: Rng) -> Tensor:
    # Always in 32 bits: numbers drawn in half precision would be other ones, and coarse.
    on_device = partial(draw, device=like.device, dtype=torch.float32)
    if rng is None or isinstance(rng, torch.Generator):
        return on_device(*shape, generator=rng)
    if not isinstance(rng, Sequence):
        return rng.draw(draw, shape, like.device)
    repeats, rest = divmod(shape[0], len(rng))
    assert rest == 0, f"a batch of {shape[0]} cannot be shared by {len(rng)} generators"
    # A batch may be several batches laid one after the other (see CycleTranslator): each takes one draw a sample.
    return torch.stack([on_device(*shape[1:], generator=generator) for generator in [*rng] * repeats])


def mix_seed(*numbers: int) -> int:
    """A seed of 63 bits that several numbers determine, unlike that of any neighbour."""
    return int(np.random.SeedSequence([int(number) for number in numbers]).generate_state(1, np.uint64)[0] >> 1)


def _generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(mix_seed(*numbers))
