"""Two endless streams of crops, clean and degraded, in an order that only the seed decides.

Sample k of a stream (which image, which crop, which flips) is a pure function of (seed, stream, k). So the number of
loader workers and of processes changes nothing of what is seen, and a run that starts at step t sees what the
uninterrupted run would have seen from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate, get_worker_info

from unpairaug.data.augment import RandomFlipRotate, View, Views
from unpairaug.data.bad import Bad, BadImages
from unpairaug.data.decode import Array, Place, crop_image
from unpairaug.data.images import IMAGE_CACHE, ImageSet, size_problem
from unpairaug.data.order import WINDOW, WholeOrder, image_order
from unpairaug.data.pairs import match_pairs, read_pair
from unpairaug.errors import UserError

# The streams, and what is drawn for them: words of the seed, beside those of order.py, so that no two draws share a
# generator.
_CLEAN, _DEGRADED = 0, 1
_VIEW, _REPLACEMENT = 2, 7
_ATTEMPTS = 100
"""Images drawn for one sample before a set is given up: with one bad image in two, this happens to nobody."""


class UnpairedBatch(NamedTuple):
    """What a training step reads. A single sample has the same fields without the batch dimension.

    Images leave the streams in the 8 bits of their files, channels last in memory as they were decoded: a quarter of
    the bytes from worker to trainer and from there to a GPU. `loop.to_device` makes them float32 in [0, 1].
    """

    clean: Tensor
    """(B, 3, H, W)."""
    degraded: Tensor
    """(B, 3, H / scale, W / scale); `degraded[i]` shows something else than `clean[i]`."""
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
        lanes: int = 1,
        own_lanes: int | None = None,
        skip_bad: bool = False,
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
            lanes: samples of a step, of all processes together; the order of large sets of shards depends on it.
            own_lanes: those of this process, if not all; how many shards' indexes are held follows from it.
            skip_bad: show another image in place of one that cannot be used, and note it in `bad`; never of a pair.

        Raises:
            UserError: the crop does not fit the scale, or with `paired` an image has no partner.
        """
        if crop < 1 or crop % scale:
            good = max(1, round(crop / scale)) * scale
            raise UserError(f"crop {crop} is not a positive multiple of the scale {scale}; try {good}")
        self.clean, self.degraded = clean, degraded
        for images in (clean, degraded):  # a window begins anywhere in a shard, so it reaches into one more
            images.reserve_indexes((own_lanes or lanes) * (WINDOW + 1))
        self.scale = scale
        self.matches = match_pairs(clean, degraded, scale) if paired else None
        self.bad = BadImages() if skip_bad and not paired else None
        """Where bad images are skipped, those found so far: by the preflight, and by reading in this process."""
        self._symmetry = RandomFlipRotate(flip, rotate)
        self._clean = _Side(clean, seed, _CLEAN, crop, self.bad)
        self._degraded = _Side(degraded, seed, _DEGRADED, crop // scale, self.bad)
        matches = self.matches
        self._clean_order = (
            WholeOrder(seed, _CLEAN, len(matches)) if matches else image_order(clean, seed, _CLEAN, lanes)
        )
        self._degraded_order = image_order(degraded, seed, _DEGRADED, lanes)

    def __getitem__(self, k: int) -> UnpairedBatch:
        """Sample k, k = 0, 1, 2, … without end.

        Raises:
            UserError: an image cannot be read, is smaller than the crop, or is no twin of its partner.
        """
        return UnpairedBatch(*(part[0] for part in self.__getitems__([k])))

    def __getitems__(self, wanted: list[int]) -> UnpairedBatch:
        """The samples as one batch: brought at once where they lie far away, and copied only once."""
        pairs = [self.image_indices(k) for k in wanted]
        self.clean.prefetch(i for i, _ in pairs)
        self.degraded.prefetch(j for _, j in pairs)
        clean, degraded = self._clean.allocate(len(wanted)), self._degraded.allocate(len(wanted))
        views = self._clean.views(wanted)
        others = views if self.matches else self._degraded.views(wanted)
        for row, (k, at, view, other) in enumerate(zip(wanted, pairs, views, others, strict=True)):
            crop, small = self._read_windows(k, at, view, other)
            # Copied at once: as long as a window is a view, its whole image takes memory, and new memory takes time.
            self._symmetry.copy(crop, view, clean[row])
            self._symmetry.copy(small, other, degraded[row])
        crops, small_crops = (torch.from_numpy(side).permute(0, 3, 1, 2) for side in (clean, degraded))
        return UnpairedBatch(crops, small_crops, torch.tensor(wanted))

    def image_indices(self, k: int) -> tuple[int, int]:
        """The numbers of the clean and the degraded image that sample k shows, unless a bad one is skipped."""
        if self.matches:
            return self.matches[self._clean_order(k)]
        return self._clean_order(k), self._degraded_order(k)

    def _read_windows(self, k: int, at: tuple[int, int], view: View, other: View) -> tuple[Array, Array]:
        """The windows of a clean and of a degraded image; of a pair both at the same place."""
        if not self.matches:
            return self._clean.read_window(k, at[0], view), self._degraded.read_window(k, at[1], other)
        pair = read_pair(self.clean, self.degraded, at, self.scale)
        place = self._degraded.place_window(at[1], other)
        edges = place(pair.degraded.shape[1], pair.degraded.shape[0])
        large = [self.scale * edge for edge in edges]
        return crop_image(pair.clean, large), crop_image(pair.degraded, edges)


class _Side:
    """Windows of one side's images."""

    def __init__(self, images: ImageSet, seed: int, stream: int, side: int, bad: BadImages | None) -> None:
        self.images, self.seed, self.stream, self.side, self.bad = images, seed, stream, side, bad
        self.views = Views(seed, stream, _VIEW)

    def allocate(self, count: int) -> Array:
        """Where so many windows are put."""
        return np.empty((count, self.side, self.side, 3), np.uint8)

    def read_window(self, k: int, i: int, view: View) -> Array:
        """The window of image `i`, or of one drawn in its place where it cannot be used and such are skipped."""
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
        raise UserError(f"{source}: {_ATTEMPTS} images drawn one after the other cannot be used; mend the files")

    def place_window(self, i: int, view: View) -> Place:
        """Where the view is in image `i`, once its size is known."""

        def place_square(width: int, height: int) -> tuple[int, int, int, int]:
            if min(width, height) < self.side:
                problem = size_problem(width, height, self.side, self.images.location(i))
                raise UserError(f"{problem}; give a smaller data.crop or remove the image")
            return view.square_window(self.side, width, height)

        return place_square


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


def create_loader(
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
        worker_init_fn=_init_worker,
        collate_fn=_Collate(dataset),
    )


class _Loader(DataLoader[UnpairedBatch]):
    """A loader whose workers' user errors keep their one message, and whose workers tell which images are bad."""

    def __iter__(self) -> Iterator[UnpairedBatch]:  # type: ignore[override]  # a generator is enough
        known: BadImages | None = getattr(self.dataset, "bad", None)
        try:
            for batch, bad in super().__iter__():
                if known is not None:
                    known.add_all(bad)
                yield UnpairedBatch(*batch)
        except UserError as error:
            # From a worker, torch raises the same type with the worker's whole traceback as its message.
            raise UserError(str(error).rpartition("UserError: ")[2].strip()) from error


class _Collate:
    """A batch, and the bad images that this process found on the way to it."""

    def __init__(self, dataset: Dataset[UnpairedBatch]) -> None:
        self.dataset = dataset  # the very object that a worker reads from: the two reach it together

    def __call__(self, samples: UnpairedBatch | list[UnpairedBatch]) -> tuple[UnpairedBatch, list[Bad]]:
        bad: BadImages | None = getattr(self.dataset, "bad", None)
        is_worker = get_worker_info() is not None  # without workers, the loader reads the same list
        batch = samples if isinstance(samples, UnpairedBatch) else default_collate(samples)
        return batch, bad.pop_new() if bad is not None and is_worker else []


def _init_worker(worker: int) -> None:
    """Workers share the cores already, where OpenCV would start a thread per core; and the bound of decoded images."""
    import cv2

    info = get_worker_info()
    assert info is not None, "called in a worker"
    IMAGE_CACHE.limit //= info.num_workers
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
