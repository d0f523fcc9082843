"""The program's log on standard output."""

from __future__ import annotations

import logging
import os
import sys

from unpairaug.errors import format_message

log = logging.getLogger("unpairaug")


class MessageFormatter(logging.Formatter):
    """Formats log lines for people: without control characters, and cut to a readable length."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return format_message(super().formatMessage(record))


class ConsoleFormatter(MessageFormatter):
    """The same with warnings in red, where a terminal reads them."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        is_warning = record.levelno >= logging.WARNING or record.getMessage().startswith("warning: ")
        return f"\x1b[31m{text}\x1b[0m" if is_warning and has_colours() else text


def has_colours() -> bool:
    """Whether standard output is a terminal that shows colours, and NO_COLOR (no-color.org) does not forbid them."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class ConsoleHandler(logging.StreamHandler):
    """Shows the log on standard output as long as that can be written: its pipe may close, its disk may be full."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            log.removeHandler(self)
            log.warning(f"warning: standard output cannot be written ({error.strerror}); it shows no further messages")
        else:
            super().handleError(record)


def log_to_console(is_main: bool) -> None:
    """Write plain log lines to standard output, from the main process alone.

    A second call replaces the handler of the first one, so that no line is printed twice.
    """
    log.setLevel(logging.INFO if is_main else logging.ERROR)
    for handler in [handler for handler in log.handlers if isinstance(handler, ConsoleHandler)]:
        log.removeHandler(handler)
    handler = ConsoleHandler(sys.stdout)
    handler.setFormatter(ConsoleFormatter())
    log.addHandler(handler)
