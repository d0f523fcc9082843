"""Write shards in WebDataset's format: plain tars of `key.ext` members, of bounded size, with reproducible bytes."""

from __future__ import annotations

import json
import os
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

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
    """Writes one shard; the file gets its name when it is complete and on disk."""

    def __init__(self, folder: Path, number: int, limit: int) -> None:
        """Open a shard of at most `limit` bytes; a single larger sample gets a shard of its own."""
        self.path, self.limit = folder / shard_name(number), limit
        self.keys: list[str] = []
        self.extensions: list[str] = []
        self.places: list[tuple[int, int, int, int]] = []
        self._partial = partial_path(self.path)
        self._file = self._partial.open("wb")
        # USTAR: one header block for each member, and every tar reader supports it.
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT, encoding="utf-8")

    def fits(self, size: int) -> bool:
        """Whether a member of `size` bytes fits within the limit; the first member always does."""
        blocks = 1 + -(-size // tarfile.BLOCKSIZE) + 2  # header, data, end-of-archive marker
        return not self.keys or -(-(self._tar.offset + blocks * tarfile.BLOCKSIZE) // RECORD) * RECORD <= self.limit

    def add(self, key: str, ext: str, size: int, width: int, height: int, data: IO[bytes]) -> None:
        """Append a member of `size` bytes from `data`; `width` and `height` are in pixels."""
        member = tarfile.TarInfo(f"{key}.{ext}")  # owner, group and time are 0, so that the bytes are reproducible
        member.size, member.mode = size, 0o444
        offset = self._tar.offset + tarfile.BLOCKSIZE
        self._tar.addfile(member, data)
        self.keys.append(key)
        self.extensions.append(ext)
        self.places.append((offset, size, width, height))

    def close(self) -> dict[str, Any]:
        """Complete the shard, write its index if each sample is one image, and return its entry of `index.json`."""
        self._tar.close()
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
        with suppress(OSError):  # flushing fails on a full disk; the file is deleted anyway
            self._file.close()
        self._partial.unlink(missing_ok=True)
