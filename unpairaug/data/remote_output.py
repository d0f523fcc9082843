"""Output folders behind a URL: a command works in a local folder, and each complete file is moved to the URL.

A sparse file of the same size and without content stays in the local folder, so that an interrupted command finds what
is complete as it does in any folder. A large output therefore needs no disk. On another machine, the records at the URL
restore the local folder.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from unpairaug.data.cache import cache_folder
from unpairaug.data.remote_files import is_inside, list_tree, read_bytes, remove_files, upload_file
from unpairaug.data.shard_index import index_name
from unpairaug.data.storage import is_url
from unpairaug.errors import UserError, escape

RECORDS = ("prepare.json", "degrade.json", "index.json", "bad.txt", "README.md", "manifest.jsonl")
"""Files that say what a folder holds; the last one marks it as complete."""
JOURNAL_EVERY = 60.0
"""Seconds between two uploads of a journal, from which another machine could continue."""
MAX_RECORD_BYTES = 2**34


class RemoteOutput:
    """The output folder of one command behind a URL."""

    def __init__(self, url: str) -> None:
        """Choose the local folder; nothing is read yet.

        Raises:
            UserError: there is no place for the local folder.
        """
        self.url = url.rstrip("/")
        root = cache_folder("outputs")
        if root is None:
            raise UserError(f"{escape(url)}: no place for a local copy of its records; set XDG_CACHE_HOME")
        self.folder = root / blake2b(self.url.encode(), digest_size=12).hexdigest()
        self._journals_at = 0.0
        self._read_to = 0
        self._listed_before: set[str] = set()

    def pull(self) -> None:
        """Make the local folder show what is complete at the URL.

        Raises:
            UserError: the URL cannot be read, or holds other files.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        there = list_tree(self.url)
        for name in there:
            is_journal = name.startswith(".journal") and name.endswith(".jsonl")
            if (name in RECORDS or is_journal) and not (self.folder / name).exists():
                (self.folder / name).write_bytes(read_bytes(f"{self.url}/{name}", MAX_RECORD_BYTES))
        if there and not any((self.folder / name).exists() for name in ("prepare.json", "degrade.json")):
            raise UserError(
                f"{escape(self.url)} holds other files ({escape(min(there))}); give a new or empty folder for the "
                "results"
            )
        self._show(there)

    def pull_complete(self) -> None:
        """Remove the stand-ins of files that are no longer at the URL, which may hold any other files.

        Raises:
            UserError: the URL cannot be read.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        there = list_tree(self.url)
        for path in self.folder.rglob("*"):
            if _is_stand_in(path) and there.get(path.relative_to(self.folder).as_posix()) != path.stat().st_size:
                path.unlink()

    def _show(self, there: Mapping[str, int]) -> None:
        """Make stand-ins for the listed files that are at the URL, and remove the others."""
        self._listed_before |= self._listed_names()
        for name in self._listed_before:
            path = self.folder / name
            if name not in there:
                if _is_stand_in(path):
                    path.unlink()
            elif not path.exists():
                _make_stand_in(path, there[name])

    def push(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Move the files of complete lines of the manifest to the URL.

        Raises:
            UserError: they cannot be written there.
        """
        for name in dict.fromkeys(name for row in rows for name in _names_of_row(row)):
            path = self.folder / name
            if path.exists() and not _is_stand_in(path):
                upload_file(path, f"{self.url}/{name}")
                _make_stand_in(path, path.stat().st_size)

    def push_new(self, journal: Path) -> None:
        """Move the files of the lines that a journal has got since the last call, then its copy; see `push`."""
        if journal.exists():
            with journal.open("rb") as file:
                file.seek(self._read_to)
                for line in file:
                    if line.endswith(b"\n"):
                        self.push(json.loads(line)["rows"])
                        self._read_to += len(line)
        self.push_journals()

    def push_journals(self, now: bool = False) -> None:
        """Copy the settings and journals to the URL, at most every `JOURNAL_EVERY` seconds unless `now`."""
        if now or time.monotonic() - self._journals_at > JOURNAL_EVERY:
            self._journals_at = time.monotonic()
            for path in (*self.folder.glob("*.json"), *self.folder.glob(".journal*.jsonl")):
                if not path.name.endswith(".index.json"):
                    upload_file(path, f"{self.url}/{path.name}")

    def finish(self) -> None:
        """Move the rest to the URL, the manifest last; remove the local folder and the journals at the URL."""
        for name in RECORDS:
            if (self.folder / name).exists():
                upload_file(self.folder / name, f"{self.url}/{name}")
        there, kept = list_tree(self.url), self._listed_names()
        journals = {name for name in there if name.startswith(".journal")}
        remove_files([f"{self.url}/{name}" for name in sorted((journals | self._listed_before & {*there}) - kept)])
        self.discard()

    def discard(self) -> None:
        """Remove the local folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listed_names(self) -> set[str]:
        """The files in the lines of the manifest and the journals."""
        names: set[str] = set()
        for path in (*self.folder.glob("manifest.jsonl"), *self.folder.glob(".journal*.jsonl")):
            with path.open("rb") as file:
                for line in file:
                    with suppress(ValueError):  # an incomplete last line
                        entry = json.loads(line)
                        rows = entry.get("rows", [entry]) if isinstance(entry, dict) else []
                        names.update(name for row in rows for name in _names_of_row(row))
        return names


def split_output(target: str) -> tuple[Path, RemoteOutput | None]:
    """The local folder of an output, and where its files are moved if it is a URL."""
    if not is_url(target):
        return Path(target).expanduser(), None
    remote = RemoteOutput(target)
    return remote.folder, remote


def _names_of_row(row: Any) -> list[str]:
    """The files in a line of a manifest. Names that lead out of the folder are left out: others may have written it."""
    if not isinstance(row, dict):
        return []
    keys = ("shard",) if "shard" in row else ("file", "clean")
    names = [row[key] for key in keys if isinstance(row.get(key), str) and is_inside(row[key])]
    return [*names, *(index_name(name) for name in names if "shard" in row)]


def _is_stand_in(path: Path) -> bool:
    """Whether a file holds zeros only: no image, shard or record begins with one.

    The number of blocks does not tell: file systems that keep small files in their inodes have none for them.
    """
    with suppress(OSError), path.open("rb") as file:
        return file.read(1) == b"\0"
    return False


def _make_stand_in(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        os.truncate(file.fileno(), size)
