"""Where the images of a shard are: an index beside the tar, or one made by reading the tar's headers once.

`NAME.index.json` beside `NAME.tar` says what it is in its first version:

    {"version": 1, "shard": "NAME.tar", "bytes": 123456, "samples": [{"key": "a/1", "ext": "png", "offset": 512,
     "size": 4711, "width": 480, "height": 480}, …]}

`offset` is where the member's data begin, `bytes` the size of the tar. `index.json` in the folder lists the shards:
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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unpairaug.data.cache import cache_folder, write_whole
from unpairaug.data.images import EXTENSIONS
from unpairaug.data.storage import describe, is_url, open_file, read_text
from unpairaug.errors import UserError

VERSION = 1
FOLDER_INDEX = "index.json"
"""The file of a folder that lists its shards."""
_BLOCK = 512
"""Bytes of a tar's header; data and archive are filled up to whole blocks."""


@dataclass(frozen=True)
class ShardIndex:
    """The images of one shard."""

    keys: list[str]
    """What the files of a sample have in common: the path up to the first dot of the name."""
    extensions: list[str]
    """The rest, without the dot."""
    places: NDArray[np.int64]
    """(samples, 4): offset and size in bytes, width and height in pixels; 0 pixels where they are not known."""
    odd: list[str] = field(default_factory=list)
    """Members that are left out: no plain files, or of a name that leads out of any folder."""

    def __len__(self) -> int:
        return len(self.keys)


def index_name(shard: str) -> str:
    """The name of the index that lies beside a shard."""
    return shard.removesuffix(".tar") + ".index.json"


def index_text(shard: str, size: int, index: ShardIndex) -> str:
    """What is written in the index of a shard of `size` bytes."""
    return json.dumps(_as_values(shard, size, index)) + "\n"


def folder_index_text(shards: Mapping[str, tuple[int, int]]) -> str:
    """What is written in `index.json`, from images and bytes of each shard by its name."""
    listed = [{"shard": name, "samples": samples, "bytes": size} for name, (samples, size) in shards.items()]
    return json.dumps({"version": VERSION, "shards": listed}) + "\n"


def read_index(shard: str) -> ShardIndex:
    """The index of a shard: the one beside it, the one made before, or one made now.

    Raises:
        UserError: there is no such shard, it is cut or no tar, or its index is another's.
    """
    size, mark = describe(shard)
    path = index_name(shard)
    if (text := read_text(path)) is not None:
        return _checked(_parsed(text, path), path, shard, size)
    name = blake2b(
        f"{shard if is_url(shard) else os.path.realpath(shard)} {size} {mark}".encode(), digest_size=16
    ).hexdigest()
    cached = cache_folder("shards") / f"{name}.json"
    if cached.exists():
        try:
            return _made(_parsed(cached.read_text(encoding="utf-8"), str(cached)))
        except (UserError, OSError, KeyError, TypeError, ValueError):
            pass  # a broken copy of what can be made again
    index = scan(shard, size)
    write_whole(cached, index_text(shard, size, index))
    return index


def read_folder_index(folder: str) -> dict[str, tuple[int, int]] | None:
    """Images and bytes of each shard by its name, as `index.json` has them; None where the folder has none.

    Raises:
        UserError: it is broken.
    """
    path = f"{folder}/{FOLDER_INDEX}"
    text = read_text(path)
    if text is None or '"shards"' not in text:
        return None  # perhaps some other file of that name
    try:
        values = _parsed(text, path)
        sizes = {str(one["shard"]): (int(one["samples"]), int(one["bytes"])) for one in values["shards"]}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a list of shards ({error!r}); make the shards again, or remove it") from error
    if wrong := [name for name in sizes if re.search(r"[/\\]", name) or not name.endswith(".tar")]:
        raise UserError(f"{path}: {wrong[0]!r} is no shard of this folder; make the shards again, or remove it")
    return sizes


def write_index(shard: str) -> None:
    """Write the index of a shard beside it, without sizes in pixels.

    Raises:
        UserError: as `scan` does.
    """
    size, _ = describe(shard)
    write_whole(Path(index_name(shard)), index_text(shard, size, scan(shard, size)))


def scan(shard: str, size: int) -> ShardIndex:
    """The index of a shard from the headers of its members; their data are passed over.

    Raises:
        UserError: it is cut, no tar, holds no image, or two of one name.
    """
    images: dict[str, tuple[int, int]] = {}
    odd: list[str] = []
    end = 0
    try:
        with open_file(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError("its data end before their time")
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
                _sort_in(member, images, odd, shard)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise UserError(_cut(shard, len(images), end, size, str(error))) from error
    if end + _BLOCK > size:
        raise UserError(_cut(shard, len(images), end, size, "the end of the archive is missing"))
    if not images:
        raise UserError(f"{shard}: no image in this shard; looked for {' '.join(EXTENSIONS)}")
    split = [_split(name) for name in images]
    places = np.array([(*place, 0, 0) for place in images.values()], np.int64)
    return ShardIndex([key for key, _ in split], [extension for _, extension in split], places, odd)


def _sort_in(member: tarfile.TarInfo, images: dict[str, tuple[int, int]], odd: list[str], shard: str) -> None:
    parts = re.split(r"[/\\]", member.name)
    if member.isdir() or (parts[-1].startswith(".") and ".." not in parts):
        return  # hidden files, as in a folder
    if not member.isreg() or member.name.startswith(("/", "\\")) or ".." in parts:
        odd.append(member.name)
    elif member.name.lower().endswith(EXTENSIONS):
        if member.name in images:
            raise UserError(f"{shard}: two members are called {member.name!r}; make the shard again")
        images[member.name] = member.offset_data, member.size


def _split(name: str) -> tuple[str, str]:
    """WebDataset's rule: a sample's key ends at the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    key, _, extension = file.partition(".")
    return f"{folder}{slash}{key}", extension


def _cut(shard: str, whole: int, end: int, size: int, reason: str) -> str:
    if not end:
        return f"{shard}: this is no whole tar archive ({reason}); remove it or copy it again"
    return (
        f"{shard}: this shard is cut ({reason}): whole are its first {whole} images, {end} of its {size} bytes; "
        "copy it or make it again"
    )


def _checked(values: dict[str, Any], path: str, shard: str, size: int) -> ShardIndex:
    """The index that was found beside a shard, if it is the shard's own."""
    try:
        index = _made(values)
        said = int(values["bytes"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not an index of a shard ({error!r}); make the shards again, or remove it") from error
    ends = index.places[:, 0] + index.places[:, 1]
    if said != size:
        whole = int((ends <= size).sum())
        raise UserError(
            f"{shard}: {size} bytes, but its index was made for {said}: it is cut or another's (whole are at most "
            f"{whole} of {len(index)} images); copy both again, or remove the index {path}"
        )
    if len(index) == 0 or index.places.min() < 0 or ends.max() > size:
        raise UserError(f"{path}: says of images where {shard} has none; make the shards again, or remove it")
    return index


def _made(values: dict[str, Any]) -> ShardIndex:
    samples = values["samples"]
    keys = ("offset", "size", "width", "height")
    places = np.array([[int(sample[key]) for key in keys] for sample in samples], np.int64).reshape(-1, 4)
    names = [str(sample["key"]) for sample in samples], [str(sample["ext"]) for sample in samples]
    return ShardIndex(*names, places, [str(name) for name in values.get("odd", [])])


def _as_values(shard: str, size: int, index: ShardIndex) -> dict[str, Any]:
    rows = zip(index.keys, index.extensions, index.places.tolist(), strict=True)
    samples = [
        {"key": key, "ext": extension, "offset": offset, "size": length, "width": width, "height": height}
        for key, extension, (offset, length, width, height) in rows
    ]
    values = {"version": VERSION, "shard": shard.rpartition("/")[2], "bytes": size, "samples": samples}
    return {**values, "odd": index.odd} if index.odd else values


def _parsed(text: str, path: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: this index is no JSON ({error}); make the shards again, or remove it") from error
    if not isinstance(values, dict) or values.get("version", VERSION) != VERSION:
        raise UserError(f"{path}: not an index of version {VERSION}; make the shards again, or remove it")
    return values
