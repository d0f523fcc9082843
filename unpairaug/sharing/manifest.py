"""`manifest.json`: size and SHA-256 of a folder's files, by which damage is found."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from unpairaug.errors import UserError
from unpairaug.files.foreign_json import MAX_BYTES, parse_json_object

MANIFEST = "manifest.json"
CHUNK = 2**20
"""Bytes read at once."""


def write_manifest(folder: Path, names: Iterable[str] | None = None) -> None:
    """Write the manifest of a folder's files, all of them by default, and flush them and it to disk.

    It is written under another name and renamed, so it is either complete or absent.
    """
    files = sorted(names if names is not None else (path.name for path in folder.iterdir() if path.name != MANIFEST))
    partial = folder / "manifest.partial"
    partial.write_text(_as_text({name: _entry(folder / name) for name in files}), encoding="utf-8")
    for name in (*files, partial.name):
        flush_to_disk(folder / name)
    partial.replace(folder / MANIFEST)
    flush_to_disk(folder)


def find_damage(folder: Path, may_add_files: bool = False) -> dict[str, str]:
    """The differences between a folder and its manifest: what is wrong, by the name of the file.

    Missing, truncated and changed files are differences; added ones are, too, unless they are allowed. A folder whose
    manifest is missing or damaged has that difference alone.
    """
    try:
        listed, present = _read(folder), {path.name for path in folder.iterdir()} - {MANIFEST}
    except FileNotFoundError:
        return {MANIFEST: "is missing"}
    except (OSError, ValueError) as error:
        return {MANIFEST: f"is damaged: {error}"}
    added = set() if may_add_files else present - listed.keys()
    faults = {name: _find_fault(folder / name, entry) for name, entry in listed.items()}
    return {name: fault for name, fault in faults.items() if fault} | dict.fromkeys(sorted(added), "is not listed")


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _find_fault(path: Path, entry: dict[str, Any]) -> str | None:
    """How a file differs from its entry; None where it does not."""
    try:
        if not path.is_file():
            return "is not a file" if path.exists() else "is missing"
        if (size := path.stat().st_size) != entry["size"]:
            return f"has {size} bytes, and {entry['size']} were written"
        return None if _entry(path) == entry else "has other content than was written"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries by file name.

    Raises:
        FileNotFoundError: there is no manifest.
        ValueError: it is not what `write_manifest` wrote, byte for byte.
    """
    path = folder / MANIFEST
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        text = file.read(MAX_BYTES + 1)
    try:
        listed: Any = parse_json_object(text, MANIFEST)["files"]
        is_whole = text == _as_text(listed).encode() and all(map(_is_entry, listed.items()))
    except (UserError, TypeError, KeyError, AttributeError):
        is_whole, listed = False, {}
    if not is_whole:
        raise ValueError("it is not as it was written")
    return listed


def _is_entry(item: tuple[str, Any]) -> bool:
    """Whether it is a plain file name with a size and a digest."""
    name, entry = item
    is_name = name not in ("", ".", "..") and not {"/", "\\", "\0"} & set(name)
    return is_name and isinstance(entry, dict) and entry.keys() == {"size", "sha256"}


def _as_text(files: dict[str, Any]) -> str:
    return json.dumps({"files": dict(sorted(files.items()))}, indent=2) + "\n"


def _entry(path: Path) -> dict[str, Any]:
    digest, size = sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return {"size": size, "sha256": digest.hexdigest()}
