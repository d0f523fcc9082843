"""Remove the outputs of a preparation from OUT: exactly the files that its records list."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from unpairaug.data.shard_index import FOLDER_INDEX, index_name
from unpairaug.errors import UserError, escape
from unpairaug.prepare.journal import Journal
from unpairaug.prepare.shards import shard_name

PARTIAL = re.compile(r"\.[0-9a-f]{12}\.partial")
"""Temporary files of a killed process (see `partial_path`) at the top of OUT, besides the folder `.parts`."""


def remove_rows(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Remove the files in the lines of a manifest, and the folders that become empty."""
    shards: set[str] = set()
    emptied: set[PurePosixPath] = set()
    for row in rows:
        if "shard" in row:
            shards.add(row["shard"])
        else:
            file = PurePosixPath(row["file"])
            (folder / file).unlink(missing_ok=True)
            emptied.update(file.parents[:-1])
    for name in shards:
        _remove_shard(folder, name)
    for inner in sorted(emptied, key=lambda inner: -len(inner.parts)):
        with suppress(OSError):  # not empty, or missing
            (folder / inner).rmdir()


def remove_unfinished(folder: Path, settings: dict[str, Any], journal: Journal) -> None:
    """Remove files that are not in the journal: temporary files and an unrecorded shard."""
    shutil.rmtree(folder / ".parts", ignore_errors=True)
    for path in folder.iterdir():
        if PARTIAL.fullmatch(path.name):
            path.unlink()
    if settings.get("shard_bytes") is not None and not (folder / "manifest.jsonl").exists():
        _remove_shard(folder, shard_name(sum(1 for _ in journal)))


def remove_all(folder: Path, begun: dict[str, Any], journal: Journal) -> None:
    """Remove the outputs of an earlier preparation, and at last its records.

    Raises:
        UserError: the manifest was changed and is invalid.
    """
    remove_unfinished(folder, begun, journal)
    for entry in journal:
        remove_rows(folder, entry["rows"])
    manifest = folder / "manifest.jsonl"
    try:
        if manifest.exists():
            with manifest.open(encoding="utf-8") as file:
                remove_rows(folder, map(json.loads, file))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{escape(manifest)} was changed ({error!r}) and does not list the files to remove; give another folder"
        ) from error
    ours = [FOLDER_INDEX] if begun.get("shard_bytes") is not None else []
    ours += ["bad.txt"] if begun.get("summary", {}).get("bad") else []
    for name in (*ours, "manifest.jsonl", journal.path.name, "prepare.json"):
        (folder / name).unlink(missing_ok=True)


def _remove_shard(folder: Path, name: str) -> None:
    for file in (name, index_name(name)):
        (folder / file).unlink(missing_ok=True)
