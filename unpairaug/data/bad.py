"""Images that cannot be used and are skipped: named once, counted, and not too many of them."""

from __future__ import annotations

from collections.abc import Iterable

Bad = tuple[str, str]
"""Where an image is, and what is wrong with it, as `UserError` says it."""


class BadImages:
    """The bad images of a run that one process knows of."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._reported = 0

    def __contains__(self, where: str) -> bool:
        return where in self._reasons

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, where: str, reason: str) -> None:
        """Keep an image in mind; one that is known already is not noted again."""
        self._reasons.setdefault(where, reason)

    def add_all(self, bad: Iterable[Bad]) -> None:
        for where, reason in bad:
            self.add(where, reason)

    def pop_new(self) -> list[Bad]:
        """What has been noted since this was asked last."""
        told, self._reported = self._reported, len(self._reasons)
        return list(self._reasons.items())[told:]


class BadCount:
    """How many images of a run are bad, all processes together, against how many have been looked at."""

    def __init__(self, images: BadImages, max_bad: float, checked: int, count: int, per_step: int) -> None:
        """Begin with what the preflight found, which has been named.

        Args:
            images: what this process knows of.
            max_bad: the share that is allowed.
            looked_at: images that the preflight looked at.
            count: images of both sides.
            per_step: samples of each side in a step.
        """
        self.images, self.max_bad = images, max_bad
        self.checked, self.count, self.per_step = checked, count, per_step
        self._all = dict(images.pop_new())

    def __len__(self) -> int:
        return len(self._all)

    def add(self, found: Iterable[Bad]) -> list[str]:
        """Count what the processes found; returns what is wrong with the images that were not known yet."""
        new: dict[str, str] = {}
        for where, reason in found:
            if where not in self._all:
                new[where] = self._all[where] = reason
        return list(new.values())

    def share(self, step: int) -> float:
        """The bad ones among the images that were looked at before training, or shown in so many steps."""
        return len(self._all) / max(1, self.checked, min(self.count, 2 * step * self.per_step))
