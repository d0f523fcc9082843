"""Read local files, and remote files through fsspec. No URL runs a command."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from unpairaug.data.cache import cache_folder
from unpairaug.data.files import check_regular_file
from unpairaug.data.retry import format_reason, retry
from unpairaug.errors import UserError, escape
from unpairaug.registry.suggestions import suggest

COMMANDS = ("pipe", "cmd", "exec", "shell", "gopen")
"""URL schemes that other programs treat as commands."""
MAX_TEXT_BYTES = 2**26
"""Larger text files are refused unread; an index of half a million images is smaller."""
MAX_SHARD_BYTES = 2**50
"""No file system holds a larger file."""
CACHING = ("filecache", "simplecache", "blockcache")
"""fsspec's caching protocols. By default each process caches in a new folder, so no other process finds the copies."""


def is_url(source: str) -> bool:
    """Whether the source is a URL such as `s3://bucket/folder`, and not a path.

    Raises:
        UserError: it is a command, or a URL with a scheme that fsspec does not know.
    """
    if "://" not in source and not re.match(rf"({'|'.join(COMMANDS)})\s*:", source):
        return False
    from fsspec import available_protocols

    known = available_protocols()
    for link in source.split("::"):  # chained protocols of fsspec, such as filecache::s3://…
        scheme = re.split(r":|\s", link)[0]
        if scheme in COMMANDS:
            raise UserError(
                f"{escape(source)}: {escape(scheme)}: is a command, and data sources run no commands; give a path, a "
                "brace pattern, or a URL such as s3://bucket/shards-{000..099}.tar"
            )
        if scheme not in known:
            hint = suggest(scheme, known, list_known=True)
            raise UserError(f"{escape(source)}: fsspec knows no URL scheme {scheme!r}; {hint}")
    return True


def strip_query(path: str) -> str:
    """The path, or the URL without its query such as `?X-Amz-Signature=…`, for names and messages."""
    return path.partition("?")[0] if re.match(r"(\w+::)*https?://", path) else path


def read_range(path: str, offset: int, size: int) -> bytes:
    """Read a byte range of a file.

    Raises:
        UserError: the file does not exist, is shorter, or cannot be read.
    """
    (data,) = read_ranges([(path, offset, size)])
    return data


def read_ranges(ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """Read several (path, offset, size) in bytes; remote ranges are read concurrently.

    Raises:
        UserError: a file does not exist, is shorter, or cannot be read.
    """
    try:
        found = (
            _read_remote_ranges(ranges)
            if ranges and is_url(ranges[0][0])
            else [_read_local_range(*one) for one in ranges]
        )
    except Exception as error:  # every file system of fsspec has its own exceptions
        raise UserError(f"{escape(strip_query(ranges[0][0]))}: cannot be read ({format_reason(error)})") from error
    for (path, offset, size), data in zip(ranges, found, strict=True):
        if len(data) != size:
            end = offset + len(data)
            raise UserError(f"{escape(strip_query(path))}: ends after {end} bytes, not {offset + size}; copy it again")
    return found


def read_text(path: str) -> str | None:
    """Read a text file; None if it does not exist.

    Raises:
        UserError: it cannot be read.
    """
    try:
        if not is_url(path):
            check_regular_file(path, MAX_TEXT_BYTES)
            return Path(path).read_text(encoding="utf-8")
        files, inner = remote_file_system(path)
        if (size := int(retry(server_name(path), lambda: files.info(inner))["size"])) > MAX_TEXT_BYTES:
            raise UserError(f"{escape(strip_query(path))}: {size} bytes exceed the limit of {MAX_TEXT_BYTES}")
        return retry(server_name(path), lambda: files.cat_file(inner)).decode("utf-8")
    except FileNotFoundError:
        return None
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(f"{escape(strip_query(path))}: cannot be read ({format_reason(error)})") from error


def file_size(path: str) -> int:
    """The size of a file in bytes.

    Raises:
        UserError: the file does not exist or is not accessible.
    """
    return stat_file(path)[0]


def stat_file(path: str) -> tuple[int, str]:
    """The size of a file in bytes, and a version string that changes with the file.

    Raises:
        UserError: the file does not exist or is not accessible.
    """
    try:
        if not is_url(path):
            size = check_regular_file(path, MAX_SHARD_BYTES)
            return size, str(os.stat(path).st_mtime_ns)
        files, inner = remote_file_system(path)
        facts = retry(server_name(path), lambda: files.info(inner))
        marks = (facts.get(key) for key in ("ETag", "etag", "LastModified", "last_modified", "mtime", "created"))
        return int(facts["size"]), str(next((mark for mark in marks if mark), ""))
    except FileNotFoundError as error:
        raise UserError(f"{escape(strip_query(path))}: there is no such file") from error
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(f"{escape(strip_query(path))}: cannot be read ({format_reason(error)})") from error


def open_file(path: str) -> IO[bytes]:
    """Open a file for reading, with random access; requests that fail for a moment are repeated."""
    if not is_url(path):
        return open(path, "rb")
    files, inner = remote_file_system(path)
    file: Any = retry(server_name(path), lambda: files.open(inner, "rb"))
    if cache := getattr(file, "cache", None):  # fsspec's buffered files fetch ranges while they are read
        fetch = cache.fetcher
        cache.fetcher = lambda start, end: retry(server_name(path), lambda: fetch(start, end))
    return file


def server_name(url: str) -> str:
    """The protocol and the bucket or host of a URL, without credentials, for messages."""
    scheme, _, rest = url.rpartition("://")
    return escape(f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}")


def list_files(folder: str, ending: str) -> list[str]:
    """The sorted names of the files in a folder that have this ending; an empty list if there is no such folder.

    Raises:
        UserError: it cannot be listed.
    """
    try:
        if not is_url(folder):
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in entries if entry.name.endswith(ending) and entry.is_file())
        files, inner = remote_file_system(folder)
        found = retry(server_name(folder), lambda: files.ls(inner, detail=False))
        names = (str(name).rstrip("/").rpartition("/")[2] for name in found)
        return sorted(name for name in names if name.endswith(ending))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(f"{escape(folder)}: cannot be listed ({format_reason(error)})") from error


def _read_local_range(path: str, offset: int, size: int) -> bytes:
    # Opened for each range, which costs microseconds: processes would share the position of an inherited handle.
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        return file.read(size)


def _read_remote_ranges(ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
    files = remote_file_system(ranges[0][0])[0]
    paths = [remote_file_system(path)[1] for path, _, _ in ranges]
    starts = [offset for _, offset, _ in ranges]
    ends = [offset + size for _, offset, size in ranges]
    return retry(server_name(ranges[0][0]), lambda: files.cat_ranges(paths, starts, ends, on_error="raise"))


def remote_file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for the URL, and the path in it; fsspec caches the instance for each process."""
    from fsspec.core import url_to_fs

    try:
        files, inner = url_to_fs(url, **_options(url))
    except ImportError as error:
        raise UserError(f"{escape(strip_query(url))}: {error}") from error
    for one in (files, getattr(files, "fs", files)):  # a cache and what is behind it
        if hasattr(one, "retries"):
            setattr(one, "retries", 1)  # noqa: B010  # s3fs repeats requests without a word; `retry` does it instead
    return files, inner


def _options(url: str) -> dict[str, Any]:
    """Options of the file systems in a URL, by protocol.

    Caching protocols get one folder for all processes and runs; S3's client does not repeat requests by itself.
    """
    links = [re.split(r":", link)[0] for link in url.split("::")]
    folder, once = cache_folder("files"), {"retries": {"mode": "standard", "total_max_attempts": 1}}
    options: dict[str, Any] = {link: {"config_kwargs": once} for link in links if link in ("s3", "s3a")}
    if folder is not None:
        options |= {link: {"cache_storage": str(folder / link)} for link in links if link in CACHING}
    return options
