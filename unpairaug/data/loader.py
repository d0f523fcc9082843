"""A loader of batches from worker processes that ends with one message when a worker fails or stalls."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from multiprocessing.process import BaseProcess
from typing import Any

import psutil
import torch
from torch._C import _remove_worker_pids as remove_worker_pids
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate, get_worker_info

from unpairaug.data.bad import Bad, BadImages
from unpairaug.data.image_cache import IMAGE_CACHE
from unpairaug.data.pair_share import CropsWithPairs
from unpairaug.data.pairs import abbreviate
from unpairaug.data.retry import share_warnings
from unpairaug.data.streams import StepBatches, UnpairedBatch, UnpairedCrops
from unpairaug.data.worker_signals import blocked_stop_signals, kill_at_exit
from unpairaug.errors import RunStopped, UserError
from unpairaug.process.allocator import keep_memory

PATIENCE = 600.0
"""Seconds after which a worker without a batch counts as stalled: far more than the slowest storage needs."""
_POLL = 0.5
"""Seconds between two looks at the time that a batch takes."""


class LoaderStopped(RunStopped):
    """A worker process of a loader ended, stopped or hangs; the message names it. Exit code 1."""

    is_of_one_process = True
    """Other processes of the run do not find the error, so this one prints it whatever its rank."""


def create_loader(
    dataset: Dataset[UnpairedBatch],
    batches: StepBatches,
    num_workers: int = 0,
    pin_memory: bool = False,
    patience: float = PATIENCE,
) -> DataLoader[UnpairedBatch]:
    """A loader of the batches in the order of `batches`, prefetched by `num_workers` processes.

    `batches` already belong to this process, so `Accelerator.prepare` must not be applied: it would split them again.
    Iterating raises `LoaderStopped` when a worker ends, or delivers no batch within `patience` seconds.

    Args:
        dataset: the samples.
        batches: the sample indices of each batch.
        num_workers: worker processes; 0 reads in this process.
        pin_memory: whether batches are in page-locked memory, for faster copies to a GPU.
        patience: seconds to wait for a batch of a worker.
    """
    # A dataset in sequence yields whole batches; others are asked for them by their samples.
    loads: dict[str, Any] = {"batch_size": None} if isinstance(dataset, IterableDataset) else {"batch_sampler": batches}
    loader = _Loader(
        dataset,
        **loads,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        worker_init_fn=partial(_init_worker, multiprocessing.Value("d", 0.0)),
        collate_fn=_Collate(dataset),
    )
    loader.patience = patience
    return loader


class _Loader(DataLoader[UnpairedBatch]):
    """Passes on the message of a worker's `UserError` and the bad images of workers, and watches over the workers."""

    patience = PATIENCE

    def __iter__(self) -> Iterator[UnpairedBatch]:  # type: ignore[override]  # an iterator is enough
        with blocked_stop_signals():
            batches: Any = super().__iter__()  # starts the workers
        _detach_sigchld_handler(batches)
        workers: list[BaseProcess] = list(getattr(batches, "_workers", ()))
        kill_at_exit(workers)
        return self._unpack(batches, workers)

    def _unpack(
        self, batches: Iterable[tuple[UnpairedBatch, list[Bad]]], workers: list[BaseProcess]
    ) -> Iterator[UnpairedBatch]:
        known: BadImages | None = getattr(self.dataset, "bad", None)
        done = 0
        with _Watchdog(workers, self) as watchdog:
            try:
                for batch, bad in watchdog.watch(batches):
                    if known is not None:
                        known.add_all(bad)
                    done += 1
                    yield UnpairedBatch(*batch)
            except UserError as error:
                # torch raises the exception of a worker with the worker's traceback as its message.
                raise UserError(str(error.args[0]).rpartition("UserError: ")[2].strip()) from error
            except (RuntimeError, OSError, EOFError) as error:  # of a pipe to a worker that ended, too
                if watchdog.has_ended_them:
                    raise LoaderStopped(self._describe_stall(done, watchdog, workers)) from error
                if dead := _find_dead(workers):
                    raise LoaderStopped(_describe_death(dead)) from error
                raise

    def _describe_stall(self, number: int, watchdog: _Watchdog, workers: list[BaseProcess]) -> str:
        stalled = watchdog.stopped or [workers[number % len(workers)]]
        pids = ", ".join(str(worker.pid) for worker in stalled)
        return (
            f"the loader's worker process (pid {pids}) stopped or hangs: no batch for {self.patience:g} s, so the "
            f"workers were ended; the batch is of {self._describe_batch(number)}. Check that the storage answers; the "
            "run resumes from its latest checkpoint, also with another data.num_workers"
        )

    def _describe_batch(self, number: int) -> str:
        """The images of a batch, by its number."""
        if isinstance(self.dataset, IterableDataset):
            return f"number {number} since the start, read in sequence"
        samples = next(islice(iter(self.batch_sampler or ()), number, None), [])
        if not isinstance(self.dataset, (UnpairedCrops, CropsWithPairs)):
            return f"samples {samples}"
        return abbreviate([name for sample in samples for name in self.dataset.locate(sample)])


def _find_dead(workers: list[BaseProcess]) -> list[BaseProcess]:
    """The workers that have ended; a broken pipe may be noticed a moment before the end."""
    for _ in range(20):
        if dead := [worker for worker in workers if not worker.is_alive()]:
            return dead
        time.sleep(0.05)
    return []


def _describe_death(dead: list[BaseProcess]) -> str:
    ends = ", ".join(f"pid {worker.pid}, exit code {worker.exitcode}" for worker in dead)
    return (
        f"a worker process of the loader ended ({ends}), perhaps for lack of memory; the run resumes from its latest "
        "checkpoint, also with another data.num_workers"
    )


class _Watchdog:
    """Kills the workers when a batch does not come in time, so that waiting for it ends with an error of torch.

    A timeout of torch itself would not do: it waits for a stopped worker at the end, and for the rest of a batch whose
    worker stopped while sending it.
    """

    def __init__(self, workers: list[BaseProcess], loader: _Loader) -> None:
        self.workers, self.loader = workers, loader
        self.has_ended_them = False
        self.stopped: list[BaseProcess] = []
        """Workers that a signal had stopped."""
        self._since: float | None = None
        self._ended = threading.Event()

    def __enter__(self) -> _Watchdog:
        if self.workers:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def watch(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches; while one is awaited, the time runs."""
        iterator = iter(batches)
        while True:
            self._since = time.monotonic()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            finally:
                self._since = None
            yield batch

    def _watch(self) -> None:
        while not self._ended.wait(_POLL):
            since = self._since
            if since is not None and time.monotonic() > since + self.loader.patience:
                self.has_ended_them = True
                self.stopped = [worker for worker in self.workers if _is_stopped(worker)]
                for worker in self.workers:
                    worker.kill()
                return


def _detach_sigchld_handler(batches: Any) -> None:
    """Keep torch from raising the error about a worker that ended anywhere in the program, by its handler of SIGCHLD.

    Then `next` alone raises it, within some seconds.
    """
    if getattr(batches, "_worker_pids_set", False):
        remove_worker_pids(id(batches))
        batches._worker_pids_set = False


def _is_stopped(worker: BaseProcess) -> bool:
    try:
        return psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:  # ended meanwhile
        return False


class _Collate:
    """Collates a batch, and the bad images that this process has found since the last batch."""

    def __init__(self, dataset: Dataset[UnpairedBatch]) -> None:
        self.dataset = dataset  # the object that the worker reads from: both are sent to it together

    def __call__(self, samples: UnpairedBatch | list[UnpairedBatch]) -> tuple[UnpairedBatch, list[Bad]]:
        bad: BadImages | None = getattr(self.dataset, "bad", None)
        is_worker = get_worker_info() is not None  # without workers, the loader shares the list
        batch = samples if isinstance(samples, UnpairedBatch) else default_collate(samples)
        return batch, bad.pop_new() if bad is not None and is_worker else []


def _init_worker(said: Any, worker: int) -> None:
    """One thread for each worker, because OpenCV would start one per core; the image cache is divided among workers.

    Args:
        said: when one of the workers last said that the storage fails.
        worker: number of the worker.
    """
    import cv2

    keep_memory()
    info = get_worker_info()
    assert info is not None, "called in a worker"
    IMAGE_CACHE.limit //= info.num_workers
    share_warnings(said)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
