"""A journal of completed parts, one JSON line for each, so that interrupted work can resume."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar


class Entry(TypedDict):
    """A part that is complete on disk: a shard, or the files of one photograph."""

    rows: list[dict[str, Any]]
    """The lines of the manifest."""
    shard: dict[str, Any] | None
    """The entry of the shard in `index.json`."""
    next: tuple[int, int]
    """The photograph and the piece of it with which the next part begins."""
    images: int
    """Photographs whose last piece is in this part, bad ones included."""
    pixels: int
    flat: int
    small: int
    bad: list[tuple[str, str]]
    """(source, problem) of each bad photograph."""


E = TypeVar("E", bound=Mapping[str, Any])


class Journal(Generic[E]):
    """The completed parts, in order; an incomplete last line is ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[E]:
        """Iterate over the parts without loading all of them."""
        if self.path.exists():
            with self.path.open("rb") as file:
                yield from (json.loads(line) for line in file if line.endswith(b"\n"))

    def append(self, entry: E) -> None:
        """Add a completed part."""
        with self.path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")

    def keep_intact(self, intact: Callable[[E], bool], remove: Callable[[E], object]) -> None:
        """Truncate the journal at the first incomplete or damaged part; `remove` deletes the files behind it."""
        if not self.path.exists():
            return
        end, kept = 0, True
        with self.path.open("r+b") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                entry: E = json.loads(line)
                kept = kept and intact(entry)
                if kept:
                    end += len(line)
                else:
                    remove(entry)
            file.truncate(end)
