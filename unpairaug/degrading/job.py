"""`degrade`: images or shards IN to degraded ones or pairs in OUT, by any processes, in any number of sittings.

The work is divided into parts, an image or a shard each, that come out the same whoever does them and when. What is
complete gets its name at once, then a line in a journal; the manifest gathers these lines at the end, in order.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from filelock import FileLock, Timeout

from unpairaug.data.images import ImageSet, write_file
from unpairaug.data.shard_index import FOLDER_INDEX, format_folder_index, read_index
from unpairaug.data.sources import open_images
from unpairaug.data.storage import is_url
from unpairaug.degrading.degrade import Degradation
from unpairaug.errors import UserError, escape
from unpairaug.prepare.journal import Journal
from unpairaug.prepare.record import raise_bad_photographs
from unpairaug.prepare.remove import PARTIAL
from unpairaug.prepare.run import ADDRESS, list_differences, stop_on_write_error
from unpairaug.prepare.shards import write_json

SETTINGS = "degrade.json"
MANIFEST = "manifest.jsonl"
JOURNALS = ".journal.*.jsonl"
PARTS = ".parts"
"""Folder of OUT for files that are being written."""
SHARD_BYTES = 2**26
"""Bytes of image files, times the draws, after which the next shard begins where IN is a folder."""

Row = dict[str, Any]
"""A line of the manifest."""


class Part(NamedTuple):
    """Images that are worked on by one process and complete together."""

    number: int
    images: range
    """Where they are in the set."""


class Entry(TypedDict):
    """A part that is complete on disk."""

    rows: list[Row]


@dataclass(frozen=True)
class Job:
    """One IN on its way into one OUT."""

    source: str
    """A folder of images, shards, or `sample`."""
    target: Path
    how: Degradation
    pairs: bool = False
    """Whether each degraded image comes with the clean one."""
    draws: int = 1
    """Degraded images for each clean one."""
    into_shards: bool | None = None
    """Whether OUT is of shards; None if IN is."""

    @cached_property
    def images(self) -> ImageSet:
        return open_images(self.source, "clean", scale=1)

    @cached_property
    def shards(self) -> bool:
        return self.images.shard_sizes is not None if self.into_shards is None else self.into_shards

    @cached_property
    def parts(self) -> list[Part]:
        """One for each shard of OUT, or each image where it is a folder of files; the same for any process."""
        if not self.shards:
            return [Part(i, range(i, i + 1)) for i in range(len(self.images))]
        if self.images.shard_sizes is not None:
            ends = self.images.shard_sizes.cumsum().tolist()
        else:
            ends = [*_ends([bytes_of(self.images, i) * self.draws for i in range(len(self.images))], SHARD_BYTES)]
        starts = [0, *ends[:-1]]
        return [Part(n, range(start, end)) for n, (start, end) in enumerate(zip(starts, ends, strict=True))]

    def left(self) -> list[Part]:
        """The parts of which something is missing in OUT."""
        done = {(row["source"], row["draw"]) for row in self.rows() if self._is_intact(row)}
        names, draws = self.images.names, range(self.draws)
        return [part for part in self.parts if any((names[i], d) not in done for i in part.images for d in draws)]

    def rows(self) -> Iterator[Row]:
        """The lines of what is complete: of the manifest of an earlier sitting, then of the journals."""
        if (manifest := self.target / MANIFEST).exists():
            with manifest.open(encoding="utf-8") as file:
                yield from map(json.loads, file)
        for path in sorted(self.target.glob(JOURNALS)):
            yield from (row for entry in Journal[Entry](path) for row in entry["rows"])

    def journal(self, process: int) -> Journal[Entry]:
        """What a process notes."""
        return Journal(self.target / JOURNALS.replace("*", str(process)))

    @contextmanager
    def claimed(self, facts: dict[str, Any]) -> Generator[None]:
        """Keep others out of OUT, and remove what a killed sitting left unfinished; for one process of all.

        Raises:
            UserError: OUT holds something else, was begun with other settings, or is being written.
            RunStopped: OUT cannot be written.
        """
        check_places(self.source, self.target)
        try:
            self.target.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.target / ".lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(f"{escape(self.target)}: another `degrade` is writing here; wait for it") from error
        except OSError as error:
            raise UserError(
                f"{escape(self.target)} cannot be written: {error.strerror}; give another folder"
            ) from error
        with lock:
            with stop_on_write_error(self.target):
                self._begin(self._settings(facts))
            yield

    def finish(self, problems: Sequence[str]) -> str:
        """Write the manifest, and for shards their list; returns what is in OUT.

        Raises:
            UserError: some images could not be read.
            RunStopped: OUT cannot be written.
        """
        at = {name: i for i, name in enumerate(self.images.names)}
        lines = {(at[row["source"]], row["draw"]): row for row in self.rows()}
        with stop_on_write_error(self.target):
            if self.shards and not self.pairs:
                found = sorted({row["shard"] for row in lines.values()})
                sizes = {name: self._shard_size(name) for name in found}
                write_file(self.target / FOLDER_INDEX, format_folder_index(sizes).encode())
            text = "".join(json.dumps(lines[key]) + "\n" for key in sorted(lines))
            (self.target / ".manifest.partial").write_text(text, encoding="utf-8", newline="\n")
            (self.target / ".manifest.partial").replace(self.target / MANIFEST)
            self._sweep()
        what = f"{len(lines)} {'pairs' if self.pairs else 'images'} of {len({i for i, _ in lines})} images"
        if problems:
            raise_bad_photographs(
                problems, f"{what} are in {escape(self.target)}; mend these, and the same command adds them"
            )
        return f"{what} in {escape(self.target)}"

    def _begin(self, settings: dict[str, Any]) -> None:
        begun = _read_settings(self.target)
        if begun is None:
            write_json(self.target / SETTINGS, settings)
        elif changed := list_differences(begun, settings):
            what = escape("; ".join(changed))
            raise UserError(f"{escape(self.target)} was begun otherwise ({what}); give the same, or another folder")
        for path in self.target.iterdir():
            if PARTIAL.fullmatch(path.name):
                path.unlink()
        shutil.rmtree(self.target / PARTS, ignore_errors=True)
        (self.target / PARTS).mkdir()
        for path in self.target.glob(JOURNALS):
            Journal[Entry](path).keep_intact(lambda entry: all(map(self._is_intact, entry["rows"])), remove=lambda _: None)

    def _settings(self, facts: dict[str, Any]) -> dict[str, Any]:
        """All that decides what comes out, as `degrade.json` keeps it."""
        names = "\n".join(self.images.names).encode(errors="surrogatepass")
        settings = {"version": 1, "pairs": self.pairs, "draws": self.draws, "shards": self.shards}
        return {**settings, **facts, "images": len(self.images), "images_digest": sha256(names).hexdigest()[:16]}

    def _is_intact(self, row: Row) -> bool:
        """Whether what a line tells of is there, and still made of the same image."""
        index = self._at.get(row["source"])
        if index is None or bytes_of(self.images, index) != row["source_bytes"]:
            return False
        if "shard" in row:  # it got its name when it was complete
            return (self.target / row["shard"]).is_file()
        files = [(row["file"], row["bytes"])] + ([(row["clean"], row["clean_bytes"])] if "clean" in row else [])
        return all((path := self.target / name).is_file() and path.stat().st_size == size for name, size in files)

    @cached_property
    def _at(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.images.names)}

    def _shard_size(self, name: str) -> tuple[int, int]:
        path = self.target / name
        return len(read_index(str(path))), path.stat().st_size

    def _sweep(self) -> None:
        shutil.rmtree(self.target / PARTS, ignore_errors=True)
        for path in self.target.glob(JOURNALS):
            path.unlink()


def bytes_of(images: ImageSet, i: int) -> int:
    """The size of an image's file, by which a changed one is known; 0 where it is in no file."""
    identity = images.identity(i)
    return 0 if identity is None else identity[2]


def check_places(source: str, target: Path) -> None:
    """See that OUT is a folder that may be written to, apart from IN.

    Raises:
        UserError: it is not.
    """
    if ADDRESS.match(target.as_posix()):
        raise UserError(f"{escape(target)} is an address; give a folder of this machine, and copy it afterwards")
    if target.exists() and not target.is_dir():
        raise UserError(f"{escape(target)} is a file; give a folder for the results")
    folder = Path(source).expanduser()
    if not is_url(source) and folder.is_dir() and folder.resolve() in (target.resolve(), *target.resolve().parents):
        raise UserError(
            f"{escape(target)} lies in {escape(source)}, where the results would be taken for images at the next call; "
            "give a folder outside"
        )
    if target.exists() and _read_settings(target) is None:
        known = (path for path in target.iterdir() if path.name != ".lock" and not PARTIAL.fullmatch(path.name))
        if strangers := [path.name for path in known]:
            raise UserError(
                f"{escape(target)} holds other files ({escape(min(strangers))}); give a new or empty folder"
            )


def _ends(sizes: Iterable[int], limit: int) -> Iterator[int]:
    """Where parts end that are as large as can be within a limit, or hold one item."""
    held, count = 0, 0
    for count, size in enumerate(sizes, 1):
        if held and held + size > limit:
            yield count - 1
            held = 0
        held += size
    yield count


def _read_settings(target: Path) -> dict[str, Any] | None:
    """The settings that OUT was begun with; None where nothing was begun.

    Raises:
        UserError: the file that should hold them is another's.
    """
    path = target / SETTINGS
    if not path.exists():
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        settings = None
    if not isinstance(settings, dict) or "images_digest" not in settings:
        raise UserError(f"{escape(path)} was not written by `degrade`; give another folder for the results")
    return settings
