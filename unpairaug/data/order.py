"""Which image sample k of a stream shows: a pure function of the seed and k, computed without any sample before it.

A set of single images, or of few, is permuted as a whole anew every epoch. A large set of shards is *walked*: see
`ShardOrder`. A mixture first draws which set is due, then asks that set's own order: see `MixedOrder`. Either way every
image of a set is shown exactly once in each of its epochs, and an epoch ends in the middle of a batch if it must:
nothing is dropped and nothing is repeated to fill one.
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
"""From the number of a sample to that of its image."""

MAX_PERMUTED = 2**16
"""Shards of up to so many images are permuted as a whole: what a workstation's page cache holds, read in any order."""
WINDOW = 4
"""Over how many shards of usual size a walk shuffles."""
BLOCK = 64
"""Samples over which a mixture shuffles the turns of its sets."""

# What is drawn: words of the seed, beside those in streams.py, so that no two draws share a generator.
_ORDER, _WINDOW, _MIX, _PHASE = 1, 4, 5, 6


class WholeOrder:
    """Each image once an epoch, in an order of that epoch."""

    def __init__(self, seed: int, stream: int, count: int, member: int = 0) -> None:
        self.count = count
        self._words = seed, stream
        self._member = [member] if member else []  # a mixture of one set is in the order of that set alone
        self._permuted = LruCache(
            self._permute, keep=3
        )  # workers ahead of one another may stand in neighbouring epochs

    def __call__(self, j: int) -> int:
        epoch, place = divmod(j, self.count)
        return int(self._permuted(epoch)[place])

    def _permute(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([*self._words, _ORDER, epoch, *self._member]).permutation(self.count)


class ShardOrder:
    """Each image once an epoch; each *lane* reads a run of shards of its own, from one end to the other.

    A lane is a place in the batch of all processes together, so the order depends on the size of that batch and not on
    how processes and workers divide it. In an epoch the shards are permuted and laid end to end; the row of N images
    is cut into one stretch for each lane, of N / lanes images (the first N mod lanes stretches have one more); and a
    lane shows its stretch from left to right, shuffled within windows of some shards. Two processes meet in a shard
    only where one's stretch ends and the other's begins.

    The last batch of an epoch ends where the images do, and is filled with the first of the next epoch, in which
    places and lanes are shifted against each other by N mod lanes.
    """

    def __init__(self, seed: int, stream: int, sizes: NDArray[np.int64], lanes: int, member: int = 0) -> None:
        """Lay out the walk.

        Args:
            seed: which of the sequences.
            stream: which side.
            sizes: images in each shard; image 0 is the first of the first shard.
            lanes: samples of a step, of all processes together.
            member: which set of a mixture.
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
        """Where sample j of the epoch lies in the row of shards."""
        row, lane = divmod(j, self.lanes)
        usual, longer = divmod(self.count, self.lanes)
        length = usual + (lane < longer)
        window, within = divmod(row, self.window)
        begin = window * self.window
        shuffled = self._shuffled(epoch, lane, window, min(self.window, length - begin))
        return lane * usual + min(lane, longer) + begin + int(shuffled[within])

    def _permute_shards(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The shards in the order of the epoch, and where each of them ends in the row."""
        shards = np.random.default_rng([*self._seed, _ORDER, epoch, *self._member]).permutation(len(self.sizes))
        return shards, np.cumsum(self.sizes[shards])

    def _shuffle(self, epoch: int, lane: int, window: int, length: int) -> NDArray[np.int64]:
        words = [*self._seed, _WINDOW, epoch, *self._member, lane, window]
        return np.random.default_rng(words).permutation(length)


class MixedOrder:
    """Sets that take turns in proportion to their weights, each in its own order.

    Every lane (see `ShardOrder`; one for all if no set is walked) has its turns shuffled within blocks of `BLOCK`. A
    block holds as many turns of each set as keep the set's count, from the first sample on, within one of its exact
    share, or two where there are many sets: proportions are drawn in the small and exact in the large, for any weights.
    """

    def __init__(self, seed: int, stream: int, sets: Sequence[ImageSet], weights: Sequence[float], lanes: int) -> None:
        """Lay out the turns.

        Args:
            seed: which of the sequences.
            stream: which side.
            sets: the sets.
            weights: how often each is due, as ratios of each other.
            lanes: samples of a step, of all processes together.
        """
        self.lanes = lanes if any(map(is_read_by_shard, sets)) else 1
        self._orders = [_single_set_order(images, seed, stream, self.lanes, at) for at, images in enumerate(sets)]
        self._first = np.cumsum([0, *map(len, sets)])
        self._weights = [Fraction(str(weight)) for weight in weights]  # 0.1 is meant as a tenth
        self._seed = [seed, stream]
        self._turns = LruCache(self._draw_turns, keep=1024)

    def __call__(self, k: int) -> int:
        row, lane = divmod(k, self.lanes)
        block, place = divmod(row, BLOCK)
        due, turn = self._turns(lane, block)
        member = int(due[place])
        return int(self._first[member]) + self._orders[member](int(turn[place]) * self.lanes + lane)

    def _draw_turns(self, lane: int, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each place of a lane's block the set that is due, and how often that lane has shown it before."""
        # Each lane counts from another phase: else a set of small weight would be due in all of them at once.
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
        """How many of so many samples each set has; no set has fewer of more samples."""
        shares, rest = [], samples
        for at, weight in enumerate(self._weights):
            shares.append(int(rest * weight // sum(self._weights[at:])))
            rest -= shares[-1]
        return shares


def image_order(images: ImageSet, seed: int, stream: int, lanes: int) -> Order:
    """The order in which a stream shows the images, by what they are.

    Args:
        images: single images, shards, or a mixture.
        seed: which of the sequences.
        stream: which side.
        lanes: samples of a step, of all processes together; only large sets of shards depend on it.
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
