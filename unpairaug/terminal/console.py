"""The program's log on standard output."""

from __future__ import annotations

import logging
import sys

log = logging.getLogger("unpairaug")


def log_to_console(is_main: bool) -> None:
    """Write plain log lines to standard output, from the main process alone.

    A second call replaces the handler of the first one, so that no line is printed twice.
    """
    log.setLevel(logging.INFO if is_main else logging.ERROR)
    for handler in [handler for handler in log.handlers if type(handler) is logging.StreamHandler]:
        log.removeHandler(handler)
    log.addHandler(logging.StreamHandler(sys.stdout))
