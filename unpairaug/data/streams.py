"""Two endless streams of crops, clean and degraded, in an order that only the seed decides.

Sample k of a stream (which image, which crop, which flips) is a pure function of (seed, stream, k). So the number of
loader workers and of processes changes nothing of what is seen, and a run that starts at step t sees what the
uninterrupted run would have seen from there.
"""

from __future__ import annotations

import os
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from unpairaug.data.images import Array, ImageSet, too_small
from unpairaug.data.pairs import match, read_pair
from unpairaug.errors import UserError

# The streams, and what is drawn for them: words of the seed, so that no two draws share a generator.
_CLEAN, _DEGRADED = 0, 1
_ORDER, _VIEW, _TURN = 1, 2, 3


class UnpairedBatch(NamedTuple):
    """What a training step reads. A single sample has the same fields without the batch dimension."""

    clean: Tensor
    """(B, 3, H, W) float32 in [0, 1]."""
    degraded: Tensor
    """(B, 3, H / scale, W / scale) float32 in [0, 1]; `degraded[i]` shows something else than `clean[i]`."""
    index: Tensor  # pyright: ignore[reportIncompatibleMethodOverride]  # hides tuple.index, which nobody needs here
    """(B,) int64: global sample indices, which also seed every other draw that belongs to a sample."""


class UnpairedCrops(Dataset[UnpairedBatch]):
    """Sample k: a random crop of some clean image and one of some degraded image, drawn independently.

    Each side walks through its images in a new random order every epoch. `paired=True` is for the ceiling run alone:
    the degraded crop is the true twin of the clean one, same place and same flips.
    """

    def __init__(
        self,
        clean: ImageSet,
        degraded: ImageSet,
        *,
        crop: int,
        scale: int,
        seed: int,
        flip: bool = True,
        rotate: bool = True,
        paired: bool = False,
    ) -> None:
        """Draw from the two sets.

        Args:
            clean: images of the clean domain; with `paired`, the clean twins of `degraded`.
            degraded: images of the degraded domain.
            crop: side of a clean crop in pixels, a multiple of `scale`; degraded crops have `crop / scale`.
            scale: side of a clean image over the side of its degraded twin.
            seed: which of the sequences.
            flip: mirror each crop left-right and top-bottom, each with probability 1/2.
            rotate: turn each crop by a multiple of 90 degrees, all equally likely.
            paired: crops of true pairs, matched by name.

        Raises:
            UserError: the crop does not fit the scale, or with `paired` an image has no partner.
        """
        if crop < 1 or crop % scale:
            good = max(1, round(crop / scale)) * scale
            raise UserError(f"crop {crop} is not a positive multiple of the scale {scale}; try {good}")
        self.clean, self.degraded = clean, degraded
        self.crop, self.scale, self.seed = crop, scale, seed
        self.matches = match(clean, degraded, scale) if paired else None
        self._turns = _Turns(flip, rotate)
        self._clean_window, self._degraded_window = _Window(crop), _Window(crop // scale)

    def __getitem__(self, k: int) -> UnpairedBatch:
        """Sample k, k = 0, 1, 2, … without end.

        Raises:
            UserError: an image cannot be read, is smaller than the crop, or is no twin of its partner.
        """
        clean, degraded = self._pair(k) if self.matches else (self._clean_crop(k), self._degraded_crop(k))
        return UnpairedBatch(to_tensor(clean), to_tensor(degraded), torch.tensor(k))

    def _clean_crop(self, k: int) -> Array:
        i = _pick(self.seed, _CLEAN, k, len(self.clean))
        draws = _Draws(self.seed, _CLEAN, _VIEW, k)
        return self._turns(self._clean_window(self.clean[i], draws, self.clean.where(i)), draws)

    def _degraded_crop(self, k: int) -> Array:
        i = _pick(self.seed, _DEGRADED, k, len(self.degraded))
        draws = _Draws(self.seed, _DEGRADED, _VIEW, k)
        return self._turns(self._degraded_window(self.degraded[i], draws, self.degraded.where(i)), draws)

    def _pair(self, k: int) -> tuple[Array, Array]:
        assert self.matches is not None, "only the paired mode has matches"
        at = self.matches[_pick(self.seed, _CLEAN, k, len(self.matches))]
        pair = read_pair(self.clean, self.degraded, at, self.scale)
        small = self._degraded_window(pair.degraded, _Draws(self.seed, _CLEAN, _VIEW, k), self.degraded.where(at[1]))
        left, top, right, bottom = (self.scale * edge for edge in self._degraded_window.edges)
        # Two sources of the same numbers: both crops turn alike.
        return (
            self._turns(pair.clean[top:bottom, left:right], _Draws(self.seed, _CLEAN, _TURN, k)),
            self._turns(small, _Draws(self.seed, _CLEAN, _TURN, k)),
        )


class StepBatches(Sampler[list[int]]):
    """The global sample indices of each micro-batch of one process, from optimiser step `start` up to `stop`.

    A step reads the next `accumulation * processes * batch_size` samples, whoever reads them: two processes with half
    the batch see in each step what one process sees.
    """

    def __init__(
        self, start: int, stop: int, batch_size: int, accumulation: int = 1, rank: int = 0, processes: int = 1
    ) -> None:
        """Lay out the samples.

        Args:
            start: the first optimiser step, counted from 0.
            stop: the step after the last.
            batch_size: samples per process and micro-batch.
            accumulation: micro-batches per optimiser step.
            rank: number of this process, from 0.
            processes: how many processes share each micro-batch.
        """
        assert 0 <= rank < processes, f"rank {rank} of {processes} processes"
        self.start, self.stop, self.batch_size, self.accumulation = start, stop, batch_size, accumulation
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return max(0, self.stop - self.start) * self.accumulation

    def __iter__(self) -> Iterator[list[int]]:
        whole = self.batch_size * self.processes
        for micro in range(self.start * self.accumulation, self.stop * self.accumulation):
            first = micro * whole + self.rank * self.batch_size
            yield list(range(first, first + self.batch_size))


def loader(
    dataset: Dataset[UnpairedBatch], batches: StepBatches, num_workers: int = 0, pin_memory: bool = False
) -> DataLoader[UnpairedBatch]:
    """Batches in the order of `batches`, made ahead by `num_workers` processes.

    It is already cut for this process: accelerate must not be asked to prepare it, or it would be cut again.
    """
    return _Loader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        worker_init_fn=_one_thread,
    )


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """(3, H, W) float32 in [0, 1] from an image (H, W, 3) of 8 bits."""
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C")).float().div_(255)


class _Loader(DataLoader[UnpairedBatch]):
    """A loader whose workers' user errors keep their one message."""

    def __iter__(self) -> Iterator[UnpairedBatch]:  # type: ignore[override]  # a generator is enough
        try:
            yield from super().__iter__()
        except UserError as error:
            # From a worker, torch raises the same type with the worker's whole traceback as its message.
            raise UserError(str(error).rpartition("UserError: ")[2].strip()) from error


class _Draws:
    """The random numbers of one sample, in the two forms that albumentations wants."""

    def __init__(self, seed: int, stream: int, purpose: int, k: int) -> None:
        self.numpy = np.random.default_rng([seed, stream, purpose, k])
        self.python = random.Random(int(self.numpy.integers(2**63)))


class _Augment(ABC):
    """An albumentations transform that takes its random numbers from the sample, not from itself.

    Its own seeding will not do: `Compose.set_random_seed` gives each of its transforms a generator of the same seed, so
    that all of them flip together (2.0.8); a state set from outside is shared. The transform is made at first use and
    never pickled, so that a loader worker makes its own.
    """

    @abstractmethod
    def make(self, albumentations: Any) -> Any:
        """The transform, from the module that was imported late."""

    @cached_property
    def transform(self) -> Any:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network for a newer version
        import albumentations

        return self.make(albumentations)

    def apply(self, image: Array, draws: _Draws) -> Array:
        self.transform.set_random_state(draws.numpy, draws.python)
        return self.transform(image=image)["image"]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "transform"}


class _Window(_Augment):
    """A square window at a random place."""

    def __init__(self, side: int) -> None:
        self.side = side

    def make(self, albumentations: Any) -> Any:
        return albumentations.RandomCrop(self.side, self.side)

    def __call__(self, image: Array, draws: _Draws, where: str) -> Array:
        problem = too_small(image, self.side, where)
        if problem:
            raise UserError(f"{problem}; give a smaller data.crop or remove the image")
        return self.apply(image, draws)

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the last window."""
        return self.transform.get_applied_params()["crop_coords"]


class _Turns(_Augment):
    """Flips and quarter turns; without either, the image as it is."""

    def __init__(self, flip: bool, rotate: bool) -> None:
        self.flip, self.rotate = flip, rotate

    def make(self, albumentations: Any) -> Any:
        if self.flip and self.rotate:
            return albumentations.D4(p=1)  # all eight symmetries of the square, in one pass over the pixels
        if self.rotate:
            return albumentations.RandomRotate90(p=1)
        return albumentations.Compose([albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)])

    def __call__(self, image: Array, draws: _Draws) -> Array:
        return self.apply(image, draws) if self.flip or self.rotate else image


def _pick(seed: int, stream: int, k: int, count: int) -> int:
    """Which of `count` images sample k shows: each once an epoch, in an order of that epoch."""
    epoch, position = divmod(k, count)
    return int(_order(seed, stream, epoch, count)[position])


@lru_cache(maxsize=8)  # workers ahead of one another may stand in neighbouring epochs, on either stream
def _order(seed: int, stream: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, stream, _ORDER, epoch]).permutation(count)


def _one_thread(worker: int) -> None:
    """Workers share the cores already; OpenCV would start a thread per core in each of them."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
