"""Shards of URLs on the local disk: each is fetched in one request, and the least recently used ones are deleted."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from tempfile import gettempdir
from typing import IO
from uuid import uuid4

from filelock import FileLock

from unpairaug.data.cache import cache_folder
from unpairaug.data.remote_files import fetch_file
from unpairaug.data.storage import is_url, stat_file, strip_query
from unpairaug.errors import RunStopped, escape

KEPT_FREE = 0.1
"""Share of the disk's free space that stays free, whatever the limit."""


class ShardCache:
    """Copies of shards in the cache folder, for all processes and runs of this machine, bounded in bytes."""

    def __init__(self, limit: int, folder: Path | None = None) -> None:
        """Set up the cache.

        Args:
            limit: bytes of all copies; a single larger shard is kept until the next one is fetched.
            folder: the folder of the copies; None takes `stream/` below the cache folder.
        """
        self.limit = limit
        self.folder = folder or cache_folder("stream") or Path(gettempdir()) / "unpairaug-stream"

    def open(self, shard: str, known: tuple[int, str] | None = None) -> IO[bytes]:
        """Open a shard; one of a URL is fetched first, unless there is a copy. Unlinking it does not disturb readers.

        Args:
            shard: its path or URL.
            known: what `stat_file` has returned for it, to save the request.

        Raises:
            UserError: it does not exist or cannot be read.
            RunStopped: the copy cannot be written.
        """
        if not is_url(shard):
            stat_file(shard)  # raises the message of a missing file
            return open(shard, "rb")
        size, mark = known or stat_file(shard)
        name = blake2b(f"{strip_query(shard)} {size} {mark}".encode(errors="surrogateescape"), digest_size=16)
        path = self.folder / f"{name.hexdigest()}.tar"
        if file := _open_copy(path):
            return file
        try:
            return self._fetch(shard, size, path)
        except OSError as error:
            raise RunStopped(
                f"{escape(self.folder)} cannot be written ({escape(error.strerror or error)}); free disk space, or set "
                "XDG_CACHE_HOME to a folder on another disk"
            ) from error

    def _fetch(self, shard: str, size: int, path: Path) -> IO[bytes]:
        partial = self.folder.parent / "stream.partial" / uuid4().hex
        locks = self.folder.parent / "stream.locks"
        for folder in (self.folder, partial.parent, locks):
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / path.name[:2]):  # other processes that want the shard wait for this copy
            if file := _open_copy(path):
                return file
            self._make_room(size)
            try:
                fetch_file(shard, partial, size)
                file = partial.open("rb")
                with FileLock(self.folder.parent / "stream.lock"):  # others may have fetched meanwhile
                    self._make_room(size)
                    partial.replace(path)
                return file
            finally:
                partial.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        """Delete the least recently used copies, so that one of `size` bytes fits."""
        from webdataset.cache import LRUCleanup

        used = 0
        for entry in os.scandir(self.folder):
            with suppress(FileNotFoundError):  # deleted by another process meanwhile
                used += entry.stat().st_size
        limit = min(self.limit, int((used + shutil.disk_usage(self.folder).free) * (1 - KEPT_FREE)))
        LRUCleanup(str(self.folder), max(0, limit - size), keyfn=os.path.getmtime, interval=None).cleanup()


def _open_copy(path: Path) -> IO[bytes] | None:
    """The copy at a path, from now on the most recently used one; None if there is none."""
    try:
        file = path.open("rb")
        with suppress(OSError):  # deleted by another process meanwhile
            os.utime(path)
    except OSError:
        return None
    return file
