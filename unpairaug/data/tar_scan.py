"""Build the index of a shard from the headers of its tar archive, without reading the data of the members."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import IO

import numpy as np
from numpy.typing import NDArray

from unpairaug.data.images import EXTENSIONS
from unpairaug.data.storage import open_file, strip_query
from unpairaug.errors import UserError, escape

SCAN_VERSION = 3
"""The version of `scan_shard`: increase it with every change of its result, so that older caches are not used."""
MAX_NAME = 1024
"""Characters of a member's name; no file system takes a longer one below a folder."""
BLOCK = tarfile.BLOCKSIZE
"""Bytes of a tar header; data and archive are padded to whole blocks."""


@dataclass(frozen=True)
class ShardIndex:
    """The locations of the images in one shard."""

    keys: list[str]
    """The keys of the samples: the member path up to the first dot of the file name."""
    extensions: list[str]
    """The rest of the file names, without the dot."""
    places: NDArray[np.int64]
    """(samples, 4): offset and size in bytes, width and height in pixels; 0 where the size is unknown."""
    skipped_members: list[str] = field(default_factory=list)
    """Skipped members: no regular files, or names with `..`, an absolute path, or more than `MAX_NAME` characters."""
    skipped_extensions: list[str] = field(default_factory=list)
    """Extensions of skipped further images of a sample, such as `seg.png` beside `jpg`."""

    def __len__(self) -> int:
        return len(self.keys)


def scan_shard(shard: str, size: int) -> ShardIndex:
    """Build the index of a shard from the headers of its members, without reading their data.

    Raises:
        UserError: the shard is truncated, damaged or no tar, holds no image, two images of one name, or several of one
            sample.
    """
    images: dict[str, tuple[int, int]] = {}
    skipped_members: list[str] = []
    end = 0
    try:
        with open_file(shard) as file:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    if member.offset_data + member.size > size:
                        raise tarfile.ReadError("its data are incomplete")
                    end = tar.offset  # the position of the next header
                    _classify_member(member, images, skipped_members, shard)
            _check_archive_end(file, end, size)
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(_truncation_message(shard, len(images), end, size, str(error))) from error
    if not images:
        raise UserError(f"{escape(strip_query(shard))}: no image in this shard; looked for {' '.join(EXTENSIONS)}")
    skipped_extensions = _keep_one_image_per_sample(images, shard)
    split = [_split_name(name) for name in images]
    places = np.array([(*place, 0, 0) for place in images.values()], np.int64)
    return ShardIndex(
        [key for key, _ in split], [intern(ending) for _, ending in split], places, skipped_members, skipped_extensions
    )


def _check_archive_end(file: IO[bytes], end: int, size: int) -> None:
    """Raise unless the archive ends after the last member.

    `tarfile` stops at zeros and at broken headers alike, anywhere in a file. A complete tar ends with two blocks of
    zeros (some programs write one), padded with zeros to whole records.
    """
    if end + BLOCK > size:
        raise tarfile.ReadError("the end of the archive is missing")
    file.seek(end)
    if any(file.read(BLOCK)):
        raise tarfile.ReadError("an invalid header follows")
    records = -(-(end + 2 * BLOCK) // tarfile.RECORDSIZE)
    if size > records * tarfile.RECORDSIZE or any(file.read(tarfile.RECORDSIZE)):
        raise tarfile.ReadError("data follow the end-of-archive marker")


def is_image_member(name: str) -> bool:
    """Whether a member of this name is read as an image, if it is a regular file.

    Skipped are hidden files and folders, as in a folder, and names that lead out of it or are too long.
    """
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    is_inside = not name.startswith(("/", "\\")) and ".." not in parts and len(name) <= MAX_NAME
    return is_inside and name.lower().endswith(EXTENSIONS) and not any(part.startswith(".") for part in parts)


def choose_image(extensions: Sequence[str]) -> str:
    """The extension of a sample's image: the only one, or the only one without a dot.

    For WebDataset `0.jpg` and `0.seg.png` belong to the sample `0`, under the names `jpg` and `seg.png`.

    Raises:
        ValueError: there are several images, and not exactly one of them has an extension without a dot.
    """
    plain = [extension for extension in extensions if "." not in extension]
    if len(extensions) > 1 and len(plain) != 1:
        raise ValueError(f"a sample has several images: {', '.join(extensions)}")
    return plain[0] if len(extensions) > 1 else extensions[0]


def _classify_member(
    member: tarfile.TarInfo, images: dict[str, tuple[int, int]], skipped_members: list[str], shard: str
) -> None:
    # `tar c .` writes `./a` for the member that other programs call `a`.
    parts = [part for part in re.split(r"[/\\]", member.name) if part not in ("", ".")]
    if member.isdir() or (".." not in parts and any(part.startswith(".") for part in parts)):
        return  # hidden files and folders are skipped, as in a folder
    if not member.isreg() or member.name.startswith(("/", "\\")) or ".." in parts or len(member.name) > MAX_NAME:
        skipped_members.append(member.name)
    elif is_image_member(member.name):
        name = "/".join(parts)
        if name in images:
            raise UserError(f"{escape(strip_query(shard))}: two members have the name {name!r}; create the shard again")
        images[name] = member.offset_data, member.size


def _keep_one_image_per_sample(images: dict[str, tuple[int, int]], shard: str) -> list[str]:
    """Remove further images of a sample, such as `0.seg.png` beside `0.jpg`; returns their extensions.

    Raises:
        UserError: a sample has several images, and not exactly one of them has an extension without a dot.
    """
    samples: dict[str, list[str]] = {}
    for name in images:
        samples.setdefault(_split_name(name)[0], []).append(name)
    skipped_extensions: set[str] = set()
    for names in samples.values():
        try:
            chosen = choose_image([_split_name(name)[1] for name in names])
        except ValueError as error:
            raise UserError(
                f"{escape(strip_query(shard))}: {names[0]!r} and {names[1]!r} are two images of one sample, because "
                "sample names end at the first dot; create shards with one image for each sample, as `unpairaug "
                "prepare --shards` does"
            ) from error
        for name in names:
            if (extension := _split_name(name)[1]) != chosen:
                skipped_extensions.add(extension)
                del images[name]
    return sorted(skipped_extensions)


def _split_name(name: str) -> tuple[str, str]:
    """(key, extension) by WebDataset's rule: the key of a sample ends at the first dot of the file name."""
    folder, slash, file = name.rpartition("/")
    key, _, extension = file.partition(".")
    return f"{folder}{slash}{key}", extension


def _truncation_message(shard: str, whole: int, end: int, size: int, reason: str) -> str:
    if not end:
        return (
            f"{escape(strip_query(shard))}: not a complete tar archive ({escape(reason)}); remove it or copy it again"
        )
    return (
        f"{escape(strip_query(shard))}: this shard is truncated or damaged ({escape(reason)}); intact: the first "
        f"{whole} images, {end} of {size} bytes; copy it or create it again"
    )
