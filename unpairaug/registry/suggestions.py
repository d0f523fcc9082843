"""What to write instead of an unknown name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable

LONGEST_NAME = 80
"""Characters of a name that are compared; whoever writes more has not misspelt a name."""
MOST_NAMES = 150
"""Names that a sentence lists."""


def suggest_folder(folder: str | os.PathLike[str]) -> str:
    """The end of a sentence about a folder that is not there, "; did you mean 'photographs/clean'?", or nothing."""
    parent, name = os.path.split(os.path.normpath(folder))
    try:
        with os.scandir(parent or ".") as entries:
            beside = sorted(entry.name for entry in entries if entry.is_dir())
    except (OSError, ValueError):
        return ""
    near = next(iter(difflib.get_close_matches(name[:LONGEST_NAME], beside, n=1)), None)
    return f"; did you mean {os.path.join(parent, near)!r}?" if near else ""


def suggest(name: str, known: Iterable[str], instead: str | None = None, list_known: bool = False) -> str:
    """The end of a sentence about an unknown name: "did you mean 'vdsr'?", or else "known: edsr, vdsr".

    Args:
        name: what was given.
        known: what could have been given, in the order in which a sentence lists it.
        instead: what to say where no known name is near, in place of the list.
        list_known: list the known names also behind the nearest one.
    """
    names = list(known)
    near = next(iter(difflib.get_close_matches(name[:LONGEST_NAME], names, n=1)), None)
    listed = ", ".join(names[:MOST_NAMES]) or "none"
    if len(names) > MOST_NAMES:
        listed += f" and {len(names) - MOST_NAMES} more"
    if near is None:
        return f"known: {listed}" if instead is None else instead
    return f"did you mean {near!r}?" + (f" Known: {listed}" if list_known else "")
