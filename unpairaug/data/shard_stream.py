"""The images of shards in sequence, read by WebDataset's pipeline: few requests, for sets of any size.

A *reader* is one loader worker of one process. In every epoch the shards are shuffled and divided over the readers:
reader r of R takes the shards r, r + R, … of the shuffled list. It reads them in groups of `GROUP`, one shard after
another from start to end, through a shuffle buffer that is emptied at the end of each group. So the n-th image of a
reader is a function of (seed, r, R, n), and a resumed run reads the shards of one group again, and not the epoch.
"""

from __future__ import annotations

import os
import random
import tarfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from itertools import islice
from typing import IO, Any, NamedTuple

import numpy as np

from unpairaug.data.images import ImageSet
from unpairaug.data.mixture import MixedImages
from unpairaug.data.order import MixtureTurns, WholeOrder
from unpairaug.data.shard_cache import ShardCache
from unpairaug.data.shards import ShardImages
from unpairaug.data.storage import strip_query
from unpairaug.data.tar_scan import choose_image, is_image_member
from unpairaug.errors import UserError, escape

GROUP = 4
"""Shards that share a shuffle buffer."""
BUFFER_BYTES = 2**26
"""Bytes of encoded images in a shuffle buffer; a reader has one for each side."""
BUFFER_IMAGES = 1000
"""Images in a shuffle buffer at most."""

# Words of the seed, one for each kind of draw, beside those of order.py and streams.py.
_SHARDS, _BUFFER = 8, 9


class StreamedImage(NamedTuple):
    """An image in the order of a reader."""

    at: int
    """Its index in its set."""
    data: bytes | None
    """The bytes of its file; None where the set reads them by itself."""


class Reader(NamedTuple):
    """One loader worker among those of all processes."""

    rank: int
    readers: int


class ShardStream:
    """The images of a set of shards as one reader reads them, epoch after epoch without end."""

    def __init__(
        self, images: ShardImages, seed: int, stream: int, reader: Reader, cache: ShardCache, member: int = 0
    ) -> None:
        """Set up the order; nothing is read yet.

        Args:
            images: the set.
            seed: the seed of the run.
            stream: the side, 0 clean or 1 degraded.
            reader: who reads.
            cache: where shards of URLs are kept on disk.
            member: index of the set in a mixture.
        """
        self.images, self.reader, self.cache = images, reader, cache
        self._words = [seed, stream, member]
        self._starts = np.cumsum(images.sizes) - images.sizes

    def read_from(self, start: int) -> Iterator[StreamedImage]:
        """The images from the `start`-th of this reader on, counted from 0.

        Raises:
            UserError: a shard is damaged, cannot be read, or has another number of images than its index.
        """
        epoch, group, skip = self._locate(start)
        groups = self._groups_from(epoch, group)
        opened = self._open_ahead(shard for _, _, shards in self._groups_from(epoch, group) for shard in shards)
        for epoch, group, shards in groups:
            yield from islice(self._read_group(epoch, group, len(shards), opened), skip, None)
            skip = 0

    def _groups(self, epoch: int) -> list[list[int]]:
        """The shards of this reader in an epoch, in groups."""
        shuffled = np.random.default_rng([*self._words, _SHARDS, epoch]).permutation(len(self.images.shards))
        own = shuffled[self.reader.rank :: self.reader.readers].tolist()
        return [own[at : at + GROUP] for at in range(0, len(own), GROUP)]

    def _groups_from(self, epoch: int, group: int) -> Iterator[tuple[int, int, list[int]]]:
        while True:
            for number, shards in enumerate(self._groups(epoch)):
                if number >= group:
                    yield epoch, number, shards
            epoch, group = epoch + 1, 0

    def _locate(self, start: int) -> tuple[int, int, int]:
        """The epoch and the group that hold the `start`-th image of this reader, and the images before it in there."""
        for epoch, group, shards in self._groups_from(0, 0):
            count = int(self.images.sizes[shards].sum())
            if start < count:
                return epoch, group, start
            start -= count
        raise AssertionError("the groups never end")

    def _read_group(
        self, epoch: int, group: int, shards: int, opened: Iterator[dict[str, Any]]
    ) -> Iterator[StreamedImage]:
        from webdataset.filters import shuffle
        from webdataset.pipeline import DataPipeline

        first = next(opened)
        size = os.fstat(first["stream"].fileno()).st_size / int(self.images.sizes[first["shard"]])
        buffer = max(16, min(BUFFER_IMAGES, int(BUFFER_BYTES / size)))
        seed = np.random.SeedSequence([*self._words, _BUFFER, epoch, group, self.reader.rank]).generate_state(4)
        pipeline = DataPipeline(
            lambda: _chain(first, islice(opened, shards - 1)),
            partial(_read_shards, images=self.images),
            shuffle(buffer, initial=buffer, rng=random.Random(seed.tobytes())),
        )
        for shard, at, data in pipeline:
            yield StreamedImage(int(self._starts[shard]) + at, data)

    def _open_ahead(self, shards: Iterator[int]) -> Iterator[dict[str, Any]]:
        """The shards as open files, as WebDataset's pipeline expects them; the next one is fetched meanwhile."""
        ahead: deque[tuple[int, Future[IO[bytes]]]] = deque()
        for shard in shards:
            ahead.append((shard, _start(self.cache.open, self.images.shards[shard])))
            if len(ahead) > 1:
                number, file = ahead.popleft()
                yield {"url": strip_query(self.images.shards[number]), "shard": number, "stream": file.result()}


class SideStream:
    """The images of one side as one reader reads them: those of shards in sequence, others in their exact order."""

    def __init__(self, images: ImageSet, seed: int, stream: int, reader: Reader, cache: ShardCache) -> None:
        self.images, self.reader = images, reader
        sets, weights = (images.sets, images.weights) if isinstance(images, MixedImages) else ([images], [1.0])
        self._turns = MixtureTurns(seed, stream, weights)
        self._first = np.cumsum([0, *map(len, sets)])
        self._members = [
            ShardStream(one, seed, stream, reader, cache, at)
            if isinstance(one, ShardImages)
            else WholeOrder(seed, stream, len(one), at)
            for at, one in enumerate(sets)
        ]

    def read_from(self, start: int) -> Iterator[StreamedImage]:
        """The images from the `start`-th of this reader on, counted from 0; see `ShardStream.read_from`."""
        opened: dict[int, Iterator[StreamedImage]] = {}
        at = start
        while True:
            member, turn = self._turns(self.reader.rank, at)
            order, first = self._members[member], int(self._first[member])
            if isinstance(order, WholeOrder):
                yield StreamedImage(first + order(turn * self.reader.readers + self.reader.rank), None)
            else:
                if member not in opened:
                    opened[member] = order.read_from(turn)
                image = next(opened[member])
                yield StreamedImage(first + image.at, image.data)
            at += 1


def _chain(first: dict[str, Any], others: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from others


def _read_shards(opened: Iterable[dict[str, Any]], images: ShardImages) -> Iterator[tuple[int, int, bytes]]:
    """The shard, the number in it, and the bytes of each image, in the order of the shards' indexes.

    Raises:
        UserError: a shard is damaged, or has another number of images than its index.
    """
    from webdataset.tariterators import group_by_keys, tar_file_expander

    for one in opened:
        found, expected = 0, int(images.sizes[one["shard"]])
        try:
            with one["stream"]:
                for sample in group_by_keys(tar_file_expander([one], select_files=is_image_member), lcase=False):
                    extension = choose_image([name for name in sample if not name.startswith("__")])
                    yield one["shard"], found, sample[extension]
                    found += 1
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            reason = escape(str(error.args[0] if error.args else error).split(" @ ")[0])
            raise UserError(
                f"{escape(one['url'])}: this shard is truncated or damaged after {found} images ({reason}); copy it or "
                "create it again"
            ) from error
        if found != expected:
            raise UserError(
                f"{escape(one['url'])}: {found} images in sequence, but its index has {expected}; create the shards "
                "again, or give data.order=exact"
            )


def _start(function: Any, argument: str) -> Future[Any]:
    """Call a function in a thread that does not keep the program from ending."""
    future: Future[Any] = Future()

    def call() -> None:
        try:
            future.set_result(function(argument))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future
