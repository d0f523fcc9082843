"""Write shards in WebDataset's format: plain tars of `key.ext` members, of bounded size, with reproducible bytes."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from unpairaug.data.files import partial_path, write_file
from unpairaug.data.shard_index import format_index, index_name
from unpairaug.data.tar_scan import ShardIndex

RECORD = tarfile.RECORDSIZE
"""The size of a tar is a multiple of this number of bytes."""


def shard_name(number: int) -> str:
    """The file name of a shard; together they match `images-{000000..LAST}.tar`."""
    return f"images-{number:06}.tar"


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_file(path, (json.dumps(content) + "\n").encode())


class ShardWriter:
    """Writes one shard with WebDataset's `TarWriter`; the file gets its name when it is complete and on disk.

    WebDataset's own `ShardWriter` starts a new shard after a sample has exceeded the limit, gives an incomplete shard
    its final name, and writes no index.
    """

    def __init__(self, folder: Path, number: int, limit: int) -> None:
        """Open a shard of at most `limit` bytes; a single larger sample gets a shard of its own."""
        from webdataset.writer import TarWriter  # imports torch

        self.path, self.limit = folder / shard_name(number), limit
        self.keys: list[str] = []
        self.extensions: list[str] = []
        self.places: list[tuple[int, int, int, int]] = []
        self._partial = partial_path(self.path)
        self._file = self._partial.open("wb")
        # No owner, no time, and the USTAR format with one header block for each member: the bytes are reproducible.
        self._writer = TarWriter(
            self._file, user="", group="", mode=0o444, mtime=0, encoder=False, format="USTAR_FORMAT"
        )

    def fits(self, size: int) -> bool:
        """Whether a member of `size` bytes fits within the limit; the first member always does."""
        blocks = 1 + -(-size // tarfile.BLOCKSIZE) + 2  # header, data, end-of-archive marker
        end = self._writer.tarstream.offset + blocks * tarfile.BLOCKSIZE
        return not self.keys or -(-end // RECORD) * RECORD <= self.limit

    def add(self, key: str, images: Mapping[str, tuple[bytes, int, int]]) -> None:
        """Append a sample: for each extension the bytes of an image, and its width and height in pixels.

        The images are written in the order of their extensions.
        """
        offset = self._writer.tarstream.offset
        for ext, (data, width, height) in sorted(images.items()):
            self.keys.append(key)
            self.extensions.append(ext)
            self.places.append((offset + tarfile.BLOCKSIZE, len(data), width, height))
            offset += (1 + -(-len(data) // tarfile.BLOCKSIZE)) * tarfile.BLOCKSIZE
        self._writer.write({"__key__": key, **{ext: data for ext, (data, _, _) in images.items()}})

    def close(self) -> dict[str, Any]:
        """Complete the shard, write its index if each sample is one image, and return its entry of `index.json`."""
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        name = self.path.name
        if len(set(self.keys)) == len(
            self.keys
        ):  # shards of pairs have no index: an index would declare them a set of images
            index = ShardIndex(self.keys, self.extensions, np.array(self.places, np.int64))
            write_file(self.path.with_name(index_name(name)), format_index(name, size, index).encode())
        self._partial.replace(self.path)
        return {"shard": name, "samples": len(self.keys), "bytes": size}

    def discard(self) -> None:
        """Delete an incomplete shard."""
        stream: Any = self._writer.tarstream.fileobj
        stream.closed = True  # otherwise its destructor writes to the closed file
        with suppress(OSError):  # flushing fails on a full disk; the file is deleted anyway
            self._file.close()
        self._partial.unlink(missing_ok=True)
