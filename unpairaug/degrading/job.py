"""The work of `degrade`: images or shards IN become degraded images or pairs in OUT, by any number of processes.

The work is divided into parts, one image or one shard each, whose output does not depend on the process or the time. A
complete file gets its final name and a line in a journal; at the end the manifest collects these lines in order. An
interrupted command continues with the parts that are not complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from filelock import FileLock, Timeout

from unpairaug.data.files import create_folder, real_path, write_error, write_file
from unpairaug.data.images import ImageSet
from unpairaug.data.output_files import OutputFiles
from unpairaug.data.remote_output import RemoteOutput
from unpairaug.data.shard_index import FOLDER_INDEX, format_folder_index
from unpairaug.data.sources import open_images
from unpairaug.data.storage import is_url
from unpairaug.degrading.dataset_card import CARD, make_card
from unpairaug.degrading.degrade import Degradation
from unpairaug.errors import UserError, escape
from unpairaug.prepare.journal import Journal
from unpairaug.prepare.record import read_settings
from unpairaug.prepare.remove import PARTIAL
from unpairaug.prepare.run import list_differences, stop_on_write_error
from unpairaug.prepare.shards import write_json

SETTINGS = "degrade.json"
MANIFEST = "manifest.jsonl"
JOURNALS = ".journal.*.jsonl"
PARTS = ".parts"
"""Folder in OUT for temporary files."""
SHARD_BYTES = 2**26
"""Size of a shard in bytes of input images times draws, if IN is a folder."""

Row = dict[str, Any]
"""A line of the manifest."""


class Part(NamedTuple):
    """Images that one process writes together."""

    number: int
    images: range
    """Their indices in the set."""


class Entry(TypedDict):
    """A complete part in a journal."""

    rows: list[Row]


@dataclass(frozen=True)
class Job:
    """One call of `degrade`."""

    source: str
    """A folder of images, shards, or `sample`."""
    target: Path
    degradation: Degradation
    pairs: bool = False
    """Whether to write the clean image beside each degraded image."""
    draws: int = 1
    """Degraded images for each clean one."""
    into_shards: bool | None = None
    """Whether to write shards; None writes shards if IN is shards."""
    remote: RemoteOutput | None = None
    """Where complete files are moved, if OUT is a URL; `target` is its local folder then."""

    @cached_property
    def images(self) -> ImageSet:
        return open_images(self.source, "clean", scale=1)

    @cached_property
    def shards(self) -> bool:
        return self.images.shard_sizes is not None if self.into_shards is None else self.into_shards

    @cached_property
    def parts(self) -> list[Part]:
        """One part for each output shard, or for each image if OUT is a folder of files; the same in every process."""
        if not self.shards:
            return [Part(i, range(i, i + 1)) for i in range(len(self.images))]
        if self.images.shard_sizes is not None:
            ends = self.images.shard_sizes.cumsum().tolist()
        else:
            ends = [
                *_split_by_size([file_size(self.images, i) * self.draws for i in range(len(self.images))], SHARD_BYTES)
            ]
        starts = [0, *ends[:-1]]
        return [Part(n, range(start, end)) for n, (start, end) in enumerate(zip(starts, ends, strict=True))]

    def unfinished_parts(self) -> list[Part]:
        """The parts that are not complete in OUT."""
        done = {(row["source"], row["draw"]) for row in self.rows() if self._is_intact(row)}
        names, draws = self.images.names, range(self.draws)
        return [part for part in self.parts if any((names[i], d) not in done for i in part.images for d in draws)]

    def rows(self) -> Iterator[Row]:
        """Manifest lines of complete images, from the manifest of an earlier call and from the journals."""
        if os.path.exists(manifest := self.target / MANIFEST):
            with manifest.open("rb") as file:
                yield from (_parse_row(line, f"{escape(manifest)}, line {i}") for i, line in enumerate(file, 1))
        for path in sorted(self.target.glob(JOURNALS)):
            yield from (row for entry in Journal[Entry](path) for row in entry["rows"])

    def journal(self, process: int) -> Journal[Entry]:
        """The journal of a process."""
        return Journal(self.target / JOURNALS.replace("*", str(process)))

    @contextmanager
    def lock_output(self, facts: dict[str, Any]) -> Generator[None]:
        """Lock OUT, and remove temporary files of an interrupted call. Only the main process may call it.

        Raises:
            UserError: OUT has other files, was started with other settings, or is locked by another call.
            RunStopped: OUT cannot be written.
        """
        check_output_folder(self.source, self.target)
        create_folder(self.target)
        try:
            lock = FileLock(self.target / ".lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(f"{escape(self.target)}: another `degrade` is writing here; wait for it") from error
        except OSError as error:
            raise write_error(self.target, error, "folder") from error
        with lock:
            with stop_on_write_error(self.target):
                self._prepare_output(self._make_settings(facts))
            yield

    def finish(self, unreadable: Sequence[str], unwritten: Sequence[str]) -> str:
        """Write the manifest and, for shards, their index; return a summary of OUT.

        Args:
            unreadable: messages about images that could not be read.
            unwritten: messages about files that could not be written.

        Raises:
            RunStopped: a file of OUT could not be written.
            UserError: every file could be written, but some images could not be read.
        """
        at = {name: i for i, name in enumerate(self.images.names)}
        lines = {(at[row["source"]], row["draw"]): row for row in self.rows() if self._is_intact(row)}
        with stop_on_write_error(self.target):
            if self.shards and not self.pairs:
                counts = Counter(row["shard"] for row in lines.values())
                sizes = {name: (counts[name], (self.target / name).stat().st_size) for name in sorted(counts)}
                write_file(self.target / FOLDER_INDEX, format_folder_index(sizes).encode())
            text = "".join(json.dumps(lines[key]) + "\n" for key in sorted(lines))
            write_file(self.target / MANIFEST, text.encode())
            if self.pairs:
                card = make_card(self.degradation, len(lines), self.draws, self.shards)
                write_file(self.target / CARD, card.encode("utf-8", "backslashreplace"))
            self._remove_temporary_files()
        what = f"{len(lines)} {'pairs' if self.pairs else 'images'} of {len({i for i, _ in lines})} images"
        summary = f"{what} in {escape(self.remote.url if self.remote else self.target)}"
        heading = f"{len(unreadable)} images not read; {summary}; repair these files, and the same command adds them:"
        OutputFiles(len(lines), [*unwritten]).check_complete(unreadable, heading)
        return summary

    def _prepare_output(self, settings: dict[str, Any]) -> None:
        previous = _read_settings(self.target)
        if previous is not None and self._adds_draws(previous):
            previous["draws"] = self.draws
            if previous == settings:
                write_json(self.target / SETTINGS, settings)
        if previous is None:
            write_json(self.target / SETTINGS, settings)
        elif changed := list_differences(previous, settings):
            what = escape("; ".join(changed))
            raise UserError(
                f"{escape(self.target)} was started with other settings ({what}); use the same ones or another folder"
            )
        for path in self.target.iterdir():
            if PARTIAL.fullmatch(path.name):
                path.unlink()
        shutil.rmtree(self.target / PARTS, ignore_errors=True)
        (self.target / PARTS).mkdir()
        for path in self.target.glob(JOURNALS):
            Journal[Entry](path).keep_intact(
                lambda entry: all(map(self._is_intact, entry["rows"])), remove=lambda _: None
            )

    def _adds_draws(self, previous: dict[str, Any]) -> bool:
        """Whether this call adds draws to those of an earlier one, whose files keep their names."""
        before = previous.get("draws")
        if self.shards or not isinstance(before, int) or not 1 < before < self.draws:
            return False
        return len(str(before - 1)) == len(str(self.draws - 1))

    def _make_settings(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Content of `degrade.json`: all settings that affect the output."""
        names = "\n".join(self.images.names).encode(errors="surrogatepass")
        settings = {"version": 1, "pairs": self.pairs, "draws": self.draws, "shards": self.shards}
        return {**settings, **facts, "images": len(self.images), "images_digest": sha256(names).hexdigest()[:16]}

    def _is_intact(self, row: Row) -> bool:
        """Whether the files of a line exist and its input image is unchanged."""
        index = self._index_by_name.get(row["source"])
        if index is None or file_size(self.images, index) != row["source_bytes"]:
            return False
        if "shard" in row:  # shards are renamed when they are complete
            return os.path.isfile(self.target / row["shard"])
        files = [(row["file"], row["bytes"])] + ([(row["clean"], row["clean_bytes"])] if "clean" in row else [])
        return all(os.path.isfile(path := self.target / name) and path.stat().st_size == size for name, size in files)

    @cached_property
    def _index_by_name(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.images.names)}

    def _remove_temporary_files(self) -> None:
        shutil.rmtree(self.target / PARTS, ignore_errors=True)
        for path in self.target.glob(JOURNALS):
            path.unlink()


def file_size(images: ImageSet, i: int) -> int:
    """Bytes of an image's file, to detect changes; 0 if the image is not in a file."""
    identity = images.identity(i)
    return 0 if identity is None else identity[2]


def check_output_folder(source: str, target: Path) -> None:
    """Check that OUT is a folder outside IN, new, empty, or written by `degrade`.

    Raises:
        UserError: it is not.
    """
    if os.path.exists(target) and not os.path.isdir(target):
        raise UserError(f"{escape(target)} is a file; give a folder for the results")
    folder = Path(source).expanduser()
    if (
        not is_url(source)
        and os.path.isdir(folder)
        and real_path(folder) in (real_path(target), *real_path(target).parents)
    ):
        raise UserError(
            f"{escape(target)} lies in {escape(source)}, where the next call would read the results as images; "
            "give a folder outside"
        )
    if os.path.exists(target) and _read_settings(target) is None:
        known = (path for path in target.iterdir() if path.name != ".lock" and not PARTIAL.fullmatch(path.name))
        if other_files := [path.name for path in known]:
            raise UserError(
                f"{escape(target)} has other files ({escape(min(other_files))}); give a new or empty folder"
            )


def _split_by_size(sizes: Iterable[int], limit: int) -> Iterator[int]:
    """End indices of parts that are as large as possible within a limit, but have at least one item."""
    total, count = 0, 0
    for count, size in enumerate(sizes, 1):
        if total and total + size > limit:
            yield count - 1
            total = 0
        total += size
    yield count


def _parse_row(line: bytes, where: str) -> Row:
    """A line of the manifest.

    Raises:
        UserError: it was not written by `degrade`.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    names = ("shard",) if isinstance(row, dict) and "shard" in row else ("file", "bytes")
    kinds = {"source": str, "source_bytes": int, "draw": int, "shard": str, "file": str, "bytes": int}
    keys = ("source", "source_bytes", "draw", *names)
    if not isinstance(row, dict) or not all(isinstance(row.get(key), kinds[key]) for key in keys):
        raise UserError(f"{where}: damaged; delete {MANIFEST}, and the same command degrades the images again")
    return row


def _read_settings(target: Path) -> dict[str, Any] | None:
    return read_settings(target / SETTINGS, "images_digest", "degrade")
