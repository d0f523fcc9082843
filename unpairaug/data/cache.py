"""A folder for what can be found out again but takes long: written whole or not at all, and never relied on."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from unpairaug.errors import escape

log = logging.getLogger("unpairaug")


def cache_folder(kind: str) -> Path | None:
    """Where unpairaug keeps what it found out: below XDG_CACHE_HOME, or where the system has such folders.

    None where there is no such place: an account without a home.
    """
    try:
        if home := os.environ.get("XDG_CACHE_HOME"):
            root = Path(home)
        elif sys.platform == "win32":
            root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            root = Path.home() / "Library" / "Caches"
        else:
            root = Path.home() / ".cache"
    except RuntimeError:  # no HOME, and the account is unknown to the system, as in many a container
        return None
    return root / "unpairaug" / kind


def read_cached(path: Path | None) -> str | None:
    """What was kept there; None where there is nothing, or nothing that can be read."""
    try:
        return None if path is None else path.read_text(encoding="utf-8")
    except (OSError, ValueError):  # a folder that is closed to us, half a letter: it can be found out again
        return None


def write_cached(path: Path | None, text: str) -> None:
    """Keep the text so that a reader finds the old one or the new one; where that is impossible, say so and go on."""
    if path is None:
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        _warn_once(escape(path.parent), error.strerror or type(error).__name__)
        with suppress(OSError):
            partial.unlink()


@cache
def _warn_once(folder: str, reason: str) -> None:
    """Once: there may be thousands of files for the same folder."""
    log.warning(f"{folder} cannot be written ({reason}): what was found out is not kept for the next run")
