"""Two endless streams of crops, clean and degraded, whose order depends on the seed alone.

Sample k of a stream (image, crop, flips) is a pure function of (seed, stream, k). So the number of loader workers and
processes does not change the samples, and a run that resumes at step t reads the same samples as the uninterrupted run.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from unpairaug.data.augment import RandomFlipRotate, View, Views
from unpairaug.data.bad import BadImages
from unpairaug.data.decode import Array, Place, crop_image
from unpairaug.data.images import ImageSet, size_problem
from unpairaug.data.order import WINDOW, WholeOrder, image_order
from unpairaug.data.pairs import match_pairs, read_pair
from unpairaug.data.shard_cache import ShardCache
from unpairaug.data.shard_stream import Reader, SideStream
from unpairaug.errors import UserError

# Words of the seed, one for each stream and kind of draw, beside those of order.py: no two draws share a generator.
_CLEAN, _DEGRADED = 0, 1
_VIEW, _REPLACEMENT = 2, 7
_ATTEMPTS = 100
"""Images tried for one sample before an error: with half of the images bad, the probability is 2⁻¹⁰⁰."""


class UnpairedBatch(NamedTuple):
    """The input of a training step. A single sample has the same fields without the batch dimension.

    Images are uint8, channels last in memory as decoded: a quarter of the bytes of float32 between worker, trainer and
    GPU. `training.step_reader.to_device` converts them to float32 in [0, 1].
    """

    clean: Tensor
    """(B, 3, H, W) uint8."""
    degraded: Tensor
    """(B, 3, H / scale, W / scale) uint8; `degraded[i]` is independent of `clean[i]`."""
    index: Tensor  # pyright: ignore[reportIncompatibleMethodOverride]  # hides tuple.index, which is not needed
    """(B,) int64: global sample indices; they also seed every other random draw of a sample."""


class UnpairedCrops(Dataset[UnpairedBatch]):
    """Sample k: a random crop of a clean image and one of a degraded image, drawn independently.

    Each side reads its images in a new random order in every epoch. `paired=True` is for the supervised upper bound:
    the clean crop is the ground truth of the degraded one, at the same position and with the same flips.
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
        lanes: int = 1,
        own_lanes: int | None = None,
        skip_bad: bool = False,
    ) -> None:
        """Set up both streams.

        Args:
            clean: images of the clean domain; with `paired`, the ground truth of `degraded`.
            degraded: images of the degraded domain.
            crop: side of a clean crop in pixels, a multiple of `scale`; degraded crops have `crop / scale`.
            scale: side length of the ground truth divided by that of the degraded image.
            seed: the seed of the run.
            flip: mirror each crop horizontally and vertically, each with probability 1/2.
            rotate: rotate each crop by a multiple of 90 degrees, all equally likely.
            paired: draw crops of pairs, matched by name.
            lanes: samples of a step over all processes; the order of large sets of shards depends on it.
            own_lanes: samples of a step of this process, by default `lanes`.
            skip_bad: replace a bad image by another one, and record it in `bad`; not with `paired`.

        Raises:
            UserError: the crop does not fit the scale, or with `paired` an image has no partner.
        """
        _check_crop(crop, scale)
        self.clean, self.degraded, self.crop, self.scale, self._seed = clean, degraded, crop, scale, seed
        self._reserve_indexes(own_lanes or lanes)
        self.matches = pairs = match_pairs(clean, degraded, scale) if paired else None
        self.bad = BadImages() if skip_bad and not paired else None
        """The bad images found so far, by the preflight and by this process; None where they are not skipped."""
        self._symmetry = RandomFlipRotate(flip, rotate)
        self._clean = _Side(clean, seed, _CLEAN, crop, self.bad)
        self._degraded = _Side(degraded, seed, _DEGRADED, crop // scale, self.bad)
        self._clean_order = WholeOrder(seed, _CLEAN, len(pairs)) if pairs else image_order(clean, seed, _CLEAN, lanes)
        self._degraded_order = image_order(degraded, seed, _DEGRADED, lanes)

    def _reserve_indexes(self, lanes: int) -> None:
        for images in (self.clean, self.degraded):  # a shuffling window may reach into one more shard
            images.reserve_indexes(lanes * (WINDOW + 1))

    def __getitem__(self, k: int) -> UnpairedBatch:
        """Sample k, k = 0, 1, 2, … without end.

        Raises:
            UserError: an image cannot be read, is smaller than the crop, or contradicts the scale of its pair.
        """
        return UnpairedBatch(*(part[0] for part in self.__getitems__([k])))

    def __getitems__(self, wanted: list[int]) -> UnpairedBatch:
        """The samples as one batch, read in one request from remote sets and copied once."""
        pairs = [self.image_indices(k) for k in wanted]
        self.clean.prefetch(i for i, _ in pairs)
        self.degraded.prefetch(j for _, j in pairs)
        return self.read_batch(wanted, pairs)

    def read_batch(self, wanted: list[int], pairs: Sequence[tuple[int, int]]) -> UnpairedBatch:
        """The samples as one batch, copied once, each from a given clean and degraded image."""
        clean, degraded = self._clean.allocate(len(wanted)), self._degraded.allocate(len(wanted))
        views = self._clean.views(wanted)
        others = views if self.matches else self._degraded.views(wanted)
        for row, (k, at, view, other) in enumerate(zip(wanted, pairs, views, others, strict=True)):
            crop, small = self._read_windows(k, at, view, other)
            # Copied immediately: a view would keep the whole image in memory, and new allocations are slow.
            self._symmetry.copy(crop, view, clean[row])
            self._symmetry.copy(small, other, degraded[row])
        crops, small_crops = (torch.from_numpy(side).permute(0, 3, 1, 2) for side in (clean, degraded))
        return UnpairedBatch(crops, small_crops, torch.tensor(wanted))

    def stream_sides(self, reader: Reader, cache: ShardCache) -> tuple[SideStream, SideStream]:
        """Both sides as one reader reads them in sequence."""
        return (
            SideStream(self.clean, self._seed, _CLEAN, reader, cache),
            SideStream(self.degraded, self._seed, _DEGRADED, reader, cache),
        )

    def with_crop(self, crop: int) -> UnpairedCrops:
        """The same samples with clean crops of another side in pixels."""
        _check_crop(crop, self.scale)
        other = copy.copy(self)
        other.crop = crop
        other._clean = _Side(self.clean, self._seed, _CLEAN, crop, self.bad)
        other._degraded = _Side(self.degraded, self._seed, _DEGRADED, crop // self.scale, self.bad)
        return other

    def image_indices(self, k: int) -> tuple[int, int]:
        """Indices of the clean and the degraded image of sample k, before bad images are replaced."""
        if self.matches:
            return self.matches[self._clean_order(k)]
        return self._clean_order(k), self._degraded_order(k)

    def locate(self, k: int) -> tuple[str, str]:
        """Where the clean and the degraded image of sample k lie; a bad one may have been replaced by another."""
        clean, degraded = self.image_indices(k)
        return self.clean.location(clean), self.degraded.location(degraded)

    def _read_windows(self, k: int, at: tuple[int, int], view: View, other: View) -> tuple[Array, Array]:
        """The windows of the clean and the degraded image; of a pair both at the same position."""
        if not self.matches:
            return self._clean.read_window(k, at[0], view), self._degraded.read_window(k, at[1], other)
        pair = read_pair(self.clean, self.degraded, at, self.scale)
        place = self._degraded.place_window(at[1], other)
        edges = place(pair.degraded.shape[1], pair.degraded.shape[0])
        large = [self.scale * edge for edge in edges]
        return crop_image(pair.clean, large), crop_image(pair.degraded, edges)


def _check_crop(crop: int, scale: int) -> None:
    if crop < 1 or crop % scale:
        good = max(1, round(crop / scale)) * scale
        raise UserError(f"crop {crop} is not a positive multiple of the scale {scale}; try {good}")


class _Side:
    """Reads the windows of one side."""

    def __init__(self, images: ImageSet, seed: int, stream: int, side: int, bad: BadImages | None) -> None:
        self.images, self.seed, self.stream, self.side, self.bad = images, seed, stream, side, bad
        self.views = Views(seed, stream, _VIEW)

    def allocate(self, count: int) -> Array:
        """An array for `count` windows, (count, side, side, 3)."""
        return np.empty((count, self.side, self.side, 3), np.uint8)

    def read_window(self, k: int, i: int, view: View) -> Array:
        """The window of image `i`, or of a randomly drawn replacement if it is bad and bad images are skipped."""
        if self.bad is None:
            return self.images.read_window(i, self.place_window(i, view))
        for attempt in range(_ATTEMPTS):
            where = self.images.location(i)
            if where not in self.bad:
                try:
                    return self.images.read_window(i, self.place_window(i, view))
                except UserError as error:
                    self.bad.add(where, str(error))
            words = [self.seed, self.stream, _REPLACEMENT, k, attempt]
            i = int(np.random.default_rng(words).integers(len(self.images)))
        source = self.images.source
        raise UserError(f"{source}: {_ATTEMPTS} images in a row cannot be used; repair the files")

    def place_window(self, i: int, view: View) -> Place:
        """A function from the size of image `i` to the window of the view."""

        def place_square(width: int, height: int) -> tuple[int, int, int, int]:
            if min(width, height) < self.side:
                problem = size_problem(width, height, self.side, self.images.location(i))
                raise UserError(f"{problem}; give a smaller data.crop or remove the image")
            return view.square_window(self.side, width, height)

        return place_square


class StepBatches(Sampler[list[int]]):
    """The global sample indices of each micro-batch of one process, from optimiser step `start` up to `stop`.

    A step reads the next `accumulation * processes * batch_size` samples: two processes with half the batch size read
    the same samples in each step as one process.
    """

    def __init__(
        self, start: int, stop: int, batch_size: int, accumulation: int = 1, rank: int = 0, processes: int = 1
    ) -> None:
        """Set up the batches.

        Args:
            start: the first optimiser step, counted from 0.
            stop: the step after the last.
            batch_size: samples per process and micro-batch.
            accumulation: micro-batches per optimiser step.
            rank: rank of this process.
            processes: number of processes.
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
