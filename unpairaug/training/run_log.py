"""The log file of a run."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from logging.handlers import MemoryHandler
from pathlib import Path

from unpairaug.data.files import name_write_errors, write_error
from unpairaug.terminal.console import MessageFormatter

log = logging.getLogger("unpairaug")


class LogFile(logging.FileHandler):
    """A log file that ends the run when it cannot be written, as the other files of the run do."""

    def handleError(self, record: logging.LogRecord) -> None:
        log.removeHandler(self)  # the messages that follow are still shown on the terminal
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise write_error(Path(self.baseFilename), error) from error
        super().handleError(record)


class RunLog:
    """Writes the lines of the log to a file, each with date and time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.early_lines = MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1)
        """Holds the lines until the file is open, so that a refused run leaves no file."""
        self.file: logging.Handler | None = None

    def start(self) -> None:
        """Keep the lines from here on, but for what the file holds already."""
        self.early_lines.addFilter(lambda record: not getattr(record, "is_repeated", False))
        log.addHandler(self.early_lines)

    def open(self, length: int | None = None) -> None:
        """Append to the file, after its first `length` bytes if that is given.

        Raises:
            WriteError: it cannot be written.
        """
        with name_write_errors(self.path):
            if length is not None and self.length() > length:
                os.truncate(self.path, length)
            self.file = LogFile(self.path, encoding="utf-8")
        self.file.setFormatter(MessageFormatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        lines, self.early_lines.buffer = self.early_lines.buffer, []
        log.removeHandler(self.early_lines)
        log.addHandler(self.file)
        for line in lines:
            self.file.handle(line)

    def close(self) -> None:
        """Write no further lines."""
        if self.file is None and self.early_lines.buffer and self.path.exists():
            self.open()  # a run that has nothing to do says so in its log
        log.removeHandler(self.early_lines)
        if self.file is not None:
            log.removeHandler(self.file)
            with suppress(OSError):  # of a line that could not be written, which ended the run
                self.file.close()

    def length(self) -> int:
        """Bytes of the file so far."""
        return self.path.stat().st_size if self.path.exists() else 0
