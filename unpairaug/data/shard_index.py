"""The index of a shard: a file beside the tar, or the result of one scan of the tar's headers.

`NAME.index.json` beside `NAME.tar`, version 1:

    {"version": 1, "shard": "NAME.tar", "bytes": 123456, "samples": [{"key": "a/1", "ext": "png", "offset": 512,
     "size": 4711, "width": 480, "height": 480}, …]}

`offset` is the position of the member's data, `bytes` the size of the tar. `index.json` in the folder lists the shards:
`{"version": 1, "shards": [{"shard": "NAME.tar", "samples": 1000, "bytes": 123456}, …]}`.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from sys import intern
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from unpairaug.data.cache import cache_folder, read_cached, write_cached
from unpairaug.data.files import write_file
from unpairaug.data.images import EXTENSIONS
from unpairaug.data.storage import is_url, open_file, read_text, stat_file, strip_query
from unpairaug.errors import UserError, escape

VERSION = 1
FOLDER_INDEX = "index.json"
"""The file in a folder that lists its shards."""
_BLOCK = tarfile.BLOCKSIZE
"""Bytes of a tar header; data and archive are padded to whole blocks."""
_SCAN_VERSION = 3
"""The version of `scan_shard`: increase it with every change of its result, so that older caches are not used."""
_INVALID_INDEX = (KeyError, TypeError, ValueError, OverflowError, AttributeError)
"""The exceptions that an invalid index raises while it is read."""


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
    """Skipped members: no regular files, or names with `..` or an absolute path."""
    skipped_extensions: list[str] = field(default_factory=list)
    """Extensions of skipped further images of a sample, such as `seg.png` beside `jpg`."""

    def __len__(self) -> int:
        return len(self.keys)


def index_name(shard: str) -> str:
    """The name of the index file beside a shard."""
    return shard.removesuffix(".tar") + ".index.json"


def format_index(shard: str, size: int, index: ShardIndex) -> str:
    """The text of the index file of a shard of `size` bytes."""
    return json.dumps(_index_to_json(shard, size, index)) + "\n"


def format_folder_index(shards: Mapping[str, tuple[int, int]]) -> str:
    """The text of `index.json`, from the number of images and bytes of each shard by its name."""
    listed = [{"shard": name, "samples": samples, "bytes": size} for name, (samples, size) in shards.items()]
    return json.dumps({"version": VERSION, "shards": listed}) + "\n"


def read_index(shard: str) -> ShardIndex:
    """The index of a shard: from the file beside it, from the cache, or from a scan.

    Raises:
        UserError: the shard does not exist, is truncated or no tar, or the index belongs to another shard.
    """
    size, mark = stat_file(shard)
    path = index_name(shard)
    if strip_query(shard) == shard and (text := read_text(path)) is not None:  # a signed URL is valid for one file only
        return _validate_index(_parse_json(text, path), path, shard, size)
    cached = _cache_path(shard, size, mark)
    if (text := read_cached(cached)) is not None:
        try:
            return _validate_index(_parse_json(text, str(cached)), str(cached), shard, size)
        except UserError:
            pass  # a broken cache file: the shard is scanned again
    index = scan_shard(shard, size)
    write_cached(cached, format_index(shard, size, index))
    return index


def read_folder_index(folder: str) -> dict[str, tuple[int, int]] | None:
    """Number of images and bytes of each shard by its name, from `index.json`; None if the folder has no such file.

    Raises:
        UserError: the file is invalid.
    """
    path = f"{folder}/{FOLDER_INDEX}"
    text = read_text(path)
    if text is None or '"shards"' not in text:
        return None  # another file of that name
    try:
        values = _parse_json(text, path)
        sizes = {str(one["shard"]): (int(one["samples"]), int(one["bytes"])) for one in values["shards"]}
    except _INVALID_INDEX as error:
        raise _index_error(path, f"not a list of shards ({error!r})") from error
    if wrong := [name for name in sizes if re.search(r"[/\\]", name) or not name.endswith(".tar")]:
        raise _index_error(path, f"{wrong[0]!r} is no shard of this folder")
    # Each member has a header; and sizes beyond any file would overflow the sums.
    if wrong := [name for name, (samples, size) in sizes.items() if not 0 < samples * _BLOCK <= size < 2**50]:
        raise _index_error(
            path, f"{sizes[wrong[0]][0]} images in {sizes[wrong[0]][1]} bytes of {wrong[0]!r} are impossible"
        )
    return sizes


def write_index(shard: str) -> None:
    """Scan a local shard and write its index beside it, without sizes in pixels.

    Raises:
        UserError: as `scan_shard` does.
        WriteError: the index cannot be written.
    """
    size, _ = stat_file(shard)
    text = format_index(shard, size, scan_shard(shard, size))
    write_file(Path(index_name(shard)), text.encode())


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
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
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
    if end + _BLOCK > size:
        raise tarfile.ReadError("the end of the archive is missing")
    file.seek(end)
    if any(file.read(_BLOCK)):
        raise tarfile.ReadError("an invalid header follows")
    records = -(-(end + 2 * _BLOCK) // tarfile.RECORDSIZE)
    if size > records * tarfile.RECORDSIZE or any(file.read(tarfile.RECORDSIZE)):
        raise tarfile.ReadError("data follow the end-of-archive marker")


def _classify_member(
    member: tarfile.TarInfo, images: dict[str, tuple[int, int]], skipped_members: list[str], shard: str
) -> None:
    # `tar c .` writes `./a` for the member that other programs call `a`.
    parts = [part for part in re.split(r"[/\\]", member.name) if part not in ("", ".")]
    if member.isdir() or (".." not in parts and any(part.startswith(".") for part in parts)):
        return  # hidden files and folders are skipped, as in a folder
    if not member.isreg() or member.name.startswith(("/", "\\")) or ".." in parts:
        skipped_members.append(member.name)
    elif member.name.lower().endswith(EXTENSIONS):
        name = "/".join(parts)
        if name in images:
            raise UserError(f"{escape(strip_query(shard))}: two members have the name {name!r}; create the shard again")
        images[name] = member.offset_data, member.size


def _keep_one_image_per_sample(images: dict[str, tuple[int, int]], shard: str) -> list[str]:
    """Remove further images of a sample, such as `0.seg.png` beside `0.jpg`; returns their extensions.

    For WebDataset both belong to the sample `0`, under the names `jpg` and `seg.png`.

    Raises:
        UserError: a sample has several images, and not exactly one of them has an extension without a dot.
    """
    samples: dict[str, list[str]] = {}
    for name in images:
        samples.setdefault(_split_name(name)[0], []).append(name)
    skipped_extensions: set[str] = set()
    for names in samples.values():
        plain = [name for name in names if "." not in _split_name(name)[1]]
        if len(names) > 1 and len(plain) != 1:
            raise UserError(
                f"{escape(strip_query(shard))}: {names[0]!r} and {names[1]!r} are two images of one sample, because "
                "sample names end at the first dot; create shards with one image for each sample, as `unpairaug "
                "prepare --shards` does"
            )
        for name in set(names) - set(plain) if len(names) > 1 else ():
            skipped_extensions.add(_split_name(name)[1])
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


def _validate_index(values: dict[str, Any], path: str, shard: str, size: int) -> ShardIndex:
    """The parsed index of a shard.

    Raises:
        UserError: it is invalid, or belongs to another shard.
    """
    try:
        index = _index_from_json(values)
        said = int(values["bytes"])
    except _INVALID_INDEX as error:
        raise _index_error(path, f"not an index of a shard ({error!r})") from error
    offsets, lengths = index.places[:, 0], index.places[:, 1]
    inside = (
        (index.places.min(axis=1) >= 0) & (offsets <= size) & (lengths <= size - offsets)
    )  # the sum of the two may overflow
    if said != size:
        whole = int(inside.sum())
        raise UserError(
            f"{escape(strip_query(shard))}: the shard has {size} bytes, but its index expects {said}: it is truncated "
            f"or replaced (at most {whole} of {len(index)} images are intact); copy both again, or remove the index "
            f"{escape(path)}"
        )
    if len(index) == 0 or not inside.all():
        raise _index_error(path, f"refers to images outside of {escape(strip_query(shard))}")
    return index


def _index_from_json(values: dict[str, Any]) -> ShardIndex:
    samples = values["samples"]
    keys = ("offset", "size", "width", "height")
    places = np.array([[int(sample[key]) for key in keys] for sample in samples], np.int64).reshape(-1, 4)
    names = [str(sample["key"]) for sample in samples], [intern(str(sample["ext"])) for sample in samples]
    return ShardIndex(*names, places, *([str(name) for name in values.get(left, [])] for left in ("odd", "beside")))


def _index_to_json(shard: str, size: int, index: ShardIndex) -> dict[str, Any]:
    rows = zip(index.keys, index.extensions, index.places.tolist(), strict=True)
    samples = [
        {"key": key, "ext": extension, "offset": offset, "size": length, "width": width, "height": height}
        for key, extension, (offset, length, width, height) in rows
    ]
    values = {"version": VERSION, "shard": strip_query(shard).rpartition("/")[2], "bytes": size, "samples": samples}
    left_out = {"odd": index.skipped_members, "beside": index.skipped_extensions}
    return {**values, **{why: names for why, names in left_out.items() if names}}


def _parse_json(text: str, path: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _index_error(path, f"this index is no JSON ({error})") from error
    if not isinstance(values, dict) or values.get("version", VERSION) != VERSION:
        raise _index_error(path, f"not an index of version {VERSION}")
    return values


def _cache_path(shard: str, size: int, mark: str) -> Path | None:
    """The cache file of the index of a shard."""
    folder = cache_folder("shards")
    place = strip_query(shard) if is_url(shard) else os.path.realpath(shard)
    words = f"{_SCAN_VERSION} {place} {size} {mark}".encode(errors="surrogateescape")
    return None if folder is None else folder / f"{blake2b(words, digest_size=16).hexdigest()}.json"


def _index_error(path: str, reason: str) -> UserError:
    return UserError(f"{escape(path)}: {escape(reason)}; create the shards again, or remove it")
