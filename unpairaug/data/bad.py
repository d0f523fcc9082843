"""Images that cannot be used and are skipped: each is reported once, and their share is limited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Bad = tuple[str, str]
"""The location of an image, and the message of the `UserError` that it raises."""


class BadImages:
    """The bad images that one process has found."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._reported = 0

    def __contains__(self, where: str) -> bool:
        return where in self._reasons

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, where: str, reason: str) -> None:
        """Record an image; one that is known already keeps its first reason."""
        self._reasons.setdefault(where, reason)

    def add_all(self, bad: Iterable[Bad]) -> None:
        for where, reason in bad:
            self.add(where, reason)

    def pop_new(self) -> list[Bad]:
        """The images recorded since the last call."""
        new, self._reported = self.unreported(), len(self._reasons)
        return new

    def unreported(self) -> list[Bad]:
        """The images that the next `pop_new` will return."""
        return list(self._reasons.items())[self._reported :]


class BadCount:
    """How many images of a run are bad, over all processes, relative to how many have been read."""

    def __init__(self, images: BadImages, max_bad: float, checked: int, count: int, per_step: int) -> None:
        """Start from what the preflight found and reported.

        Args:
            images: the bad images that this process has found.
            max_bad: the allowed share of bad images, from 0 to 1.
            checked: images that the preflight decoded.
            count: images of both sides together.
            per_step: samples of each side in a step.
        """
        self.images, self.max_bad = images, max_bad
        self.checked, self.count, self.per_step = checked, count, per_step
        self._all = dict(images.pop_new())

    def __len__(self) -> int:
        return len(self._all)

    def add(self, found: Iterable[Bad]) -> list[str]:
        """Count what the processes found; returns the reasons of the images that were not known yet."""
        new: dict[str, str] = {}
        for where, reason in found:
            if where not in self._all:
                new[where] = self._all[where] = reason
        return list(new.values())

    def share(self, step: int) -> float:
        """The share of bad images, from 0 to 1, among those decoded before training or read in `step` steps."""
        return len(self._all) / max(1, self.checked, min(self.count, 2 * step * self.per_step))

    def state_dict(self, unreported: list[list[Bad]]) -> dict[str, Any]:
        """What a resumed run needs to report each image once, as JSON holds it.

        Args:
            unreported: of the images of each process.
        """
        return {"reported": list(self._all.items()), "unreported": unreported}

    def load_state_dict(self, state: dict[str, Any], rank: int, processes: int) -> None:
        """Restore what `state_dict` returned; reported images may be repaired by now, and are read again."""
        self._all.update(state["reported"])
        for bad in state["unreported"][rank::processes]:
            self.images.add_all(bad)
