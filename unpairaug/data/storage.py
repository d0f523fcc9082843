"""Bytes of files, here or behind a URL that fsspec opens. No URL runs a command."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from unpairaug.data.cache import cache_folder
from unpairaug.errors import UserError, escape
from unpairaug.registry.suggestions import suggest

COMMANDS = ("pipe", "cmd", "exec", "shell", "gopen")
"""What other programs take for a command in place of an address."""
CACHING = ("filecache", "simplecache", "blockcache")
"""Links of an address that keep copies; by fsspec's default in a new folder for each process, so never found again."""


def is_url(source: str) -> bool:
    """Whether the source is an address such as `s3://bucket/folder`, rather than a path.

    Raises:
        UserError: it is a command, or an address of a kind that fsspec does not know.
    """
    if "://" not in source and not re.match(rf"({'|'.join(COMMANDS)})\s*:", source):
        return False
    from fsspec import available_protocols

    known = available_protocols()
    for link in source.split("::"):  # fsspec's chains, such as filecache::s3://…
        scheme = re.split(r":|\s", link)[0]
        if scheme in COMMANDS:
            raise UserError(
                f"{escape(source)}: {escape(scheme)}: is a command, and no source of data runs one; give a path, a "
                "brace pattern, or a URL such as s3://bucket/shards-{000..099}.tar"
            )
        if scheme not in known:
            hint = suggest(scheme, known, list_known=True)
            raise UserError(f"{escape(source)}: fsspec knows no kind of address {scheme!r}; {hint}")
    return True


def strip_query(path: str) -> str:
    """The path, or the URL without a signature such as `?X-Amz-Signature=…`: what names and messages are made of."""
    return path.partition("?")[0] if re.match(r"(\w+::)*https?://", path) else path


def read_range(path: str, offset: int, size: int) -> bytes:
    """Some bytes of a file.

    Raises:
        UserError: the file is not there, is shorter, or cannot be read.
    """
    (data,) = read_ranges([(path, offset, size)])
    return data


def read_ranges(ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """The bytes of several (path, offset, size); from far away all at once, so that one waits for the slowest only.

    Raises:
        UserError: a file is not there, is shorter, or cannot be read.
    """
    try:
        found = (
            _read_remote_ranges(ranges)
            if ranges and is_url(ranges[0][0])
            else [_read_local_range(*one) for one in ranges]
        )
    except Exception as error:  # every file system of fsspec has errors of its own
        raise UserError(f"{escape(strip_query(ranges[0][0]))}: cannot be read ({_format_reason(error)})") from error
    for (path, offset, size), data in zip(ranges, found, strict=True):
        if len(data) != size:
            raise UserError(
                f"{escape(strip_query(path))}: ends after {offset + len(data)} bytes, and {offset + size} are wanted; copy it "
                "again"
            )
    return found


def read_text(path: str) -> str | None:
    """The whole of a text file, or None where there is none.

    Raises:
        UserError: it cannot be read.
    """
    try:
        if not is_url(path):
            return Path(path).read_text(encoding="utf-8")
        files, inner = _remote_file_system(path)
        return files.cat_file(inner).decode("utf-8")
    except FileNotFoundError:
        return None
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(f"{escape(strip_query(path))}: cannot be read ({_format_reason(error)})") from error


def file_size(path: str) -> int:
    """The size of a file in bytes.

    Raises:
        UserError: there is no such file, or nothing can be found out about it.
    """
    return stat_file(path)[0]


def stat_file(path: str) -> tuple[int, str]:
    """The size of a file in bytes, and words that change when the file does.

    Raises:
        UserError: there is no such file, or nothing can be found out about it.
    """
    try:
        if not is_url(path):
            found = os.stat(path)
            return found.st_size, str(found.st_mtime_ns)
        files, inner = _remote_file_system(path)
        facts = files.info(inner)
        marks = (facts.get(key) for key in ("ETag", "etag", "LastModified", "last_modified", "mtime", "created"))
        return int(facts["size"]), str(next((mark for mark in marks if mark), ""))
    except FileNotFoundError as error:
        raise UserError(f"{escape(strip_query(path))}: there is no such file") from error
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(f"{escape(strip_query(path))}: cannot be read ({_format_reason(error)})") from error


def open_file(path: str) -> IO[bytes]:
    """The file to read from and to seek in."""
    if not is_url(path):
        return open(path, "rb")
    files, inner = _remote_file_system(path)
    return files.open(inner, "rb")


def list_files(folder: str, ending: str) -> list[str]:
    """The names of the files in a folder that end so, sorted; none where it is no folder.

    Raises:
        UserError: it cannot be listed.
    """
    try:
        if not is_url(folder):
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in entries if entry.name.endswith(ending) and entry.is_file())
        files, inner = _remote_file_system(folder)
        names = (str(name).rstrip("/").rpartition("/")[2] for name in files.ls(inner, detail=False))
        return sorted(name for name in names if name.endswith(ending))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(f"{escape(folder)}: cannot be listed ({_format_reason(error)})") from error


def _read_local_range(path: str, offset: int, size: int) -> bytes:
    # Opened anew each time, for some microseconds: a handle that processes inherit would share its position.
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        return file.read(size)


def _read_remote_ranges(ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
    files = _remote_file_system(ranges[0][0])[0]
    paths = [_remote_file_system(path)[1] for path, _, _ in ranges]
    starts = [offset for _, offset, _ in ranges]
    return files.cat_ranges(paths, starts, [offset + size for _, offset, size in ranges], on_error="raise")


def _remote_file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for the URL, made anew after a fork and else remembered by fsspec, and the path there."""
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(url, **_cache_options(url))
    except ImportError as error:
        raise UserError(f"{escape(strip_query(url))}: {error}") from error


def _cache_options(url: str) -> dict[str, Any]:
    """Where the caching links of the URL keep their copies: one place for all processes and runs."""
    links = [re.split(r":", link)[0] for link in url.split("::")]
    folder = cache_folder("files")
    if folder is None:
        return {}
    return {link: {"cache_storage": str(folder / link)} for link in links if link in CACHING}


def _format_reason(error: Exception) -> str:
    return escape(str(error).split("\n")[0]) or type(error).__name__
