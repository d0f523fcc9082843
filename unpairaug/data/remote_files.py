"""Whole files behind a URL: list, read, fetch, upload and remove them; requests that fail for a moment are repeated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from unpairaug.data.files import MAX_BYTES, read_file
from unpairaug.data.retry import format_reason, retry
from unpairaug.data.storage import is_url, remote_file_system, server_name, strip_query
from unpairaug.errors import RunStopped, UserError, escape


def list_tree(folder: str) -> dict[str, int]:
    """The size in bytes of every file below a folder behind a URL, by its relative path with forward slashes.

    Raises:
        UserError: it cannot be listed.
    """
    files, inner = remote_file_system(folder)

    def find() -> dict[str, Any]:
        files.invalidate_cache()  # of listings: other processes write there
        return files.find(inner, detail=True)

    with _named_errors(folder, "cannot be listed"):
        found = retry(server_name(folder), find)
    start = f"{inner.rstrip('/')}/"
    return {
        name[len(start) :]: int(facts["size"])
        for name, facts in sorted(found.items())
        if name.startswith(start) and not name.endswith("/") and is_inside(name[len(start) :])
    }


def is_inside(name: str) -> bool:
    """Whether a relative path with forward slashes stays in its folder: keys of a bucket may hold anything."""
    return not re.search(r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^\w:|\0", name)


def read_image_bytes(path: str | PathLike[str]) -> bytes:
    """The bytes of an image file, local or behind a URL.

    Raises:
        UserError: it does not exist, is no regular file, cannot be read, or is larger than `MAX_BYTES`.
    """
    name = fspath(path)
    return read_bytes(name, MAX_BYTES) if is_url(name) else read_file(path)


def read_bytes(url: str, limit: int) -> bytes:
    """The content of a file behind a URL.

    Raises:
        UserError: it does not exist, is larger than `limit` bytes, or cannot be read.
    """
    files, inner = remote_file_system(url)
    with _named_errors(url, "cannot be read"):
        size = int(retry(server_name(url), lambda: files.info(inner))["size"])
        if size > limit:
            raise UserError(
                f"{escape(strip_query(url))}: {size} bytes exceed the limit of {limit}; give a smaller file"
            )
        return retry(server_name(url), lambda: files.cat_file(inner))


def upload_file(path: Path, url: str) -> None:
    """Copy a local file to a URL, where it appears as a whole.

    Raises:
        RunStopped: it cannot be written.
    """
    files, inner = remote_file_system(url)
    try:
        retry(server_name(url), lambda: files.put_file(str(path), inner))
    except Exception as error:  # every file system of fsspec has its own exceptions
        raise RunStopped(
            f"{escape(strip_query(url))}: cannot be written ({format_reason(error)}); the same command resumes"
        ) from error


def remove_files(urls: Sequence[str]) -> None:
    """Remove files behind a URL.

    Raises:
        UserError: one cannot be removed.
    """
    for url in urls:
        files, inner = remote_file_system(url)
        with _named_errors(url, "cannot be removed"), suppress(FileNotFoundError):
            retry(server_name(url), partial(files.rm_file, inner))


@contextmanager
def _named_errors(url: str, what: str) -> Iterator[None]:
    """Raise a `UserError` that names the URL in place of the exceptions of any file system."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{escape(strip_query(url))}: there is no such file") from error
    except Exception as error:  # every file system of fsspec has its own exceptions
        raise UserError(f"{escape(strip_query(url))}: {what} ({format_reason(error)})") from error


def fetch_file(url: str, path: Path, size: int) -> None:
    """Copy a file of `size` bytes from a URL to a local path, in one request where nothing fails.

    Raises:
        UserError: it cannot be read, or has another size.
        OSError: the local file cannot be written.
    """
    files, inner = remote_file_system(url)

    def fetch() -> None:
        files.get_file(inner, str(path))
        if path.stat().st_size < size:
            raise ConnectionError(f"{path.stat().st_size} of {size} bytes arrived")

    try:
        retry(server_name(url), fetch)
    except Exception as error:  # every file system of fsspec has its own exceptions
        if isinstance(error, OSError) and error.filename is not None:  # of the local file
            raise
        raise UserError(f"{escape(strip_query(url))}: cannot be read ({format_reason(error)})") from error
    if (found := path.stat().st_size) != size:
        raise UserError(f"{escape(strip_query(url))}: {found} bytes, not {size}; it was replaced meanwhile")
