"""Shards in WebDataset's format: plain tars of `key.ext` members, of bounded size, the same bytes on every run."""

from __future__ import annotations

import json
import os
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from unpairaug.data.images import write_file
from unpairaug.data.shard_index import ShardIndex, format_index, index_name

RECORD = tarfile.RECORDSIZE
"""A tar's size is a multiple of so many bytes."""


def shard_name(number: int) -> str:
    """The file name of a shard; all of them are `images-{000000..LAST}.tar`."""
    return f"images-{number:06}.tar"


def write_json(path: Path, content: Any) -> None:
    """Write a file of JSON whole or not at all."""
    write_file(path, (json.dumps(content) + "\n").encode())


class ShardWriter:
    """One shard while it is written; it gets its name when it is complete and on disk."""

    def __init__(self, folder: Path, number: int, limit: int) -> None:
        """Begin a shard of at most `limit` bytes, unless its only sample is larger."""
        self.path, self.limit = folder / shard_name(number), limit
        self.keys: list[str] = []
        self.extensions: list[str] = []
        self.places: list[tuple[int, int, int, int]] = []
        self._partial = folder / f".{self.path.name}.partial"
        self._file = self._partial.open("wb")
        # USTAR: one block before each member, and readable by everything that reads tars.
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT, encoding="utf-8")

    def fits(self, size: int) -> bool:
        """Whether a member of so many bytes leaves the shard within its bound; the first one always does."""
        blocks = 1 + -(-size // tarfile.BLOCKSIZE) + 2  # header, data, end of the archive
        return not self.keys or -(-(self._tar.offset + blocks * tarfile.BLOCKSIZE) // RECORD) * RECORD <= self.limit

    def add(self, key: str, ext: str, size: int, width: int, height: int, data: IO[bytes]) -> None:
        """Append a member of `size` bytes, read from `data`."""
        member = tarfile.TarInfo(f"{key}.{ext}")  # owner, group and time stay 0
        member.size, member.mode = size, 0o444
        offset = self._tar.offset + tarfile.BLOCKSIZE
        self._tar.addfile(member, data)
        self.keys.append(key)
        self.extensions.append(ext)
        self.places.append((offset, size, width, height))

    def close(self) -> dict[str, Any]:
        """Finish shard, and index if each sample is one image; return the shard's line of `index.json`."""
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        name = self.path.name
        if len(set(self.keys)) == len(self.keys):  # pairs are no set of images, and an index would make them one
            index = ShardIndex(self.keys, self.extensions, np.array(self.places, np.int64))
            write_file(self.path.with_name(index_name(name)), format_index(name, size, index).encode())
        self._partial.replace(self.path)
        return {"shard": name, "samples": len(self.keys), "bytes": size}

    def discard(self) -> None:
        """Forget a shard that was begun."""
        with suppress(OSError):  # on a full disk the rest cannot be written, and need not be
            self._file.close()
        self._partial.unlink(missing_ok=True)
