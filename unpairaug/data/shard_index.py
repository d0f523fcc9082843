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
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from unpairaug.data.cache import cache_folder, read_cached, write_cached
from unpairaug.data.files import write_file
from unpairaug.data.storage import is_url, read_text, stat_file, strip_query
from unpairaug.data.tar_scan import BLOCK, MAX_NAME, SCAN_VERSION, ShardIndex, scan_shard
from unpairaug.errors import UserError, escape
from unpairaug.files import parse_json

VERSION = 1
FOLDER_INDEX = "index.json"
"""The file in a folder that lists its shards."""
MAX_INDEX_BYTES = 2**30
"""Size of an index file; ten million images are described in it."""
_INVALID_INDEX = (KeyError, TypeError, ValueError, OverflowError, AttributeError)
"""The exceptions that an invalid index raises while it is read."""


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
    if wrong := [name for name, (samples, size) in sizes.items() if not 0 < samples * BLOCK <= size < 2**50]:
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
    numbers = ("offset", "size", "width", "height")
    places = np.array([[int(sample[key]) for key in numbers] for sample in samples], np.int64).reshape(-1, 4)
    keys, extensions = [str(sample["key"]) for sample in samples], [intern(str(sample["ext"])) for sample in samples]
    skipped = [[str(name) for name in values.get(part, [])] for part in ("odd", "beside")]
    if too_long := next((name for name in (*keys, *extensions) if len(name) > MAX_NAME), None):
        raise ValueError(f"a name of {len(too_long)} characters")
    return ShardIndex(keys, extensions, places, *skipped)


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
        values = parse_json(text, "the index", MAX_INDEX_BYTES)
    except UserError as error:
        raise _index_error(path, f"this index is no JSON ({error})") from error
    if not isinstance(values, dict) or values.get("version", VERSION) != VERSION:
        raise _index_error(path, f"not an index of version {VERSION}")
    return values


def _cache_path(shard: str, size: int, mark: str) -> Path | None:
    """The cache file of the index of a shard."""
    folder = cache_folder("shards")
    place = strip_query(shard) if is_url(shard) else os.path.realpath(shard)
    words = f"{SCAN_VERSION} {place} {size} {mark}".encode(errors="surrogateescape")
    return None if folder is None else folder / f"{blake2b(words, digest_size=16).hexdigest()}.json"


def _index_error(path: str, reason: str) -> UserError:
    return UserError(f"{escape(path)}: {escape(reason[:300])}; create the shards again, or remove it")
