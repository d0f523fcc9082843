"""Look at every image once before training starts, so that nothing breaks at hour nine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from math import ceil

import numpy as np

from unpairaug.data.images import ImageSet, too_small
from unpairaug.data.pairs import contradiction, match
from unpairaug.errors import UserError

_SHOWN = 10
"""How many problems a message lists before it only counts."""


@dataclass(frozen=True)
class SetReport:
    """What one set of images holds."""

    source: str
    """The folder, or `sample`."""
    count: int
    """Images."""
    smallest: tuple[int, int]
    """(width, height) in pixels of the image with the fewest pixels."""
    largest: tuple[int, int]
    """The same of the image with the most."""
    pixels: int
    """Pixels of all images together."""

    def __str__(self) -> str:
        low, high = ("×".join(map(str, side)) for side in (self.smallest, self.largest))
        sides = low if low == high else f"{low} to {high}"
        return f"{self.count} images of {sides} px, {self.pixels / 1e6:.1f} megapixels, from {self.source}"


@dataclass(frozen=True)
class DataReport:
    """What the preflight found."""

    sets: dict[str, SetReport]
    """By part: `clean`, `degraded`, and where given `val_clean`, `val_degraded`, `ceiling_clean`."""
    warnings: list[str] = field(default_factory=list)
    """One sentence for each thing that is allowed but probably not meant."""

    def steps_per_epoch(self, samples_per_step: int) -> int:
        """Optimiser steps in one pass over the clean images, the last one begun counted whole."""
        return ceil(self.sets["clean"].count / samples_per_step)

    def __str__(self) -> str:
        width = max(map(len, self.sets))
        lines = [f"{part:<{width}}  {report}" for part, report in self.sets.items()]
        return "\n".join(lines + [f"warning: {warning}" for warning in self.warnings])


@dataclass(frozen=True)
class _Look:
    """What is remembered of an image: little, so that millions can be looked at."""

    where: str
    stem: str
    width: int
    height: int
    digest: bytes
    problem: str | None


def preflight(
    clean: ImageSet,
    degraded: ImageSet,
    *,
    scale: int,
    crop: int,
    val_clean: ImageSet | None = None,
    val_degraded: ImageSet | None = None,
    ceiling_clean: ImageSet | None = None,
    threads: int | None = None,
) -> DataReport:
    """Decode every image once and report what is there.

    Args:
        clean: the clean domain.
        degraded: the degraded domain.
        scale: side of a clean image over the side of its degraded twin.
        crop: side of a clean crop in pixels.
        val_clean: whole images to measure on, with `val_degraded`.
        val_degraded: their degraded twins.
        ceiling_clean: clean twins of `degraded`.
        threads: images decoded at a time; by default one per core, at most 16.

    Raises:
        UserError: naming every image that cannot be read, is too small for the crop, contradicts the scale, or lacks
            its partner.
    """
    parts = {
        "clean": (clean, crop),
        "degraded": (degraded, crop // scale),
        "val_clean": (val_clean, 1),
        "val_degraded": (val_degraded, 1),
        "ceiling_clean": (ceiling_clean, crop),
    }
    with ThreadPoolExecutor(threads or min(16, os.cpu_count() or 1)) as pool:
        looks = {
            part: list(pool.map(lambda i, images=images, side=side: _look(images, i, side), range(len(images))))
            for part, (images, side) in parts.items()
            if images is not None
        }
    _refuse(look.problem for part in looks.values() for look in part)
    if val_clean and val_degraded:
        _refuse(_contradictions(val_clean, val_degraded, looks["val_clean"], looks["val_degraded"], scale))
    if ceiling_clean:
        _refuse(_contradictions(ceiling_clean, degraded, looks["ceiling_clean"], looks["degraded"], scale))
    reports = {part: _summary(images, looks[part]) for part, (images, _) in parts.items() if images is not None}
    return DataReport(reports, _warnings(looks))


def _look(images: ImageSet, i: int, crop: int) -> _Look:
    where, stem = images.where(i), images.stem(i)
    try:
        image = images[i]
    except UserError as unreadable:
        return _Look(where, stem, 0, 0, b"", str(unreadable))
    height, width = image.shape[:2]
    digest = blake2b(f"{width} {height}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)  # not tobytes(): a copy of a large image is not small
    return _Look(where, stem, width, height, digest.digest(), too_small(image, crop, where))


def _refuse(problems: Iterable[str | None]) -> None:
    found = [problem for problem in problems if problem]
    if not found:
        return
    rest = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    shown = "".join(f"\n  {line}" for line in found[:_SHOWN] + rest)
    what = "1 image cannot be used" if len(found) == 1 else f"{len(found)} images cannot be used"
    raise UserError(f"{what}; mend or remove the files, or change data.crop or task.scale:{shown}")


def _contradictions(
    clean: ImageSet, degraded: ImageSet, clean_looks: list[_Look], degraded_looks: list[_Look], scale: int
) -> Iterable[str | None]:
    for i, j in match(clean, degraded, scale):
        a, b = clean_looks[i], degraded_looks[j]
        yield contradiction((a.width, a.height), (b.width, b.height), a.where, b.where, scale)


def _summary(images: ImageSet, looks: list[_Look]) -> SetReport:
    sides = sorted(((look.width, look.height) for look in looks), key=lambda side: (side[0] * side[1], side))
    return SetReport(images.source, len(looks), sides[0], sides[-1], sum(width * height for width, height in sides))


def _warnings(looks: Mapping[str, list[_Look]]) -> list[str]:
    clean, degraded = looks["clean"], looks["degraded"]
    names = sorted({look.stem for look in clean} & {look.stem for look in degraded})
    warnings = []
    if names:
        warnings.append(
            f"{len(names)} names are in both the clean and the degraded images ({names[0]}, …): if they show the same "
            "scenes, a paired set is used as unpaired, and results will flatter"
        )
    warnings += _same_content(clean, degraded, "of the clean images is also a degraded one,")
    for val, train in (("val_clean", "clean"), ("val_degraded", "degraded"), ("val_clean", "ceiling_clean")):
        warnings += _same_content(looks.get(val, []), looks.get(train, []), f"of {val} is also trained on, as")
    return warnings


def _same_content(these: list[_Look], those: list[_Look], what: str) -> list[str]:
    known = {look.digest: look.where for look in those}
    twice = [look for look in these if look.digest in known]
    if not twice:
        return []
    more = f" (and {len(twice) - 1} more images)" if len(twice) > 1 else ""
    return [f"{twice[0].where} {what} {known[twice[0].digest]}{more}: the very same pixels"]
