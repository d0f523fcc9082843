"""WebDataset shards as an image set: local or remote tar files, read at random through their indexes.

Nothing is extracted: an image is a byte range of its shard, so no member name can write a file anywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from unpairaug.data.brace_pattern import expand_braces
from unpairaug.data.decode import Array, EncodedImage, Place
from unpairaug.data.image_cache import IMAGE_CACHE, Identity
from unpairaug.data.images import ImageSet, has_images
from unpairaug.data.lru_cache import LruCache
from unpairaug.data.shard_cache import ShardCache
from unpairaug.data.shard_index import read_folder_index, read_index
from unpairaug.data.storage import (
    file_size,
    is_url,
    list_files,
    read_range,
    read_ranges,
    read_text,
    stat_file,
    strip_query,
)
from unpairaug.data.tar_scan import ShardIndex
from unpairaug.errors import UserError, escape

MIN_HELD_IMAGES = 2**17
"""Images whose index entries are kept in memory at least, about 150 bytes each."""
THREADS = 16
"""Indexes that are read at the same time when there is no list of shards."""
Range = tuple[str, int, int]
"""(shard, offset, size) of an image, in bytes."""
MAX_LISTED = 3
"""Skipped members that a remark lists; the others are counted."""


class ShardImages(ImageSet):
    """The images of several shards, in the order of the shards and of their members."""

    def __init__(
        self, source: str, shards: Sequence[str], sizes: Sequence[int] | None = None, nbytes: int | None = None
    ) -> None:
        """Open the shards.

        Args:
            source: the source as the user wrote it.
            shards: paths or URLs of the tar files.
            sizes: number of images in each shard, from `index.json`; without it, every index is read now.
            nbytes: size of all shards in bytes, where `index.json` lists it.

        Raises:
            UserError: a shard does not exist, is truncated or no tar, or an index belongs to another shard.
        """
        self.source, self.shards, self.nbytes = source, list(shards), nbytes
        self.is_remote = is_url(self.shards[0])
        if sizes is None:
            with ThreadPoolExecutor(THREADS) as pool:
                indexes = list(pool.map(read_index, self.shards))
            sizes = [len(index) for index in indexes]
            self.remarks = list(_describe_skipped(self.shards, indexes))
        self.shard_sizes = self.sizes = np.array(sizes, np.int64)
        self._ends = np.cumsum(self.sizes)
        self._mean_size = max(1, len(self) // len(self.shards))
        self._index = LruCache(self._read_index, keep=max(8, MIN_HELD_IMAGES // self._mean_size))
        self._version = LruCache(stat_file, keep=self._index.keep)
        self._prefetched: dict[int, bytes] = {}
        self._held: dict[int, bytes] = {}
        self._copies: ShardCache | None = None
        self.names = _NameSequence(self)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, i: int) -> Array:
        at_range = self._byte_range(i)
        return IMAGE_CACHE.get(self._byte_identity(at_range), lambda: self._encoded_image(i, at_range))

    def read_window(self, i: int, place: Place) -> Array:
        if (held := self._held.pop(i, None)) is not None:  # without its index, and decoded once an epoch
            return EncodedImage(held, lambda: self.location(i)).decode(place)
        at_range = self._byte_range(i)
        return IMAGE_CACHE.read_window(self._byte_identity(at_range), lambda: self._encoded_image(i, at_range), place)

    def read_bytes(self, i: int) -> bytes:
        return self._read(i, self._byte_range(i))

    def prefetch(self, wanted: Iterable[int]) -> None:
        if not self.is_remote or self._copies:
            return
        self._prefetched = {}
        with suppress(UserError):  # then the images are read one by one, and the error names the broken one
            missing = [i for i in dict.fromkeys(wanted) if not IMAGE_CACHE.contains(self.identity(i))]
            self._prefetched = dict(zip(missing, read_ranges([self._byte_range(i) for i in missing]), strict=True))

    def read_from_copies(self, cache: ShardCache) -> None:
        """Fetch whole shards into a cache on the disk, and read the images from there."""
        self._copies = cache

    def hold(self, i: int, data: bytes) -> None:
        """Take the bytes of image `i` from elsewhere, for the next time that it is read."""
        self._held[i] = data

    def reserve_indexes(self, shards: int) -> None:
        self._index.keep = self._version.keep = max(self._index.keep, min(shards, len(self.shards)))

    def identity(self, i: int) -> Identity:
        return self._byte_identity(self._byte_range(i))

    def indexed_size(self, i: int) -> tuple[int, int] | None:
        _, index, at = self._locate(i)
        width, height = index.places[at, 2:].tolist()
        return (width, height) if width and height else None

    def location(self, i: int) -> str:
        shard, index, at = self._locate(i)
        return escape(f"{strip_query(shard)}/{index.keys[at]}.{index.extensions[at]}")

    def stem(self, i: int) -> str:
        _, index, at = self._locate(i)
        return index.keys[at].removeprefix("./")  # in an index of another program

    def _locate(self, i: int) -> tuple[str, ShardIndex, int]:
        """The shard of image `i`, its index, and the position of the image in it."""
        if not 0 <= i < len(self):
            raise IndexError(i)
        shard = int(self._ends.searchsorted(i, side="right"))
        return self.shards[shard], self._index(shard), i - int(self._ends[shard] - self.sizes[shard])

    def _byte_range(self, i: int) -> Range:
        shard, index, at = self._locate(i)
        offset, size = index.places[at, :2].tolist()
        return shard, offset, size

    def _byte_identity(self, at_range: Range) -> Identity:
        shard, offset, size = at_range
        return f"{shard} {self._version(shard)}", offset, size

    def _encoded_image(self, i: int, at_range: Range) -> EncodedImage:
        return EncodedImage(self._read(i, at_range), lambda: self.location(i))

    def _read(self, i: int, at_range: Range) -> bytes:
        if self._copies is not None:
            shard, offset, size = at_range
            with self._copies.open(shard, self._version(shard)) as file:
                file.seek(offset)
                return file.read(size)
        brought = self._prefetched.pop(i, None)
        return read_range(*at_range) if brought is None else brought

    def _read_index(self, shard: int) -> ShardIndex:
        index = read_index(self.shards[shard])
        if len(index) != self.sizes[shard]:
            raise UserError(
                f"{escape(self.shards[shard])}: its index has {len(index)} images, but the list of shards expects "
                f"{self.sizes[shard]}; create the shards again"
            )
        return index


def open_shards(source: str) -> ShardImages | None:
    """Open the shards of a source; None where it is a folder of single images, or no folder.

    Args:
        source: a tar file, a brace pattern of tar files such as `shards-{000..012}.tar`, a folder of tar files, or a
            URL of one of these. A folder that holds tar files and single images counts as a folder of single images,
            unless it has an `index.json`.

    Raises:
        UserError: a shard does not exist, is truncated or no tar, an index belongs to another shard, `prepare` has not
            finished the folder, or the URL runs a command.
    """
    is_remote = is_url(source)
    path = source.rstrip("/") if is_remote else Path(source).expanduser().as_posix()
    is_folder = not is_remote and os.path.isdir(path)
    if not is_folder:
        _check_shard_name(source, path)
    if strip_query(path).endswith(".tar") and not is_folder:
        shards = expand_braces(source, path)
        for folder in {} if is_remote else dict.fromkeys(map(_folder, shards)):
            _check_finished(folder)
        # A signed URL is valid for one file only: the folder index cannot be read.
        folders = {_folder(shard) for shard in shards if strip_query(shard) == shard}
        return _open_counted(source, shards, {folder: read_folder_index(folder) or {} for folder in folders})
    if is_folder:
        _check_finished(path)
    known = read_folder_index(path) if is_remote or is_folder else None
    names = list(known) if known is not None else list_files(path, ".tar")
    if known is None and names and not is_remote and has_images(path):
        return None
    return _open_counted(source, [f"{path}/{name}" for name in names], {path: known or {}}) if names else None


def _open_counted(source: str, shards: list[str], known: Mapping[str, Mapping[str, tuple[int, int]]]) -> ShardImages:
    """The shards, with their sizes from the folder indexes if these list all of them, else from their own indexes."""
    listed = [known.get(_folder(shard), {}).get(strip_query(shard).rpartition("/")[2]) for shard in shards]
    counted = [entry for entry in listed if entry is not None]
    if len(counted) < len(shards):
        return ShardImages(source, shards)
    for shard, (_, size) in zip(shards, counted, strict=True):
        if (
            not is_url(shard) and (found := file_size(shard)) != size
        ):  # the size of a remote shard is checked at its first use, because a request is slow
            raise UserError(
                f"{escape(shard)}: the shard has {found} bytes, but the list of shards expects {size}: it is truncated "
                "or replaced; copy it again"
            )
    return ShardImages(source, shards, [count for count, _ in counted], sum(size for _, size in counted))


def _check_shard_name(source: str, path: str) -> None:
    name = strip_query(path).rpartition("/")[2]
    if re.search(r"\.(tar\.\w+|tgz|tbz2?|txz|tzst)$", name, re.IGNORECASE):
        raise UserError(
            f"{escape(strip_query(source))}: a compressed tar does not allow random access; decompress it to a plain "
            ".tar (the images in it are already compressed)"
        )
    if name.endswith(".tar") and re.search(r"[*?\[]", name) and (is_url(path) or not os.path.exists(path)):
        raise UserError(
            f"{escape(strip_query(source))}: wildcards are not supported; write several shards with braces, as in "
            "shards-{000..012}.tar, or give their folder"
        )


def _check_finished(folder: str) -> None:
    """Raise for an unfinished output of `unpairaug prepare`: it writes the manifest last."""
    begun = not os.path.exists(f"{folder}/manifest.jsonl") and read_text(f"{folder}/prepare.json")
    if begun and '"photographs_digest"' in begun:
        raise UserError(
            f"{escape(folder)}: this preparation is not finished; run the same `unpairaug prepare` command again, and "
            "it resumes"
        )


def _folder(shard: str) -> str:
    return strip_query(shard).rpartition("/")[0] or "."


def _describe_skipped(shards: Sequence[str], indexes: Sequence[ShardIndex]) -> Iterator[str]:
    for shard, index in zip(shards, indexes, strict=True):
        if index.skipped_members:
            named = ", ".join(repr(name[:80]) for name in index.skipped_members[:MAX_LISTED]) + (
                ", …" if len(index.skipped_members) > MAX_LISTED else ""
            )
            many = f"{escape(shard)}: {len(index.skipped_members)} members"
            yield f"{many} are skipped, because they are no regular files or lead out of the folder: {named}"
    if beside := sorted({extension for index in indexes for extension in index.skipped_extensions}):
        named = ", ".join(repr(name[:80]) for name in beside[:MAX_LISTED]) + (", …" if len(beside) > MAX_LISTED else "")
        location = escape(strip_query(shards[0])) + (", …" if len(shards) > 1 else "")
        yield (
            f"{location}: further images of the samples are skipped: {named}; the image of a sample is the one whose "
            "extension has no dot"
        )


class _NameSequence(Sequence[str]):
    """The names of all images, composed from the indexes on access."""

    def __init__(self, images: ShardImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> str:  # type: ignore[override]  # no slices
        shard, index, at = self.images._locate(i)
        return f"{strip_query(shard).rpartition('/')[2]}/{index.keys[at]}.{index.extensions[at]}"
