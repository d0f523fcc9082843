"""Digests of the samples that a loader gives, and shards to read them from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import simplejpeg
from webdataset import TarWriter

from unpairaug.data import StepBatches, UnpairedCrops, create_loader, open_images
from unpairaug.data.image_cache import IMAGE_CACHE
from unpairaug.data.shard_cache import ShardCache
from unpairaug.data.shard_copies import read_from_copies
from unpairaug.data.shard_index import format_folder_index, format_index, index_name
from unpairaug.data.tar_scan import scan_shard

STEP = 16
"""Samples of a step, over all processes."""


def write_shards(folder: Path, shards: int, each: int) -> None:
    """Write shards of JPEGs of 40 px that share 64 contents, and their indexes."""
    folder.mkdir(parents=True)
    draw, sizes = np.random.default_rng(0), {}
    pictures = [simplejpeg.encode_jpeg(draw.integers(0, 256, (40, 40, 3), np.uint8), quality=50) for _ in range(64)]
    for shard in range(shards):
        path = folder / f"images-{shard:06}.tar"
        with TarWriter(str(path), user="", group="", mtime=0, encoder=False) as tar:
            for n in range(each):
                tar.write({"__key__": f"{shard:04}_{n:04}", "jpg": pictures[draw.integers(64)]})
        size = path.stat().st_size
        index = format_index(path.name, size, scan_shard(str(path), size))
        path.with_name(index_name(path.name)).write_text(index)
        sizes[path.name] = each, size
    (folder / "index.json").write_text(format_folder_index(sizes))


def digest_samples(
    source: str, steps: int, workers: int, rank: int = 0, processes: int = 1, copies: bool = False
) -> list[list[str]]:
    """The digests of the samples that one process reads, for each step: of the number and of the pixels of both crops.

    Args:
        source: shards, which are both sides.
        steps: steps to read.
        workers: loader workers of this process.
        rank: rank of this process.
        processes: number of processes.
        copies: whether images are read from copies of whole shards on the disk.
    """
    IMAGE_CACHE.clear()  # of what this process has read before
    clean, degraded = (open_images(source, "clean", 1) for _ in range(2))
    each = STEP // processes
    crops = UnpairedCrops(clean, degraded, crop=32, scale=1, seed=3, lanes=STEP, own_lanes=each)
    if copies:
        read_from_copies(crops, ShardCache(2**30))
    batches = StepBatches(0, steps, each, rank=rank, processes=processes)
    found = []
    for batch in create_loader(crops, batches, workers):
        sides = zip(batch.index.tolist(), batch.clean.numpy(), batch.degraded.numpy(), strict=True)
        found.append([hashlib.sha256(b"%d" % k + x.tobytes() + y.tobytes()).hexdigest() for k, x, y in sides])
    return found


def join_processes(found: Sequence[Sequence[Sequence[str]]]) -> str:
    """The digest of the sequence of a run: in each step the samples of all processes, by rank."""
    return hashlib.sha256("".join(chain(*chain(*zip(*found, strict=True)))).encode()).hexdigest()
