"""What a run reports to its trackers; TensorBoard's event files are written by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from unpairaug.data.files import name_write_errors
from unpairaug.training.trackers import flush_trackers, log_picture


class EventFiles:
    """Writes numbers and pictures to the event files, on the main process alone."""

    def __init__(self, accelerator: Accelerator, folder: Path) -> None:
        self.accelerator, self.folder = accelerator, folder

    def add_numbers(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers by name.

        Raises:
            WriteError: they, or earlier events, cannot be written.
        """
        with name_write_errors(self.folder, "folder"):
            self.accelerator.log(dict(values), step=step)

    def add_picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Write a picture (H, W, 3) uint8.

        Raises:
            WriteError: it, or an earlier event, cannot be written.
        """
        with name_write_errors(self.folder, "folder"):
            log_picture(self.accelerator, name, picture, step)

    def flush(self) -> None:
        """Wait until all events are in the file.

        Raises:
            WriteError: one cannot be written.
        """
        with name_write_errors(self.folder, "folder"):
            flush_trackers(self.accelerator)


@contextmanager
def show_write_errors_once() -> Iterator[None]:
    """Show no traceback of the writing thread: the next event raises the same error in the main thread."""
    before = threading.excepthook

    def show(arguments: threading.ExceptHookArgs) -> None:
        if type(arguments.thread).__name__ != "_AsyncWriterThread":
            before(arguments)

    threading.excepthook = show
    try:
        yield
    finally:
        threading.excepthook = before
