"""The program's log on the terminal."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from unpairaug.errors import format_message

log = logging.getLogger("unpairaug")
_is_quiet = False


class MessageFormatter(logging.Formatter):
    """Formats log lines for people: without control characters, and cut to a readable length."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return format_message(super().formatMessage(record))


class ConsoleFormatter(MessageFormatter):
    """The same with warnings in red, where a terminal reads them."""

    def __init__(self, has_colours: bool) -> None:
        super().__init__()
        self.has_colours = has_colours

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        return f"\x1b[31m{text}\x1b[0m" if self.has_colours and is_warning(record) else text


def is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.getMessage().startswith("warning: ")


class ConsoleHandler(logging.StreamHandler):
    """Shows the log as long as its stream can be written: its pipe may close, its disk may be full."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            log.removeHandler(self)
            name = getattr(self.stream, "name", "the terminal")
            log.warning(f"warning: {name} cannot be written ({error.strerror}); it shows no further messages")
        else:
            super().handleError(record)


def has_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours, and NO_COLOR (no-color.org) does not forbid them."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def set_quiet(is_quiet: bool) -> None:
    """Whether consoles show warnings, errors and the summary only."""
    global _is_quiet
    _is_quiet = is_quiet


def is_shown(record: logging.LogRecord) -> bool:
    """Whether a console shows a line of the log."""
    return not _is_quiet or is_warning(record) or getattr(record, "is_result", False)


def log_to_console(is_main: bool, stream: TextIO | None = None) -> None:
    """Write plain log lines to a stream, by default standard output, from the main process alone.

    A second call replaces the handler of the first one, so that no line is printed twice.
    """
    target = sys.stdout if stream is None else stream
    log.setLevel(logging.INFO if is_main else logging.ERROR)
    for handler in [handler for handler in log.handlers if isinstance(handler, ConsoleHandler)]:
        log.removeHandler(handler)
    handler = ConsoleHandler(target)
    handler.setFormatter(ConsoleFormatter(has_colours(target)))
    handler.addFilter(is_shown)
    log.addHandler(handler)
