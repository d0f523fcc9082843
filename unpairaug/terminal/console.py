"""The program's log on standard output."""

from __future__ import annotations

import logging
import sys

from unpairaug.errors import format_message

log = logging.getLogger("unpairaug")


class MessageFormatter(logging.Formatter):
    """Formats log lines for people: without control characters, and cut to a readable length."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return format_message(super().formatMessage(record))


def log_to_console(is_main: bool) -> None:
    """Write plain log lines to standard output, from the main process alone.

    A second call replaces the handler of the first one, so that no line is printed twice.
    """
    log.setLevel(logging.INFO if is_main else logging.ERROR)
    for handler in [handler for handler in log.handlers if type(handler) is logging.StreamHandler]:
        log.removeHandler(handler)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(MessageFormatter())
    log.addHandler(handler)
