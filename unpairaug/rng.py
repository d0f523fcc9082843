"""Random numbers that belong to a sample and not to a process.

Every draw of the joint step (a translator's noise, the bridge's strength, the pool's choice) comes from a generator
seeded by (seed, global sample index). So the same sample sees the same draws whatever the number of processes, and a
resumed run draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

Rng = torch.Generator | Sequence[torch.Generator] | None
"""One generator for a batch, or one a sample; None means torch's global one."""


def sample_rng(seed: int, index: Iterable[int], device: torch.device | str = "cpu") -> list[torch.Generator]:
    """One generator for each global sample index of a batch."""
    return [torch.Generator(device).manual_seed(mix_seed(seed, i)) for i in index]


def normal(shape: Sequence[int], like: Tensor, rng: Rng = None) -> Tensor:
    """Standard normal numbers of `shape` (B, ...), on the device of `like`."""
    return _draw(torch.randn, shape, like, rng)


def uniform(shape: Sequence[int], like: Tensor, rng: Rng = None) -> Tensor:
    """Uniform numbers in [0, 1) of `shape` (B, ...), on the device of `like`."""
    return _draw(torch.rand, shape, like, rng)


def _draw(draw: Callable[..., Tensor], shape: Sequence[int], like: Tensor, rng: Rng) -> Tensor:
    # Always in 32 bits: numbers drawn in half precision would be other ones, and coarse.
    draw = partial(draw, device=like.device, dtype=torch.float32)
    if rng is None or isinstance(rng, torch.Generator):
        return draw(*shape, generator=rng)
    repeats, rest = divmod(shape[0], len(rng))
    assert rest == 0, f"a batch of {shape[0]} cannot be shared by {len(rng)} generators"
    # A batch may be several batches laid one after the other (see CycleTranslator): each takes one draw a sample.
    return torch.stack([draw(*shape[1:], generator=generator) for generator in [*rng] * repeats])


def mix_seed(seed: int, index: int) -> int:
    """A seed of 63 bits that two numbers determine, unlike that of any neighbour."""
    return int(np.random.SeedSequence([seed, int(index)]).generate_state(1, np.uint64)[0] >> 1)
