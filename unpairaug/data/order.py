"""The order of the images in a stream: the image of sample k is a pure function of the seed and k.

A set of single images, or a small set of shards, is permuted as a whole in every epoch (`WholeOrder`). A large set of
shards is read shard after shard (`ShardOrder`). A mixture draws the set first, then follows the order of that set
(`MixedOrder`). Every image of a set occurs exactly once in each of its epochs. An epoch may end within a batch: no
image is dropped, and none is repeated to fill a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from unpairaug.data.images import ImageSet
from unpairaug.data.lru_cache import LruCache
from unpairaug.data.mixture import MixedImages

Order = Callable[[int], int]
"""Maps the index of a sample to the index of its image."""

MAX_PERMUTED = 2**16
"""Shards with at most this many images are permuted as a whole: a workstation's page cache holds them."""
WINDOW = 4
"""Shards of mean size in one shuffling window of `ShardOrder`."""
BLOCK = 64
"""Samples in one shuffling block of `MixedOrder`."""

# Words of the seed, one for each kind of draw, beside those in streams.py: no two draws share a generator.
_ORDER, _WINDOW, _MIX, _PHASE = 1, 4, 5, 6


class WholeOrder:
    """Each image once an epoch, in a new random order in every epoch."""

    def __init__(self, seed: int, stream: int, count: int, member: int = 0) -> None:
        self.count = count
        self._words = seed, stream
        self._member = [member] if member else []  # a mixture of one set has the order of that set alone
        self._permuted = LruCache(self._permute, keep=3)  # prefetching workers may be in neighbouring epochs

    def __call__(self, j: int) -> int:
        epoch, place = divmod(j, self.count)
        return int(self._permuted(epoch)[place])

    def _permute(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([*self._words, _ORDER, epoch, *self._member]).permutation(self.count)


class ShardOrder:
    """Each image once an epoch; each *lane* reads its own sequence of shards from start to end.

    A lane is a position in the global batch (over all processes). So the order depends on the size of the global batch,
    and not on how processes and workers divide it. In each epoch the shards are permuted and concatenated. The N images
    are divided into one contiguous stretch for each lane, of N // lanes images (or one more). A lane reads its stretch
    from left to right, shuffled within windows of some shards. Two processes read the same shard only where one stretch
    ends and the next begins.

    The last batch of an epoch is completed with the first images of the next epoch.
    """

    def __init__(self, seed: int, stream: int, sizes: NDArray[np.int64], lanes: int, member: int = 0) -> None:
        """Set up the order.

        Args:
            seed: the seed of the run.
            stream: the side, 0 clean or 1 degraded.
            sizes: images in each shard.
            lanes: samples of a step over all processes.
            member: index of the set in a mixture.
        """
        self.sizes, self.lanes = sizes, lanes
        self.count = int(sizes.sum())
        self.window = WINDOW * -(-self.count // len(sizes))
        self._starts = np.cumsum(sizes) - sizes
        self._seed, self._member = [seed, stream], [member]
        self._shards = LruCache(self._permute_shards, keep=3)
        self._shuffled = LruCache(self._shuffle, keep=256)

    def __call__(self, j: int) -> int:
        epoch, place = divmod(j, self.count)
        shards, ends = self._shards(epoch)
        place = self._place(epoch, place)
        at = int(np.searchsorted(ends, place, side="right"))
        shard = shards[at]
        return int(self._starts[shard] + place - (ends[at] - self.sizes[shard]))

    def _place(self, epoch: int, j: int) -> int:
        """The position of sample j of the epoch in the concatenated shards."""
        row, lane = divmod(j, self.lanes)
        usual, longer = divmod(self.count, self.lanes)
        length = usual + (lane < longer)
        window, within = divmod(row, self.window)
        begin = window * self.window
        shuffled = self._shuffled(epoch, lane, window, min(self.window, length - begin))
        return lane * usual + min(lane, longer) + begin + int(shuffled[within])

    def _permute_shards(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The shards in the order of the epoch, and the position at which each of them ends."""
        shards = np.random.default_rng([*self._seed, _ORDER, epoch, *self._member]).permutation(len(self.sizes))
        return shards, np.cumsum(self.sizes[shards])

    def _shuffle(self, epoch: int, lane: int, window: int, length: int) -> NDArray[np.int64]:
        words = [*self._seed, _WINDOW, epoch, *self._member, lane, window]
        return np.random.default_rng(words).permutation(length)


class MixtureTurns:
    """Which set of a mixture each sample of a lane comes from, in proportion to the weights.

    Every lane shuffles the sets within blocks of `BLOCK` samples. A block contains as many samples of each set as keep
    the set's count, from the first sample on, within one of its exact share (within two for many sets). So proportions
    are random locally and exact in the long run, for any weights.
    """

    def __init__(self, seed: int, stream: int, weights: Sequence[float]) -> None:
        self._weights = [Fraction(str(weight)) for weight in weights]  # 0.1 means exactly one tenth
        self._seed = [seed, stream]
        self._turns = LruCache(self._draw_turns, keep=1024)

    def __call__(self, lane: int, row: int) -> tuple[int, int]:
        """The set of the `row`-th sample of a lane, and how many samples of this set the lane has read before."""
        if len(self._weights) == 1:
            return 0, row
        block, place = divmod(row, BLOCK)
        due, turn = self._turns(lane, block)
        return int(due[place]), int(turn[place])

    def _draw_turns(self, lane: int, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each position of a lane's block: the set, and how many samples of it that lane has read before."""
        # Each lane starts at another phase: otherwise all lanes would read a set of small weight at the same time.
        phase = int(np.random.default_rng([*self._seed, _PHASE, lane]).integers(2**20))
        now, then = (self._shares(phase + (block + i) * BLOCK) for i in (0, 1))
        due = np.repeat(np.arange(len(now)), np.subtract(then, now))
        np.random.default_rng([*self._seed, _MIX, lane, block]).shuffle(due)
        turn = np.zeros(BLOCK, np.int64)
        for member, before in enumerate(np.subtract(now, self._shares(phase))):
            mine = due == member
            turn[mine] = before + np.arange(mine.sum())
        return due, turn

    def _shares(self, samples: int) -> list[int]:
        """The number of samples of each set among the first `samples`; it never decreases as `samples` grows."""
        shares, rest = [], samples
        for at, weight in enumerate(self._weights):
            shares.append(int(rest * weight // sum(self._weights[at:])))
            rest -= shares[-1]
        return shares


class MixedOrder:
    """Interleaves sets in proportion to their weights (see `MixtureTurns`); each set keeps its own order.

    There are as many lanes as in `ShardOrder`, or a single one if no set is read by shard.
    """

    def __init__(self, seed: int, stream: int, sets: Sequence[ImageSet], weights: Sequence[float], lanes: int) -> None:
        """Set up the order.

        Args:
            seed: the seed of the run.
            stream: the side, 0 clean or 1 degraded.
            sets: the sets.
            weights: relative sampling frequencies.
            lanes: samples of a step over all processes.
        """
        self.lanes = lanes if any(map(is_read_by_shard, sets)) else 1
        self._orders = [_single_set_order(images, seed, stream, self.lanes, at) for at, images in enumerate(sets)]
        self._first = np.cumsum([0, *map(len, sets)])
        self._turns = MixtureTurns(seed, stream, weights)

    def __call__(self, k: int) -> int:
        row, lane = divmod(k, self.lanes)
        member, turn = self._turns(lane, row)
        return int(self._first[member]) + self._orders[member](turn * self.lanes + lane)


def image_order(images: ImageSet, seed: int, stream: int, lanes: int) -> Order:
    """The order of the images in a stream: `WholeOrder`, `ShardOrder` or `MixedOrder`.

    Args:
        images: single images, shards, or a mixture.
        seed: the seed of the run.
        stream: the side, 0 clean or 1 degraded.
        lanes: samples of a step over all processes; only large sets of shards depend on it.
    """
    if isinstance(images, MixedImages):
        return MixedOrder(seed, stream, images.sets, images.weights, lanes)
    return _single_set_order(images, seed, stream, lanes, member=0)


def is_read_by_shard(images: ImageSet) -> bool:
    """Whether the set is read shard after shard."""
    return images.shard_sizes is not None and len(images) > MAX_PERMUTED


def _single_set_order(images: ImageSet, seed: int, stream: int, lanes: int, member: int) -> Order:
    if images.shard_sizes is not None and is_read_by_shard(images):
        return ShardOrder(seed, stream, images.shard_sizes, lanes, member)
    return WholeOrder(seed, stream, len(images), member)
