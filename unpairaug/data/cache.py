"""A cache folder for results that are slow to compute: entries are written atomically, and none is required."""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from pathlib import Path

from unpairaug.data.files import WriteError, write_file
from unpairaug.errors import escape

log = logging.getLogger("unpairaug")


def cache_folder(kind: str) -> Path | None:
    """The cache folder of this kind: below XDG_CACHE_HOME, or the operating system's default.

    None where there is no such place: an account without a home directory.
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
    except RuntimeError:  # no HOME, and the system does not know the account, as in many containers
        return None
    return root / "unpairaug" / kind


def read_cached(path: Path | None) -> str | None:
    """The text of a cache file; None where there is none, or it cannot be read."""
    try:
        return None if path is None else path.read_text(encoding="utf-8")
    except (OSError, ValueError):  # no permission, or broken UTF-8: the result is computed again
        return None


def write_cached(path: Path | None, text: str) -> None:
    """Write a cache file atomically; where that is impossible, log one warning for the folder and continue."""
    if path is None:
        return
    try:
        write_file(path, text.encode())
    except WriteError as error:
        _warn_once(escape(path.parent), str(error))


@cache
def _warn_once(folder: str, reason: str) -> None:
    """Warn once for each folder: there may be thousands of files in it."""
    log.warning(f"{folder} cannot be written, so results are not cached for the next run: {reason}")
