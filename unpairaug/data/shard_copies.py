"""Whole shards of URLs on the disk for the exact order: one request for a shard instead of one for each image."""

from __future__ import annotations

from unpairaug.data.order import WINDOW, is_read_by_shard
from unpairaug.data.sequential import list_shards
from unpairaug.data.shard_cache import ShardCache
from unpairaug.data.shards import ShardImages
from unpairaug.data.streams import UnpairedCrops


def count_copied_bytes(crops: UnpairedCrops, lanes: int, samples: int, limit: int) -> int:
    """The bytes that copies of the shards of URLs take at a time; 0 where images are to be read one by one.

    That is where there are no such shards or their sizes are unknown, where the copies in use at a time exceed the
    limit, and where the run reads less than an epoch of a set.

    Args:
        crops: both image sets.
        lanes: samples of a step over all processes.
        samples: samples of the run.
        limit: bytes of all copies.
    """
    remote = [shards for shards in list_shards(crops) if shards.is_remote]
    needed = sum(_bytes_in_use(shards, lanes) for shards in remote)
    is_worth_it = all(shards.nbytes is not None and len(shards) <= samples for shards in remote)
    return needed if is_worth_it and needed <= limit else 0


def read_from_copies(crops: UnpairedCrops, cache: ShardCache) -> None:
    """Let the shards of URLs be read from copies in the cache."""
    for shards in list_shards(crops):
        if shards.is_remote:
            shards.read_from_copies(cache)


def _bytes_in_use(shards: ShardImages, lanes: int) -> int:
    """The size of the shards that are read at a time: all, or those of a window of each lane."""
    nbytes = shards.nbytes or 0
    if not is_read_by_shard(shards):
        return nbytes
    return min(nbytes, lanes * (WINDOW + 1) * nbytes // len(shards.shards))
