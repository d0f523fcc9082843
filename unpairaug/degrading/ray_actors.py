"""The parts of `degrade` as a Ray Data pipeline: a pool of actors, on this machine or on a cluster.

What flows through the pipeline are the numbers of the parts, not pixels. `ray.data.read_webdataset` would load whole
shards into memory and cut them by size, and what `write_webdataset` writes has names of its own; an actor that reads
and writes its shard by itself makes the same bytes as any other process, whole or not at all.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from unpairaug.degrading.degrade import Degrader
from unpairaug.degrading.job import Job, Part
from unpairaug.degrading.work import Done, Team, Worker
from unpairaug.errors import RunStopped, UserError


def ray_team(actors: int) -> Team:
    """So many actors, each with a GPU where the cluster has any, and else with a CPU.

    Ray is the one that `RAY_ADDRESS` names, or one that is started here and ends with the work.

    Raises:
        UserError: Ray is not installed.
    """
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UserError("--ray needs Ray; install it with: pip install 'unpairaug[ray]'") from error
    return partial(_work, actors)


def _work(actors: int, job: Job, parts: Sequence[Part]) -> Iterator[Done]:
    """Do the parts, and yield what became of each as it is done."""
    if not parts:
        return
    import ray

    own = not ray.is_initialized()
    if own:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        gpus = int(ray.cluster_resources().get("GPU", 0) > 0)
        done = ray.data.from_items([{"part": part.number} for part in parts], override_num_blocks=len(parts)).map(
            _Actor,  # type: ignore[arg-type]  # its instances are what is called
            fn_constructor_args=(replace(job), Path.cwd(), gpus > 0),  # afresh: without the images it has listed
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
            num_gpus=gpus,
            num_cpus=1 - gpus,
        )
        yield from map(_received, done.iter_rows())
    finally:
        if own:
            ray.shutdown()


class _Actor:
    """Holds a translator and does the parts whose numbers it is given."""

    def __init__(self, job: Job, folder: Path, gpu: bool) -> None:
        os.chdir(folder)  # relative paths mean to every actor what they mean to whoever gave them
        self.job = job
        self.worker = Worker(job, Degrader(job.how, "cuda" if gpu else "cpu"))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"done": json.dumps(asdict(self.worker(self.job.parts[row["part"]]))), "error": "", "stopped": False}
        except (UserError, RunStopped) as error:  # Ray would wrap it in its own, with a traceback
            return {"done": "", "error": str(error), "stopped": isinstance(error, RunStopped)}


def _received(row: dict[str, Any]) -> Done:
    if row["error"]:
        raise (RunStopped if row["stopped"] else UserError)(row["error"])
    return Done(**json.loads(row["done"]))
