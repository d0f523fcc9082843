"""Runs the parts of `degrade` on a pool of Ray actors, local or on a cluster.

The Ray Data pipeline passes part numbers, not pixels. `ray.data.read_webdataset` would load whole shards into memory
and split them by size, and `write_webdataset` chooses its own names. Actors that read and write their own shards
produce the same bytes as any other process, and write each file atomically.
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
from unpairaug.degrading.work import PartResult, Team, Worker
from unpairaug.errors import RunStopped, UserError


def ray_team(actors: int) -> Team:
    """A team of Ray actors, each with a GPU if the cluster has any, otherwise with a CPU.

    Connects to the cluster in `RAY_ADDRESS`, or starts a local Ray that ends with the work.

    Raises:
        UserError: Ray is not installed.
    """
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UserError("--ray needs Ray; install it with: pip install 'unpairaug[ray]'") from error
    return partial(_run_actors, actors)


def _run_actors(actors: int, job: Job, parts: Sequence[Part]) -> Iterator[PartResult]:
    """Process the parts, and yield each result as it is complete."""
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
            fn_constructor_args=(replace(job), Path.cwd(), gpus > 0),  # a copy without the cached list of images
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
            num_gpus=gpus,
            num_cpus=1 - gpus,
        )
        yield from map(_unpack_result, done.iter_rows())
    finally:
        if own:
            ray.shutdown()


class _Actor:
    """Loads a translator and processes parts by their numbers."""

    def __init__(self, job: Job, folder: Path, gpu: bool) -> None:
        os.chdir(folder)  # relative paths must mean the same in every actor
        self.job = job
        self.worker = Worker(job, Degrader(job.degradation, "cuda" if gpu else "cpu"))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"done": json.dumps(asdict(self.worker(self.job.parts[row["part"]]))), "error": "", "stopped": False}
        except (UserError, RunStopped) as error:  # Ray would wrap the exception and print a traceback
            return {"done": "", "error": str(error), "stopped": isinstance(error, RunStopped)}


def _unpack_result(row: dict[str, Any]) -> PartResult:
    if row["error"]:
        raise (RunStopped if row["stopped"] else UserError)(row["error"])
    return PartResult(**json.loads(row["done"]))
