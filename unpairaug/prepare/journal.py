"""What of a piece of work is done, one line of JSON for each part of it, so that a killed one goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar


class Entry(TypedDict):
    """A part that is complete on disk: a shard, or the files of one photograph."""

    rows: list[dict[str, Any]]
    """The manifest's lines."""
    shard: dict[str, Any] | None
    """The shard's line of `index.json`."""
    next: tuple[int, int]
    """The photograph, and its piece, with which the part after this one begins."""
    images: int
    """Photographs whose last piece is in this part; bad ones count."""
    pixels: int
    flat: int
    small: int
    bad: list[tuple[str, str]]
    """(source, what is wrong with it)."""


E = TypeVar("E", bound=Mapping[str, Any])


class Journal(Generic[E]):
    """The parts that are done, in order; a line that was not written to its end does not count."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[E]:
        """The parts one by one: together they may be larger than memory."""
        if self.path.exists():
            with self.path.open("rb") as file:
                yield from (json.loads(line) for line in file if line.endswith(b"\n"))

    def append(self, entry: E) -> None:
        """Note that a part is done."""
        with self.path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")

    def keep_intact(self, intact: Callable[[E], bool], remove: Callable[[E], object]) -> None:
        """Forget the first part that is torn or not intact, and all after it, once `remove` took what they wrote."""
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
