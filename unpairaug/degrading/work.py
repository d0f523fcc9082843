"""What a process of `degrade` does: its share of the parts, one image in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from io import BytesIO
from typing import NamedTuple
from uuid import uuid4

from accelerate.utils import gather_object

from unpairaug.data.decode import Array, decode_image
from unpairaug.degrading.degrade import Degrader, digest
from unpairaug.degrading.job import PARTS, Job, Part, Row, bytes_of
from unpairaug.errors import RunStopped, UserError
from unpairaug.prepare.keys import make_keys
from unpairaug.prepare.run import stop_on_write_error
from unpairaug.prepare.shards import ShardWriter
from unpairaug.prepare.work import encode_png
from unpairaug.restoring.processes import process_state
from unpairaug.terminal.progress import with_progress

PATIENCE = timedelta(days=30)
"""How long processes wait for each other: for the one whose images are the largest."""
UNBOUNDED = 2**63
"""A shard of OUT is as large as what becomes of its part."""


@dataclass
class Done:
    """What became of a part."""

    what: str
    """Its first image, for whoever follows the progress."""
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What is wrong with images that could not be read."""

    def __str__(self) -> str:
        return self.what


class Made(NamedTuple):
    """A degraded image, and the clean one where pairs are wanted, as PNG files."""

    key: str
    degraded: bytes
    clean: bytes | None
    size: tuple[int, int]
    """Width and height of the degraded image in pixels."""
    facts: Row
    """What the manifest says of it, but for the files."""


class Worker:
    """Does parts of a job."""

    def __init__(self, job: Job, degrader: Degrader) -> None:
        self.job, self.degrader = job, degrader

    def __call__(self, part: Part) -> Done:
        """Make a part of OUT.

        Raises:
            UserError: the model or the device is not fit for it.
            RunStopped: OUT cannot be written.
        """
        done = Done(self.job.images.location(part.images[0]))
        with stop_on_write_error(self.job.target):
            (self._pack if self.job.shards else self._write)(part, done)
        return done

    def _write(self, part: Part, done: Done) -> None:
        for made in self._made(part, done):
            row: Row = {"file": f"lq/{made.key}.png" if self.job.pairs else f"{made.key}.png"}
            self._replace(row["file"], made.degraded)
            if made.clean is not None:
                row["clean"] = f"gt/{made.key}.png"
                self._replace(row["clean"], made.clean)
            done.rows.append({**row, **made.facts})

    def _pack(self, part: Part, done: Done) -> None:
        shard = ShardWriter(self.job.target, part.number, UNBOUNDED)
        try:
            for made in self._made(part, done):
                row: Row = {"shard": shard.path.name}
                extension = "lq.png" if self.job.pairs else "png"
                shard.add(made.key, extension, len(made.degraded), *made.size, BytesIO(made.degraded))
                row["file"] = f"{made.key}.{extension}"
                if made.clean is not None:
                    width, height = (self.degrader.scale * side for side in made.size)
                    shard.add(made.key, "gt.png", len(made.clean), width, height, BytesIO(made.clean))
                    row["clean"] = f"{made.key}.gt.png"
                done.rows.append({**row, **made.facts})
        except BaseException:
            shard.discard()
            raise
        shard.close() if done.rows else shard.discard()

    def _replace(self, name: str, data: bytes) -> None:
        path, partial = self.job.target / name, self.job.target / PARTS / uuid4().hex
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)

    def _made(self, part: Part, done: Done) -> Iterator[Made]:
        """The part's images in order, each with its draws; what cannot be read is noted and left out."""
        images = self.job.images
        for i, key in zip(part.images, self._keys(part), strict=True):
            try:
                data = images.read_bytes(i)
                clean = self.degrader.cropped(decode_image(data, images.location(i)))
            except UserError as error:
                done.problems.append(str(error))
                continue
            facts = {"source": images.names[i], "source_bytes": bytes_of(images, i), "source_sha256": digest(data)}
            del data
            yield from self._draws(key, clean, facts)

    def _draws(self, key: str, clean: Array, facts: Row) -> Iterator[Made]:
        twin = encode_png(clean) if self.job.pairs else None
        of_twin = {} if twin is None else {"clean_bytes": len(twin), "clean_sha256": digest(twin)}
        for draw in range(self.job.draws):
            degraded = self.degrader(clean, facts["source"], draw)
            height, width = degraded.shape[:2]
            file = encode_png(degraded)
            of_file = {"draw": draw, "width": width, "height": height, "bytes": len(file), "sha256": digest(file)}
            suffix = "" if self.job.draws == 1 else f"_d{draw:0{len(str(self.job.draws - 1))}}"
            row = {**of_file, **of_twin, **facts, **self.degrader.facts}
            yield Made(key + suffix, file, twin, (width, height), row)

    def _keys(self, part: Part) -> list[str]:
        """Safe names, one for each image: unlike any other in the shard, or where OUT is of files, in OUT."""
        images = self.job.images
        if self.job.shards and images.shard_sizes is not None:
            return make_keys([images.stem(i) for i in part.images])
        return [self._all_keys[i] for i in part.images]

    @cached_property
    def _all_keys(self) -> list[str]:
        # BasicSR and its family read folders of pairs without what lies below them.
        return make_keys([*self.job.images.names], flat=self.job.pairs and not self.job.shards)


Team = Callable[[Job, Sequence[Part]], Iterator[Done]]
"""Others that do parts in place of this process."""


def degrade(job: Job, team: Team | None = None) -> str:
    """Do what is left of a job; returns what is in OUT. Under `accelerate launch` the processes share the parts.

    Collective: every process must call it. With a `team`, there is one, and it only keeps the books.

    Raises:
        UserError: model, IN or OUT are not fit, or some images could not be read; the others are done.
        RunStopped: OUT cannot be written.
    """
    state = process_state(timeout=PATIENCE)
    worker = Worker(job, Degrader(job.how, "cpu" if team else state.device or "cpu"))
    with _told_alone(), job.claimed(worker.degrader.facts) if state.is_main_process else nullcontext():
        state.wait_for_everyone()
        left = job.left()
        state.wait_for_everyone()  # nobody notes anything before all know what is left
        if state.is_main_process:
            print(worker.degrader, flush=True)
            print(f"{len(left)} of {len(job.parts)} {'shards' if job.shards else 'images'} to do", flush=True)
        mine = left[state.process_index :: state.num_processes]
        journal, problems = job.journal(state.process_index), []
        for done in with_progress(team(job, mine) if team else map(worker, mine), len(mine)):
            with stop_on_write_error(job.target):
                journal.append({"rows": done.rows})
            problems += done.problems
        problems = gather_object(problems)
        return job.finish(problems) if state.is_main_process else ""


@contextmanager
def _told_alone() -> Iterator[None]:
    """Let this process tell what goes wrong, whatever its rank: no other sees it."""
    try:
        yield
    except (UserError, RunStopped) as error:
        error.is_of_one_process = True  # type: ignore[union-attr]
        raise
