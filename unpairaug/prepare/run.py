"""`prepare`: a folder of photographs to a folder of sub-images or shards, in any number of sittings."""

from __future__ import annotations

import re
import shutil
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from unpairaug.data.images import list_images
from unpairaug.errors import RunStopped, UserError, escape
from unpairaug.prepare.cut import Cut
from unpairaug.prepare.journal import Journal
from unpairaug.prepare.keys import make_keys
from unpairaug.prepare.licences import Licences
from unpairaug.prepare.outputs import FilesOutput, Output, ShardsOutput, is_intact
from unpairaug.prepare.record import (
    Summary,
    check_complete,
    collect_settings,
    raise_bad_photographs,
    read_settings,
    summarize,
    write_records,
)
from unpairaug.prepare.remove import PARTIAL, remove_all, remove_rows, remove_unfinished
from unpairaug.prepare.shards import write_json
from unpairaug.prepare.work import PhotographCutter, Pieces, Source, map_in_order

ADDRESS = re.compile(r"[A-Za-z][\w+.:-]+:/")
"""How `s3://bucket/folder` begins once it was taken for a path; a letter and a colon may be a drive."""


class Preparation:
    """One SRC on its way into one OUT."""

    def __init__(
        self,
        source: Path,
        target: Path,
        cut: Cut,
        *,
        shard_bytes: int | None = None,
        licences: Path | None = None,
        max_bad: float = 0.1,
    ) -> None:
        """Find the photographs.

        Args:
            source: the folder of photographs, searched to any depth.
            target: the folder for what comes out.
            cut: how the photographs are cut.
            shard_bytes: bound of a shard; None writes files instead.
            licences: a CSV file whose first column names photographs and whose others go into the manifest.
            max_bad: the share of bad photographs beyond which the work stops.

        Raises:
            UserError: a folder is not fit, or the table of licences cannot be read.
        """
        _check_places(source, target)
        paths = list_images(source)
        names = [path.relative_to(source.expanduser()).as_posix() for path in paths]
        keys = make_keys(names)
        self.sources = [Source(i, names[i], paths[i], keys[i]) for i in range(len(paths))]
        self.target, self.max_bad = target.expanduser(), max_bad
        self.shard_bytes = shard_bytes
        self.licences = None if licences is None else Licences.read(licences)
        digest = None if licences is None else sha256(licences.read_bytes()).hexdigest()
        self.settings = collect_settings(cut, shard_bytes, digest, self.sources)
        self.journal = Journal(self.target / ".journal.jsonl")
        self.parts = self.target / ".parts"
        self.work_on = PhotographCutter(cut, self.parts, into_spool=shard_bytes is not None)

    @contextmanager
    def lock_target(self, force: bool = False) -> Iterator[None]:
        """Keep others out of OUT; with `force`, begin anew.

        Raises:
            UserError: OUT holds something else, was begun with other settings, or is being written.
            RunStopped: OUT cannot be written.
        """
        _check_target(self.target)
        try:
            self.target.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.target / ".lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(f"{escape(self.target)}: another `prepare` is writing here; wait for it") from error
        except OSError as error:
            raise UserError(
                f"{escape(self.target)} cannot be written: {error.strerror}; give another folder"
            ) from error
        with lock:
            with stop_on_write_error(self.target):
                if force and (begun := read_settings(self.target)) is not None:
                    remove_all(self.target, begun, self.journal)
                self._start_or_resume()
            yield

    @property
    def is_done(self) -> bool:
        """Whether an earlier run has completed OUT."""
        return (self.target / "manifest.jsonl").exists()

    @property
    def next_part(self) -> tuple[int, int]:
        """The photograph and its piece with which the work goes on."""
        at = (0, 0)
        for entry in self.journal:
            at = entry["next"]
        return at[0], at[1]

    @property
    def remaining(self) -> int:
        """Photographs still to be read."""
        return 0 if self.is_done else len(self.sources) - self.next_part[0]

    def cut_photographs(self, workers: int) -> Generator[Pieces]:
        """Cut what is left and yield each photograph as it is done; to close it ends the workers.

        Raises:
            UserError: more than the allowed share of the photographs is bad.
            RunStopped: a worker process was killed, or OUT cannot be written.
        """
        if not self.remaining:
            return
        with stop_on_write_error(self.target):
            yield from self._cut_remaining(workers)

    def _cut_remaining(self, workers: int) -> Generator[Pieces]:
        image, piece = self.next_part
        bad = [problem for entry in self.journal for _, problem in entry["bad"]]
        output = self._create_output()
        try:
            with closing(map_in_order(self.work_on, self.sources[image:], workers)) as pieces:
                for done in pieces:
                    output.add(done, first=piece if done.source.index == image else 0)
                    bad += [done.problem] if done.problem is not None else []
                    if len(bad) > self.max_bad * len(self.sources):
                        raise_bad_photographs(
                            bad, f"more than the allowed {self.max_bad:.0%} (--max-bad) of {len(self.sources)}"
                        )
                    yield done
            output.close()
        finally:
            output.discard()

    def finish(self, on_bad: Literal["raise", "skip"]) -> Summary:
        """Write index and manifest, and say what came out.

        Raises:
            UserError: some photographs are bad and are not to be skipped, nothing came out, or of what came out earlier
                something is gone.
            RunStopped: OUT cannot be written.
        """
        was_done = self.is_done
        if was_done:
            result = check_complete(self.target, self.sources, self.licences)
        else:
            result = summarize(self.journal, self.sources, self.licences)
        if result.bad and on_bad == "raise":
            raise_bad_photographs(
                [problem for _, problem in result.bad],
                "the others are done: --on-bad skip leaves these out and finishes at once; or mend them and begin anew "
                "with --force",
            )
        if not was_done:
            with stop_on_write_error(self.target):
                write_records(self.target, self.settings, self.journal, result)
                self._remove_scratch()
        return result

    def _start_or_resume(self) -> None:
        begun = read_settings(self.target)
        if begun is None:
            write_json(self.target / "prepare.json", self.settings)
        elif changed := list_differences(begun, self.settings):
            raise UserError(
                f"{escape(self.target)} was begun otherwise ({'; '.join(changed)}); give the same, another folder, "
                "or --force to begin anew"
            )
        if self.is_done:
            self._remove_scratch()
            return
        remove_unfinished(self.target, self.settings, self.journal)
        self.journal.keep_intact(
            intact=lambda entry: is_intact(self.target, entry),
            remove=lambda entry: remove_rows(self.target, entry["rows"]),
        )
        self.parts.mkdir()

    def _create_output(self) -> Output:
        if self.shard_bytes is None:
            return FilesOutput(self.target, self.journal, self.licences, self.work_on)
        return ShardsOutput(self.target, self.journal, self.licences, self.work_on, self.shard_bytes)

    def _remove_scratch(self) -> None:
        shutil.rmtree(self.parts, ignore_errors=True)
        self.journal.path.unlink(missing_ok=True)


def _check_places(source: Path, target: Path) -> None:
    for folder in (source, target):
        if ADDRESS.match(folder.as_posix()):
            raise UserError(
                f"{escape(folder)} is an address; `prepare` reads and writes folders of this machine: copy the "
                "photographs here first, or the results there afterwards"
            )
    here, there = source.expanduser().resolve(), target.expanduser().resolve()
    if here == there or here in there.parents:
        raise UserError(
            f"{escape(target)} lies in {escape(source)}, where the results would be taken for photographs at the next "
            "call; give a folder outside"
        )
    if there in here.parents:
        raise UserError(
            f"{escape(source)} lies in {escape(target)}; give a folder for the results that holds no sources"
        )


def _check_target(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise UserError(f"{escape(target)} is a file; give a folder for the results")
    if not target.exists() or read_settings(target) is not None:
        return
    if strangers := [
        path.name for path in target.iterdir() if path.name != ".lock" and not PARTIAL.fullmatch(path.name)
    ]:
        raise UserError(
            f"{escape(target)} holds other files ({escape(min(strangers))}); give a new or empty folder for the results"
        )


@contextmanager
def stop_on_write_error(target: Path) -> Iterator[None]:
    """Tell in one message that OUT cannot be written any more.

    Raises:
        RunStopped: the disk is full, or the like.
    """
    try:
        yield
    except OSError as error:
        raise RunStopped(
            f"{escape(target)} cannot be written ({error.strerror or error}); what is complete stays, and the same "
            "command goes on once that is mended"
        ) from error


def list_differences(begun: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """What is asked for otherwise than OUT was begun."""
    names = [name for name in asked if begun.get(name) != asked[name]]
    return [f"{name}: {begun.get(name)} → {asked[name]}" for name in names]
