"""Keys of older recipes: what each is called today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from unpairaug.registry.options import Path, dotted_key, format_value


class Renamed(NamedTuple):
    """What an older key is called today."""

    key: str
    """The dotted key that replaces it."""
    values: Mapping[str, str] = {}
    """Old value to new value, where values have new names, too."""


RENAMED = {
    "translator.lens": Renamed("translator.measure", {"measured": "all", "same": "noise", "none": "none"}),
    "train.choose": Renamed("train.select_checkpoint"),
}
"""Old dotted key to what replaces it. A key that a component still takes as an option of its own is not refused."""


def explain_renamed(path: Path, value: Any) -> str | None:
    """What to write instead of the key at the path; None if the key is not one of an older version."""
    renamed = RENAMED.get(dotted_key(path))
    if renamed is None:
        return None
    new = renamed.values.get(value, value) if isinstance(value, str) else value
    return f"this key has a new name; give {renamed.key}={new if isinstance(new, str) else format_value(new)}"
