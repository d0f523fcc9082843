"""The records of a preparation: settings, index, manifest, and the list of bad photographs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from unpairaug.data.files import open_atomic, write_file
from unpairaug.data.pairs import list_lines
from unpairaug.data.shard_index import FOLDER_INDEX, format_folder_index, read_folder_index
from unpairaug.errors import UserError, escape
from unpairaug.files.foreign_json import read_json
from unpairaug.prepare.cut import Cut
from unpairaug.prepare.journal import Journal
from unpairaug.prepare.licences import Licences
from unpairaug.prepare.shards import write_json
from unpairaug.prepare.work import Source

_MAX_LISTED = 10
"""Bad photographs that a message lists; the others are counted."""

_SUMMARY_KEYS = ("images", "pixels", "flat", "small", "bad")
"""The fields of a summary that cannot be derived from a complete OUT."""


@dataclass
class Summary:
    """The result of a preparation."""

    images: int = 0
    """Photographs, without bad ones."""
    pixels: int = 0
    """Pixels of these photographs."""
    outputs: int = 0
    bytes: int = 0
    """Bytes of all outputs, or of the shards."""
    flat: int = 0
    """Outputs skipped for lack of detail."""
    small: int = 0
    """Photographs with a side shorter than a sub-image."""
    unlicensed: list[str] = field(default_factory=list)
    """Photographs without a row in the table of licences."""
    shards: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Number of images and bytes of each shard by its name."""
    bad: list[tuple[str, str]] = field(default_factory=list)
    """(source, problem) of each bad photograph."""

    def __str__(self) -> str:
        where = f" in {len(self.shards)} shards" if self.shards else ""
        pixels = f" ({self.pixels / 1e6:.1f} megapixels)" if self.pixels else ""
        lines = [f"{self.outputs} images from {self.images} photographs{pixels}, {self.bytes / 2**20:.1f} MiB{where}"]
        if self.flat:
            lines.append(f"{self.flat} skipped: less detail than --min-detail")
        if self.small:
            lines.append(f"{self.small} photographs are smaller than a sub-image; their short sides are not cut")
        if self.unlicensed:
            lines.append(f"{len(self.unlicensed)} photographs have no row in --licences, such as {self.unlicensed[0]}")
        if self.bad:
            lines.append(f"{len(self.bad)} bad photographs skipped, listed in bad.txt")
        return "\n".join(lines)


def collect_settings(
    cut: Cut, shard_bytes: int | None, licences: str | None, sources: Sequence[Source]
) -> dict[str, Any]:
    """The settings that determine the output, as stored in `prepare.json`."""
    digest = sha256()
    for source in sources:
        digest.update(f"{source.name}\n{source.bytes}\n".encode(errors="surrogatepass"))
    return {
        "version": 2,
        "size": cut.size,
        "stride": cut.stride,
        "min_detail": cut.min_detail,
        "shard_bytes": shard_bytes,
        "licences": licences,
        "photographs": len(sources),
        "photographs_digest": digest.hexdigest()[:16],
    }


def read_settings(path: Path, key: str, command: str) -> dict[str, Any] | None:
    """The settings with which an output folder was started; None where there is no settings file.

    Args:
        path: the settings file, such as OUT/prepare.json.
        key: a setting that the command always writes.
        command: the command that writes the file, for the message.

    Raises:
        UserError: the file was not written by the command.
    """
    if not path.exists():
        return None
    try:
        settings = read_json(path)
    except UserError as error:
        raise UserError(f"{error}; give another folder for the results") from error
    if key not in settings:
        raise UserError(f"{escape(path)} was not written by `{command}`; give another folder for the results")
    return settings


def read_prepare_settings(target: Path) -> dict[str, Any] | None:
    """The content of `prepare.json` in OUT; see `read_settings`."""
    return read_settings(target / "prepare.json", "photographs_digest", "prepare")


def summarize(journal: Journal, sources: Sequence[Source], licences: Licences | None) -> Summary:
    """The sum of the parts in the journal."""
    result = Summary(unlicensed=_find_unlicensed(sources, licences))
    for entry in journal:
        result.images += entry["images"] - len(entry["bad"])
        result.outputs += len(entry["rows"])
        for name in ("pixels", "flat", "small"):
            setattr(result, name, getattr(result, name) + entry[name])
        shard = entry["shard"]
        result.bytes += shard["bytes"] if shard else sum(row["bytes"] for row in entry["rows"])
        if shard:
            result.shards[shard["shard"]] = shard["samples"], shard["bytes"]
        result.bad += [(name, problem) for name, problem in entry["bad"]]
    return result


def write_records(target: Path, settings: dict[str, Any], journal: Journal, result: Summary) -> None:
    """Write settings, index, bad photographs and manifest; the manifest is last and marks OUT as complete.

    `prepare.json` is first: it records the result for the next call, and whether `bad.txt` belongs to `prepare`.

    Raises:
        UserError: OUT has no image.
    """
    if not result.outputs:
        raise UserError(
            f"{result.images} photographs gave no output ({result.flat} parts have less detail than --min-detail)"
        )
    write_json(
        target / "prepare.json", {**settings, "summary": {name: getattr(result, name) for name in _SUMMARY_KEYS}}
    )
    if result.shards:
        write_file(target / FOLDER_INDEX, format_folder_index(result.shards).encode())
    if result.bad:
        write_file(target / "bad.txt", "".join(f"{problem}\n" for _, problem in result.bad).encode())
    with open_atomic(target / "manifest.jsonl") as file:
        for entry in journal:
            file.writelines(json.dumps(row).encode() + b"\n" for row in entry["rows"])


def check_complete(target: Path, sources: Sequence[Source], licences: Licences | None) -> Summary:
    """The summary of a complete OUT, as printed by the call that completed it.

    Raises:
        UserError: a file of the manifest is missing, or has another size.
    """
    settings = read_prepare_settings(target) or {}
    shards = {} if settings["shard_bytes"] is None else read_folder_index(str(target))
    if shards is None:
        raise UserError(f"{escape(target / FOLDER_INDEX)} is missing or was changed; --force creates everything again")
    result = Summary(**settings["summary"], shards=shards, unlicensed=_find_unlicensed(sources, licences))
    with (target / "manifest.jsonl").open(encoding="utf-8") as manifest:
        for row in map(json.loads, manifest):
            result.outputs += 1
            if not shards:
                result.bytes += _check_size(target / row["file"], row["bytes"])
    result.bytes += sum(_check_size(target / name, size) for name, (_, size) in shards.items())
    return result


def raise_bad_photographs(problems: Sequence[str], what_now: str) -> NoReturn:
    """Raise an error that lists bad photographs.

    Raises:
        UserError: always.
    """
    raise UserError(f"bad photographs: {len(problems)}; {what_now}{list_lines(problems, _MAX_LISTED)}")


def _find_unlicensed(sources: Sequence[Source], licences: Licences | None) -> list[str]:
    return [] if licences is None else [source.name for source in sources if licences.row_for(source.name) is None]


def _check_size(path: Path, size: int) -> int:
    if not path.is_file() or path.stat().st_size != size:
        raise UserError(
            f"{escape(path)} is missing or was changed since it was written; --force creates everything again"
        )
    return size
