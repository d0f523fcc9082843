"""Read and write whole files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from unpairaug.data.decode import MAX_PIXELS
from unpairaug.errors import UserError, escape

MAX_BYTES = 9 * MAX_PIXELS
"""Larger files are refused unread: `MAX_PIXELS` take 8 bytes each at most, and what is said about them some more."""


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image file.

    Raises:
        UserError: it is missing, no regular file (a pipe would never end), unreadable, or larger than `MAX_BYTES`.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{escape(path)}: this is no regular file; expected an image")
        if found.st_size > MAX_BYTES:
            raise UserError(
                f"{escape(path)}: {found.st_size} bytes, more than any {MAX_PIXELS} pixels; make it smaller"
            )
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        what = "a link to a file that is not there" if os.path.islink(path) else "there is no such image file"
        raise UserError(f"{escape(path)}: {what}") from error
    except OSError as error:
        raise UserError(
            f"{escape(path)}: this file cannot be opened ({error.strerror}); remove it or mend that"
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Write bytes, and the folders they lie in; the path never holds half of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")  # hidden: list_images passes over it
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
