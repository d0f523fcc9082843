"""A folder for what can be found out again but takes long: written whole or not at all, and never relied on."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("unpairaug")


def cache_folder(kind: str) -> Path:
    """Where unpairaug keeps what it found out: below XDG_CACHE_HOME, or where the system has such folders."""
    if home := os.environ.get("XDG_CACHE_HOME"):
        root = Path(home)
    elif sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path.home() / ".cache"
    return root / "unpairaug" / kind


def write_whole(path: Path, text: str) -> None:
    """Write the file so that a reader finds the old one or the new one; where that is impossible, say so and go on."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        log.warning(f"{path.parent} cannot be written ({error}): what was found out is not kept for the next run")
        with suppress(OSError):
            partial.unlink()
