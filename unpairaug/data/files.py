"""Read whole files with limits, and write whole files atomically."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO

from unpairaug.data.decode import MAX_PIXELS
from unpairaug.errors import RunStopped, UserError, escape

MAX_BYTES = 9 * MAX_PIXELS
"""Larger image files are refused unread: `MAX_PIXELS` take at most 8 bytes each, plus metadata."""

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Faults that other files on the disk have, too."""
_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free disk space"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a place that you may write to"),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.EEXIST), "move the file or folder that is in the way"),
    errno.ENAMETOOLONG: "choose a shorter name",
}


class WriteError(RunStopped):
    """A file cannot be written; the message names it, the reason, and what to do. Exit code 1."""

    @property
    def is_of_disk(self) -> bool:
        """Whether the disk is at fault, full for example, so that no further file can be written either."""
        return isinstance(self.__cause__, OSError) and self.__cause__.errno in OF_THE_DISK


def check_regular_file(path: str | os.PathLike[str], limit: int) -> int:
    """The size in bytes of a file that can be read to its end: no pipe or device, which may never end.

    Raises:
        OSError: the file does not exist or is not accessible.
        UserError: it is no regular file, or larger than `limit` bytes.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{escape(path)}: this is no regular file, but a folder, pipe or device; give a regular file")
    if found.st_size > limit:
        raise UserError(f"{escape(path)}: {found.st_size} bytes exceed the limit of {limit}; give a smaller file")
    return found.st_size


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a local image file.

    Raises:
        UserError: it does not exist, is no regular file, cannot be opened, or is larger than `MAX_BYTES`.
    """
    try:
        check_regular_file(path, MAX_BYTES)
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        what = "the target of this link does not exist" if os.path.islink(path) else "there is no such image file"
        raise UserError(f"{escape(path)}: {what}") from error
    except OSError as error:
        raise UserError(
            f"{escape(path)}: this file cannot be opened ({error.strerror}); remove it or fix the cause"
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file atomically; see `open_atomic`.

    Raises:
        WriteError: it cannot be written; `path` is unchanged.
    """
    with open_atomic(path) as file:
        file.write(data)


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that replaces `path` at the end of the block, after a flush to disk.

    Missing parent folders are created. The data go to a temporary file beside `path` (see `partial_path`), which is
    removed on any error: `path` is then unchanged.

    Raises:
        WriteError: the file cannot be written.
    """
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def create_folder(path: Path) -> None:
    """Create a folder and its parents, unless it exists.

    Raises:
        WriteError: it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error, "folder") from error


@contextmanager
def name_write_errors(path: Path, kind: str = "file") -> Iterator[None]:
    """Write a file in this block, and name it where that fails.

    Raises:
        WriteError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise write_error(path, error, kind) from error


def write_error(path: Path, error: OSError, kind: str = "file") -> WriteError:
    """The error to raise in place of an `OSError` while `path` was written."""
    advice = _ADVICE.get(error.errno or 0, "fix the cause")
    reason = escape(error.strerror or type(error).__name__)
    return WriteError(f"{escape(path)}: this {kind} cannot be written ({reason}); {advice}")


def real_path(path: Path) -> Path:
    """The absolute path without links; unlike `Path.resolve`, it raises no error for a link to itself."""
    return Path(os.path.realpath(path))


def partial_path(path: Path) -> Path:
    """A hidden temporary file beside `path`, of this process alone; 21 bytes long, however long the name of `path`."""
    digest = blake2b(f"{path.name}\n{os.getpid()}".encode(errors="surrogateescape"), digest_size=6).hexdigest()
    return path.with_name(f".{digest}.partial")
