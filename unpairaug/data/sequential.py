"""The samples of a run read from shards in sequence: `data.order: stream`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from torch.utils.data import IterableDataset, get_worker_info

from unpairaug.data.bad import BadImages
from unpairaug.data.images import ImageSet
from unpairaug.data.mixture import MixedImages
from unpairaug.data.order import MAX_PERMUTED
from unpairaug.data.shard_cache import ShardCache
from unpairaug.data.shard_stream import Reader, StreamedImage
from unpairaug.data.shards import ShardImages
from unpairaug.data.streams import StepBatches, UnpairedBatch, UnpairedCrops
from unpairaug.errors import UserError


class SequentialBatches(IterableDataset[UnpairedBatch]):
    """The batches of one process; loader worker w of W yields every W-th of them.

    Crops, flips and turns of sample k are those of `UnpairedCrops`; the images follow `SideStream`.
    """

    def __init__(self, crops: UnpairedCrops, batches: StepBatches, cache: ShardCache) -> None:
        """Read nothing yet.

        Args:
            crops: both image sets, and how their crops are drawn.
            batches: the sample indices of the batches of this process.
            cache: where shards of URLs are kept on disk.
        """
        self.crops, self.batches, self.cache = crops, batches, cache

    @property
    def bad(self) -> BadImages | None:
        """The bad images that this process has found; None where they are not skipped."""
        return self.crops.bad

    def __iter__(self) -> Iterator[UnpairedBatch]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        batches = self.batches
        done = batches.start * batches.accumulation  # batches of this process before the first
        number = (done + worker) % workers  # the reader that continues where it was, whichever worker it is now
        reader = Reader(batches.rank * workers + number, batches.processes * workers)
        before = len(range(number, done, workers)) * batches.batch_size
        clean, degraded = (side.read_from(before) for side in self.crops.stream_sides(reader, self.cache))
        for wanted in islice(batches, worker, None, workers):
            pairs = [(_take(self.crops.clean, next(clean)), _take(self.crops.degraded, next(degraded))) for _ in wanted]
            yield self.crops.read_batch(wanted, pairs)


def choose_order(crops: UnpairedCrops, readers: int) -> tuple[str, str]:
    """What `data.order: auto` stands for, `exact` or `stream`, and a sentence that says why.

    Args:
        crops: both image sets.
        readers: loader workers of all processes together.
    """
    remote = [shards for shards in list_shards(crops) if shards.is_remote]
    large = max(remote, key=len, default=None)
    if crops.matches:
        return "exact", "pairs are read by their names"
    if large is None:
        return "exact", "no shards are read from a URL"
    if len(large) <= MAX_PERMUTED:
        return "exact", f"the shards behind a URL hold {len(large)} images, at most {MAX_PERMUTED}"
    if problem := find_stream_problem(crops, readers):
        return "exact", problem
    return "stream", (
        f"{len(large)} images in {len(large.shards)} shards are read from a URL, and the exact order takes a request "
        "for each image"
    )


def find_stream_problem(crops: UnpairedCrops, readers: int) -> str | None:
    """Why the images cannot be read in sequence; None if they can."""
    shards = list_shards(crops)
    if crops.matches:
        return "pairs are read by their names"
    if not shards:
        return "neither side consists of shards"
    fewest = min(shards, key=lambda one: len(one.shards))
    if len(fewest.shards) < readers:
        return (
            f"{fewest.source} has {len(fewest.shards)} shards for {readers} readers (loader workers of all processes), "
            "and each needs one of its own"
        )
    return None


def check_stream(crops: UnpairedCrops, readers: int) -> None:
    """Check that `data.order: stream` is possible.

    Raises:
        UserError: it is not.
    """
    if problem := find_stream_problem(crops, readers):
        raise UserError(f"data.order: stream is impossible: {problem}; give data.order=exact")


def list_shards(crops: UnpairedCrops) -> list[ShardImages]:
    """The sets of both sides that consist of shards."""
    sides = (crops.clean, crops.degraded)
    sets = [one for side in sides for one in (side.sets if isinstance(side, MixedImages) else [side])]
    return [one for one in sets if isinstance(one, ShardImages)]


def _take(images: ImageSet, image: StreamedImage) -> int:
    """Hand the bytes of an image to the shards that it is from; its index in the set."""
    if image.data is not None:
        owner, at = images.locate(image.at) if isinstance(images, MixedImages) else (images, image.at)
        assert isinstance(owner, ShardImages), "only shards are read in sequence"
        owner.hold(at, image.data)
    return image.at
