"""Run a worker over the parts of a job: in this process, in local processes, or in Ray actors.

A part is a piece of work whose result does not depend on the process that does it. Results come in the order of the
parts, with a short look-ahead. A worker that dies, for example for lack of memory, is replaced, and its parts are done
again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic

from unpairaug.batch.parts import AHEAD, ATTEMPTS, MakeWorker, Part, Result
from unpairaug.errors import RunStopped
from unpairaug.process.allocator import keep_memory

log = logging.getLogger("unpairaug")

_worker: Any = None
"""The worker of this process, once it has done a part."""


@dataclass(frozen=True)
class Executor:
    """Where the parts of a job are done."""

    workers: int = 1
    """Local processes; 1 uses this process."""
    ray: int | None = None
    """Number of Ray actors, which replace the local processes; each takes a GPU if the cluster has any."""

    def map(self, make: MakeWorker[Part, Result], parts: Iterable[Part]) -> Generator[Result]:
        """Yield the result of each part, in order. Closing the generator ends the workers.

        Raises:
            RunStopped: workers died `ATTEMPTS` times at the same part.
            UserError: Ray is not installed, or its cluster cannot be reached.
            Exception: of the worker.
        """
        if self.ray is not None:
            from unpairaug.batch.ray_actors import map_with_ray

            yield from map_with_ray(make, parts, self.ray)
        elif self.workers == 1:
            yield from map(make(None), parts)
        else:
            yield from _map_in_processes(make, _Handed(parts), self.workers)


IN_PROCESS = Executor()
"""Does the parts in this process."""


class _Handed(Generic[Part]):
    """The parts of a job, and which of them are handed out and not done."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.waiting, self.open = iter(parts), deque[Part]()

    def hand_out(self, most: int) -> Iterator[Part]:
        """The next parts, until `most` are handed out."""
        while len(self.open) < most:
            try:
                self.open.append(next(self.waiting))
            except StopIteration:
                return
            yield self.open[-1]


def _map_in_processes(make: MakeWorker[Part, Result], parts: _Handed[Part], workers: int) -> Generator[Result]:
    attempts = 1
    while True:
        try:
            for result in _map_in_pool(make, parts, workers):
                attempts = 1
                yield result
            return
        except BrokenProcessPool as error:
            attempts += 1
            if attempts > ATTEMPTS:
                raise RunStopped(
                    f"worker processes ended {ATTEMPTS} times at the same part, probably for lack of memory; the same "
                    "command with fewer --workers resumes"
                ) from error
            log.warning("warning: a worker process ended, probably for lack of memory; its parts are done again")


def _map_in_pool(make: MakeWorker[Part, Result], parts: _Handed[Part], workers: int) -> Generator[Result]:
    with _open_pool(workers) as pool:
        futures = deque(_submit(pool, make, part) for part in parts.open)  # of a pool that broke
        while True:
            futures.extend(_submit(pool, make, part) for part in parts.hand_out(AHEAD * workers))
            if not futures:
                return
            result = futures.popleft().result()
            parts.open.popleft()
            yield result


@contextmanager
def _open_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes, which end immediately when the block raises or this process ends."""
    # Spawned, not forked: a forked worker would inherit locks and keep them after a killed run.
    spawn = multiprocessing.get_context("spawn")
    parent_end, held = spawn.Pipe(duplex=False)
    with parent_end, held, ProcessPoolExecutor(workers, spawn, _init_worker, (parent_end, workers)) as pool:
        try:
            yield pool
        except BaseException:
            held.close()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, make: MakeWorker[Part, Result], part: Part) -> Future[Result]:
    with _block_sigint():
        return pool.submit(_do_part, make, part)


def _do_part(make: MakeWorker[Part, Result], part: Part) -> Result:
    global _worker
    if _worker is None:
        _worker = make(None)
    return _worker(part)


@contextmanager
def _block_sigint() -> Iterator[None]:
    """Block Ctrl-C while a process starts: until `_init_worker` runs, the process would print a traceback."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _init_worker(parent: Connection, workers: int) -> None:
    keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process handles Ctrl-C
    warnings.simplefilter("ignore")  # Pillow's warnings about metadata and large images
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))  # read when torch starts


def _exit_with_parent(parent: Connection) -> None:
    """End this process when the main process closes its end of the pipe, or ends in any way."""
    with suppress(EOFError, OSError):
        parent.recv_bytes()
    os._exit(1)
