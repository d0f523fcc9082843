"""Run the parts of a job in Ray actors, on this machine or on a cluster.

Ray Data is not used here: it streams rows through operators in blocks whose order and size it chooses, while the parts
of `prepare`, `degrade` and `restore` are few, large, ordered, and write their own files. Actors load a model once, Ray
restarts an actor that dies and repeats its call, and GPUs are assigned by Ray's resource requests.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from unpairaug.batch.parts import AHEAD, ATTEMPTS, MakeWorker, Part, Result
from unpairaug.errors import RunStopped, UserError, format_install

log = logging.getLogger("unpairaug")


def map_with_ray(make: MakeWorker[Part, Result], parts: Iterable[Part], actors: int) -> Generator[Result]:
    """Yield the result of each part, in order; see `Executor.map`.

    Connects to the cluster in `RAY_ADDRESS`, or starts a local Ray that ends with the work.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached.
        RunStopped: actors died `ATTEMPTS` times at the same part.
        Exception: of the worker.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--ray needs Ray: {format_install('ray')}") from error
    is_own = not ray.is_initialized()
    if is_own:
        try:
            ray.init(log_to_driver=False, logging_level=logging.WARNING)
        except ConnectionError as error:
            raise UserError(f"the Ray cluster cannot be reached ({error}); check RAY_ADDRESS") from error
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError

    try:
        yield from _map_in_actors(ray, make, iter(parts), actors)
    except (RayActorError, OutOfMemoryError, NodeDiedError) as error:  # no classes of each other
        raise RunStopped(
            f"Ray actors ended {ATTEMPTS} times at the same part, probably for lack of memory; the same command with "
            "fewer actors resumes"
        ) from error
    finally:
        if is_own:
            ray.shutdown()


def _map_in_actors(ray: Any, make: MakeWorker[Part, Result], parts: Iterable[Part], actors: int) -> Generator[Result]:
    gpus = int(ray.cluster_resources().get("GPU", 0) > 0)
    options = {"num_gpus": gpus, "num_cpus": 1 - gpus, "max_restarts": -1, "max_task_retries": ATTEMPTS - 1}
    actor_class = ray.remote(**options)(_Actor)
    pool = [actor_class.remote(make, Path.cwd(), "cuda" if gpus else "cpu") for _ in range(actors)]
    starting = {actor.process.remote(): actor for actor in pool}  # a cluster may have no room for all of them now
    ready: list[Any] = []
    calls: deque[tuple[Any, Any]] = deque()
    processes: dict[Any, int] = {}
    is_exhausted = False
    while True:
        if starting:
            started, _ = ray.wait([*starting], num_returns=1, timeout=0 if ready else None)
            for reference in started:
                ready.append(actor := starting.pop(reference))
                processes[actor] = ray.get(reference)
        while not is_exhausted and len(calls) < AHEAD * len(ready):
            actor = _choose_actor(ray, ready, calls)
            try:
                calls.append((actor.do.remote(next(parts)), actor))  # type: ignore[call-overload]
            except StopIteration:
                is_exhausted = True
        if not calls:
            return
        reference, actor = calls.popleft()
        process, result, error = ray.get(reference)
        if processes[actor] != process:
            log.warning("warning: a Ray actor ended, probably for lack of memory; its parts were done again")
            processes[actor] = process
        if error is not None:
            raise error
        yield result


def _choose_actor(ray: Any, ready: list[Any], calls: deque[tuple[Any, Any]]) -> Any:
    """The actor with the fewest calls that are not done."""
    references = [reference for reference, _ in calls]
    done = set(ray.wait(references, num_returns=len(references), timeout=0)[0]) if references else set()
    busy = [actor for reference, actor in calls if reference not in done]
    return min(ready, key=busy.count)


class _Actor:
    """Creates a worker once, and does parts with it."""

    def __init__(self, make: MakeWorker[Any, Any], folder: Path, device: str) -> None:
        with suppress(OSError):  # another machine may not have it
            os.chdir(folder)  # relative paths must mean the same in every actor
        self.make, self.device, self.worker = make, device, None

    def process(self) -> int:
        """The process id."""
        return os.getpid()

    def do(self, part: Any) -> tuple[int, Any, Exception | None]:
        """The process id, and the result of a part or an error that is no mistake of the program."""
        try:
            if self.worker is None:
                self.worker = self.make(self.device)
            return os.getpid(), self.worker(part), None
        except (UserError, RunStopped) as error:  # Ray would wrap the exception and print a traceback
            return os.getpid(), None, error
