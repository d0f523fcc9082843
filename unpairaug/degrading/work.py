"""Runs `degrade`: each process does its share of the parts, with one image in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import NamedTuple
from uuid import uuid4

from accelerate.utils import gather_object

from unpairaug.batch.executor import IN_PROCESS, Executor
from unpairaug.data.decode import Array, decode_image
from unpairaug.data.files import WriteError, create_folder, write_error
from unpairaug.data.photograph import Colour, read_colour
from unpairaug.degrading.degrade import Degrader, sha256_of
from unpairaug.degrading.job import PARTS, Job, Part, Row, file_size
from unpairaug.errors import RunStopped, UserError
from unpairaug.prepare.keys import make_keys
from unpairaug.prepare.run import stop_on_write_error
from unpairaug.prepare.shards import ShardWriter, shard_name
from unpairaug.prepare.work import encode_png
from unpairaug.restoring.processes import process_state
from unpairaug.restoring.restore import best_device
from unpairaug.terminal.progress import with_progress

PATIENCE = timedelta(days=30)
"""Timeout of the process group: the others wait for the process with the largest images."""
UNBOUNDED = 2**63
"""Size limit of an output shard; its part alone determines the size."""


@dataclass
class PartResult:
    """Result of a part."""

    first_image: str
    """For the progress display."""
    rows: list[Row] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Messages about images that could not be read."""
    unwritten: list[str] = field(default_factory=list)
    """Messages about files that could not be written."""

    def __str__(self) -> str:
        return self.first_image


class DegradedImage(NamedTuple):
    """A degraded image and, with pairs, its clean image as PNG files."""

    key: str
    degraded: bytes
    clean: bytes | None
    size: tuple[int, int]
    """Width and height of the degraded image in pixels."""
    facts: Row
    """Its line in the manifest, without file names."""


class Worker:
    """Processes the parts of a job."""

    def __init__(self, job: Job, degrader: Degrader) -> None:
        self.job, self.degrader = job, degrader

    def __call__(self, part: Part) -> PartResult:
        """Degrade and write a part.

        Raises:
            UserError: the model cannot degrade an image, or memory does not suffice.
            RunStopped: OUT cannot be written.
        """
        result = PartResult(self.job.images.location(part.images[0]))
        with stop_on_write_error(self.job.target):
            (self._write_shard if self.job.shards else self._write_files)(part, result)
            if self.job.remote:
                self.job.remote.push(result.rows)
        return result

    @contextmanager
    def _attempt(self, result: PartResult) -> Iterator[None]:
        """Write a file in this block; record a fault of this file alone, and raise one of the whole disk."""
        try:
            yield
        except WriteError as error:
            if error.is_of_disk:
                raise
            result.unwritten.append(str(error))

    def _write_files(self, part: Part, result: PartResult) -> None:
        for image in self._degrade_part(part, result):
            row: Row = {"file": f"lq/{image.key}.png" if self.job.pairs else f"{image.key}.png"}
            with self._attempt(result):
                self._write_atomically(row["file"], image.degraded)
                if image.clean is not None:
                    row["clean"] = f"gt/{image.key}.png"
                    self._write_atomically(row["clean"], image.clean)
                result.rows.append({**row, **image.facts})

    def _write_shard(self, part: Part, result: PartResult) -> None:
        path = self.job.target / shard_name(part.number)
        with self._attempt(result):
            try:
                shard = ShardWriter(self.job.target, part.number, UNBOUNDED)
                self._fill_shard(shard, part, result)
            except OSError as error:
                raise write_error(path, error) from error

    def _fill_shard(self, shard: ShardWriter, part: Part, result: PartResult) -> None:
        try:
            for image in self._degrade_part(part, result):
                row: Row = {"shard": shard.path.name}
                extension = "lq.png" if self.job.pairs else "png"
                files = {extension: (image.degraded, *image.size)}
                row["file"] = f"{image.key}.{extension}"
                if image.clean is not None:
                    width, height = (self.degrader.scale * side for side in image.size)
                    files["gt.png"] = image.clean, width, height
                    row["clean"] = f"{image.key}.gt.png"
                shard.add(image.key, files)
                result.rows.append({**row, **image.facts})
            shard.close() if result.rows else shard.discard()
        except BaseException:
            result.rows.clear()
            shard.discard()
            raise

    def _write_atomically(self, name: str, data: bytes) -> None:
        path, partial = self.job.target / name, self.job.target / PARTS / uuid4().hex
        create_folder(path.parent)
        create_folder(partial.parent)
        try:
            partial.write_bytes(data)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise write_error(path, error) from error

    def _degrade_part(self, part: Part, result: PartResult) -> Iterator[DegradedImage]:
        """Degrade the part's images in order, each with its draws; unreadable images are recorded and skipped."""
        images = self.job.images
        for i, key in zip(part.images, self._keys(part), strict=True):
            try:
                data = images.read_bytes(i)
                clean = self.degrader.crop(decode_image(data, images.location(i)))
            except UserError as error:
                result.unreadable.append(str(error))
                continue
            facts = {"source": images.names[i], "source_bytes": file_size(images, i), "source_sha256": sha256_of(data)}
            colour = read_colour(data)
            del data
            yield from self._draws(key, clean, facts, colour)

    def _draws(self, key: str, clean: Array, facts: Row, colour: Colour) -> Iterator[DegradedImage]:
        clean_png = encode_png(clean, *colour) if self.job.pairs else None
        clean_facts = {} if clean_png is None else {"clean_bytes": len(clean_png), "clean_sha256": sha256_of(clean_png)}
        for draw in range(self.job.draws):
            degraded = self.degrader(clean, facts["source"], draw)
            height, width = degraded.shape[:2]
            png = encode_png(degraded, *colour)
            png_facts = {"draw": draw, "width": width, "height": height, "bytes": len(png), "sha256": sha256_of(png)}
            suffix = "" if self.job.draws == 1 else f"_d{draw:0{len(str(self.job.draws - 1))}}"
            row = {**png_facts, **clean_facts, **facts, **self.degrader.facts}
            yield DegradedImage(key + suffix, png, clean_png, (width, height), row)

    def _keys(self, part: Part) -> list[str]:
        """One portable name for each image, unique in the shard or, for files, in OUT."""
        images = self.job.images
        if self.job.shards and images.shard_sizes is not None:
            return make_keys([images.stem(i) for i in part.images])
        return [self._keys_of_folder[i] for i in part.images]

    @cached_property
    def _keys_of_folder(self) -> list[str]:
        # BasicSR does not read sub-folders of paired folders.
        return make_keys([*self.job.images.names], flat=self.job.pairs and not self.job.shards)


@dataclass(frozen=True)
class MakeDegrader:
    """Creates the worker of a process."""

    job: Job

    def __call__(self, device: str | None) -> Worker:
        """Load the translator, on the accelerator of this machine by default."""
        return Worker(self.job, Degrader(self.job.degradation, device or best_device()))


def degrade(job: Job, executor: Executor = IN_PROCESS) -> str:
    """Process the parts of a job that are not complete; return a summary of OUT.

    Collective: under `accelerate launch` every process must call it, and the parts are divided over them.

    Args:
        job: what is degraded.
        executor: workers that process the parts instead of this process, which then only keeps the journal.

    Raises:
        UserError: model, IN or OUT are invalid, or some images could not be read; all others are done.
        RunStopped: OUT cannot be written.
    """
    state = process_state(timeout=PATIENCE)
    is_alone = executor == IN_PROCESS
    worker = Worker(job, Degrader(job.degradation, state.device or "cpu" if is_alone else "cpu"))
    if job.remote and state.is_local_main_process:
        job.remote.pull()
    with (
        _report_from_this_process(),
        job.lock_output(worker.degrader.facts) if state.is_main_process else nullcontext(),
    ):
        state.wait_for_everyone()
        unfinished = job.unfinished_parts()
        state.wait_for_everyone()  # no process may write before all have listed the unfinished parts
        if state.is_main_process:
            print("\n".join([*job.images.remarks, str(worker.degrader)]), flush=True)
            print(
                f"{len(unfinished)} of {len(job.parts)} {'shards' if job.shards else 'images'} to process", flush=True
            )
        mine = unfinished[state.process_index :: state.num_processes]
        journal, unreadable, unwritten = job.journal(state.process_index), list[str](), list[str]()
        # A copy without the cached list of images: it is pickled.
        results = map(worker, mine) if is_alone else executor.map(MakeDegrader(replace(job)), mine)
        for result in with_progress(results, len(mine)):
            with stop_on_write_error(job.target):
                journal.append({"rows": result.rows})
            unreadable += result.unreadable
            unwritten += result.unwritten
            if job.remote:
                job.remote.push_journals()
        if job.remote:
            job.remote.push_journals(now=True)
        unreadable, unwritten = gather_object(unreadable), gather_object(unwritten)
        return _finish(job, unreadable, unwritten) if state.is_main_process else ""


def _finish(job: Job, unreadable: list[str], unwritten: list[str]) -> str:
    """Write the records of OUT, also where other machines have written its files; see `Job.finish`."""
    if job.remote:
        job.remote.pull()
    try:
        summary = job.finish(unreadable, unwritten)
    except UserError:  # some images could not be read, and OUT holds all others
        if job.remote:
            job.remote.finish()
        raise
    if job.remote:
        job.remote.finish()
    return summary


@contextmanager
def _report_from_this_process() -> Iterator[None]:
    """Print errors of this process whatever its rank, since no other process has them."""
    try:
        yield
    except (UserError, RunStopped) as error:
        error.is_of_one_process = True  # type: ignore[union-attr]
        raise
