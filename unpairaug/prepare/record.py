"""What a preparation leaves beside its images: settings, index, manifest, and the list of bad photographs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from unpairaug.data.images import write_file
from unpairaug.data.shard_index import FOLDER_INDEX, format_folder_index, read_folder_index
from unpairaug.errors import UserError, escape
from unpairaug.prepare.cut import Cut
from unpairaug.prepare.journal import Journal
from unpairaug.prepare.licences import Licences
from unpairaug.prepare.shards import write_json
from unpairaug.prepare.work import Source

_MAX_LISTED = 10
"""How many bad photographs a message lists before it only counts."""

_SUMMARY_KEYS = ("images", "pixels", "flat", "small", "bad")
"""Of a summary, what a complete OUT would not tell by itself."""


@dataclass
class Summary:
    """What came out."""

    images: int = 0
    """Photographs, bad ones not counted."""
    pixels: int = 0
    """Of these."""
    outputs: int = 0
    bytes: int = 0
    """Of all outputs, or of the shards."""
    flat: int = 0
    """Outputs left out for want of detail."""
    small: int = 0
    """Photographs with a side shorter than a sub-image."""
    unlicensed: list[str] = field(default_factory=list)
    """Photographs without a row in the table of licences."""
    shards: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Images and bytes of each by its name."""
    bad: list[tuple[str, str]] = field(default_factory=list)
    """(source, what is wrong with it)."""

    def __str__(self) -> str:
        where = f" in {len(self.shards)} shards" if self.shards else ""
        pixels = f" ({self.pixels / 1e6:.1f} megapixels)" if self.pixels else ""
        lines = [f"{self.outputs} images from {self.images} photographs{pixels}, {self.bytes / 2**20:.1f} MiB{where}"]
        if self.flat:
            lines.append(f"{self.flat} left out: less detail than --min-detail")
        if self.small:
            lines.append(f"{self.small} photographs are smaller than a sub-image; that side was kept whole")
        if self.unlicensed:
            lines.append(f"{len(self.unlicensed)} photographs have no row in --licences, such as {self.unlicensed[0]}")
        if self.bad:
            lines.append(f"{len(self.bad)} bad photographs left out, listed in bad.txt")
        return "\n".join(lines)


def collect_settings(
    cut: Cut, shard_bytes: int | None, licences: str | None, sources: Sequence[Source]
) -> dict[str, Any]:
    """All that decides what comes out, as `prepare.json` keeps it."""
    digest = sha256()
    for source in sources:
        size = source.path.stat().st_size if source.path.exists() else -1
        digest.update(f"{source.name}\n{size}\n".encode(errors="surrogatepass"))
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


def read_settings(target: Path) -> dict[str, Any] | None:
    """The settings that OUT was begun with; None where no preparation was begun.

    Raises:
        UserError: the file that should hold them is another's.
    """
    path = target / "prepare.json"
    if not path.exists():
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        settings = None
    if not isinstance(settings, dict) or "photographs_digest" not in settings:
        raise UserError(f"{escape(path)} was not written by `prepare`; give another folder for the results")
    return settings


def summarize(journal: Journal, sources: Sequence[Source], licences: Licences | None) -> Summary:
    """What the journal's parts amount to."""
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
    """Write what belongs to the whole; the manifest comes last and says that OUT is complete.

    `prepare.json` comes first: it tells the next call what came out, and whether `bad.txt` is ours.

    Raises:
        UserError: there is not one image in OUT.
    """
    if not result.outputs:
        raise UserError(f"nothing came out of {result.images} photographs ({result.flat} parts below --min-detail)")
    write_json(
        target / "prepare.json", {**settings, "summary": {name: getattr(result, name) for name in _SUMMARY_KEYS}}
    )
    if result.shards:
        write_file(target / FOLDER_INDEX, format_folder_index(result.shards).encode())
    if result.bad:
        write_file(target / "bad.txt", "".join(f"{problem}\n" for _, problem in result.bad).encode())
    partial = target / ".manifest.partial"
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        for entry in journal:
            file.writelines(json.dumps(row) + "\n" for row in entry["rows"])
    partial.replace(target / "manifest.jsonl")


def check_complete(target: Path, sources: Sequence[Source], licences: Licences | None) -> Summary:
    """What a complete OUT holds, as the call that completed it told it.

    Raises:
        UserError: a file that the manifest names is gone, or of another size.
    """
    settings = read_settings(target) or {}
    shards = {} if settings["shard_bytes"] is None else read_folder_index(str(target))
    if shards is None:
        raise UserError(f"{escape(target / FOLDER_INDEX)} is gone or was changed; --force makes all anew")
    result = Summary(**settings["summary"], shards=shards, unlicensed=_find_unlicensed(sources, licences))
    with (target / "manifest.jsonl").open(encoding="utf-8") as manifest:
        for row in map(json.loads, manifest):
            result.outputs += 1
            if not shards:
                result.bytes += _check_size(target / row["file"], row["bytes"])
    result.bytes += sum(_check_size(target / name, size) for name, (_, size) in shards.items())
    return result


def raise_bad_photographs(problems: Sequence[str], what_now: str) -> NoReturn:
    """Name bad photographs.

    Raises:
        UserError: always.
    """
    more = [f"and {len(problems) - _MAX_LISTED} more"] if len(problems) > _MAX_LISTED else []
    listed = "".join(f"\n  {line}" for line in [*problems[:_MAX_LISTED], *more])
    raise UserError(f"bad photographs: {len(problems)}; {what_now}{listed}")


def _find_unlicensed(sources: Sequence[Source], licences: Licences | None) -> list[str]:
    return [] if licences is None else [source.name for source in sources if licences.row_for(source.name) is None]


def _check_size(path: Path, size: int) -> int:
    if not path.is_file() or path.stat().st_size != size:
        raise UserError(f"{escape(path)} is gone or was changed since it was written; --force makes all anew")
    return size
