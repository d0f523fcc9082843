"""Signals that stop a run, and how loader workers outlive them."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize

STOP_SIGNALS = [
    number for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if (number := getattr(signal, name, None)) is not None
]
"""Signals that stop a run; there is no SIGHUP and no SIGUSR1 on Windows."""


@contextmanager
def blocked_stop_signals() -> Iterator[None]:
    """Block the stop signals in this thread; processes that are started meanwhile keep them blocked.

    Schedulers and `timeout` signal every process of a run. Loader workers must outlive that, because the main process
    needs their batches to complete its step. They end when the main process does.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill_at_exit(workers: Iterable[BaseProcess]) -> None:
    """Kill what is left of workers when the program ends.

    Python would send SIGTERM, which is blocked in them, and then wait for a worker that hangs.
    """
    Finalize(None, _kill, args=(list(workers),), exitpriority=1)


def _kill(workers: list[BaseProcess]) -> None:
    for worker in workers:
        if worker.is_alive():
            worker.kill()
