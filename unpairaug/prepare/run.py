"""`prepare`: convert a folder of photographs to sub-images or shards; interrupted work resumes."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from unpairaug.batch.executor import Executor
from unpairaug.data.files import WriteError, write_error
from unpairaug.data.images import find_images
from unpairaug.data.remote_images import find_remote_images
from unpairaug.data.storage import is_url
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
    read_prepare_settings,
    summarize,
    write_records,
)
from unpairaug.prepare.remove import PARTIAL, remove_all, remove_rows, remove_unfinished
from unpairaug.prepare.shards import write_json
from unpairaug.prepare.work import MakeCutter, PhotographCutter, Pieces, Source


class Preparation:
    """The conversion of one SRC to one OUT."""

    def __init__(
        self,
        source: Path | str,
        target: Path,
        cut: Cut,
        *,
        shard_bytes: int | None = None,
        licences: Path | None = None,
        max_bad: float = 0.1,
    ) -> None:
        """Find the photographs.

        Args:
            source: the folder of photographs, searched recursively; a path or a URL.
            target: the output folder.
            cut: the rule by which photographs are cut.
            shard_bytes: largest size of a shard in bytes; None writes single files.
            licences: a CSV file with photographs in the first column; the other columns are copied to the manifest.
            max_bad: allowed share of bad photographs.

        Raises:
            UserError: a folder is not suitable, or the table of licences cannot be read.
        """
        self.sources, self.skipped = _find_sources(source, target)
        """`skipped` is a sentence that counts the files of SRC that are no images; None without any."""
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
        """Lock OUT against other processes; with `force`, remove earlier outputs.

        Raises:
            UserError: OUT holds other files, was started with other settings, or is in use.
            RunStopped: OUT cannot be written.
        """
        _check_target(self.target)
        try:
            self.target.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.target / ".lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(f"{escape(self.target)}: another `prepare` writes here; wait until it ends") from error
        except OSError as error:
            raise write_error(self.target, error, "folder") from error
        with lock:
            with stop_on_write_error(self.target):
                if force and (begun := read_prepare_settings(self.target)) is not None:
                    remove_all(self.target, begun, self.journal)
                self._start_or_resume()
            yield

    @property
    def is_done(self) -> bool:
        """Whether OUT is complete."""
        return (self.target / "manifest.jsonl").exists()

    @property
    def next_part(self) -> tuple[int, int]:
        """The index of the next photograph, and of its next piece."""
        at = (0, 0)
        for entry in self.journal:
            at = entry["next"]
        return at[0], at[1]

    @property
    def remaining(self) -> int:
        """Number of photographs that are still to be cut."""
        return 0 if self.is_done else len(self.sources) - self.next_part[0]

    def cut_photographs(self, executor: Executor) -> Generator[Pieces]:
        """Cut the remaining photographs and yield each one when it is done; closing the generator ends the workers.

        Raises:
            UserError: the share of bad photographs exceeds `max_bad`.
            RunStopped: workers died again and again, or OUT cannot be written.
        """
        if not self.remaining:
            return
        with stop_on_write_error(self.target):
            yield from self._cut_remaining(executor)

    def _cut_remaining(self, executor: Executor) -> Generator[Pieces]:
        image, piece = self.next_part
        bad = [problem for entry in self.journal for _, problem in entry["bad"]]
        output = self._create_output()
        try:
            make = MakeCutter(self.work_on, carries=executor.ray is not None)
            with closing(executor.map(make, self.sources[image:])) as carried:
                for done, files in carried:
                    for name, data in files.items():
                        (self.parts / name).write_bytes(data)
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
        """Write index and manifest, and return the summary.

        Raises:
            UserError: `on_bad` is `raise` and photographs are bad, there is no output, or a file is missing.
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
                "the others are done: --on-bad skip ignores these and finishes at once; or repair them and start again "
                "with --force",
            )
        if not was_done:
            with stop_on_write_error(self.target):
                write_records(self.target, self.settings, self.journal, result)
                self._remove_scratch()
        return result

    def _start_or_resume(self) -> None:
        begun = read_prepare_settings(self.target)
        if begun is None:
            write_json(self.target / "prepare.json", self.settings)
        elif changed := list_differences(begun, self.settings):
            raise UserError(
                f"{escape(self.target)} was started with other settings ({'; '.join(changed)}); give the same, "
                "another folder, or --force to start again"
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


def _find_sources(source: Path | str, target: Path) -> tuple[list[Source], str | None]:
    """The photographs of SRC, and what is skipped there."""
    if is_url(str(source)):
        sizes, skipped = find_remote_images(str(source))
        paths: list[Path | str] = [f"{str(source).rstrip('/')}/{name}" for name in sizes]
        names, found = list(sizes), list(sizes.values())
    else:
        folder = Path(source)
        _check_places(folder, target)
        local, skipped = find_images(folder)
        names = [path.relative_to(folder.expanduser()).as_posix() for path in local]
        paths, found = list[Path | str](local), [path.stat().st_size if path.exists() else -1 for path in local]
    keys = make_keys(names)
    return [Source(i, names[i], paths[i], keys[i], found[i]) for i in range(len(names))], skipped


def _check_places(source: Path, target: Path) -> None:
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
    if not target.exists() or read_prepare_settings(target) is not None:
        return
    if strangers := [
        path.name for path in target.iterdir() if path.name != ".lock" and not PARTIAL.fullmatch(path.name)
    ]:
        raise UserError(
            f"{escape(target)} holds other files ({escape(min(strangers))}); give a new or empty folder for the results"
        )


@contextmanager
def stop_on_write_error(target: Path) -> Iterator[None]:
    """Turn write errors into one message that says how to resume.

    Raises:
        RunStopped: a file cannot be written, for example on a full disk.
    """
    try:
        yield
    except (OSError, WriteError) as error:
        reason = str(error)
        if isinstance(error, OSError):
            reason = f"{escape(target)} cannot be written ({escape(error.strerror or error)})"
        raise RunStopped(f"{reason}; completed output stays; run the same command again to resume") from error


def list_differences(begun: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """The settings that differ, as `name: old → new`."""
    names = [name for name in asked if begun.get(name) != asked[name]]
    return [f"{name}: {begun.get(name)} → {asked[name]}" for name in names]
