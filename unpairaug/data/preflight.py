"""Look at every image once before training starts, so that nothing breaks at hour nine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil

from unpairaug.data.bad import Bad
from unpairaug.data.images import ImageSet, size_problem
from unpairaug.data.pairs import match_pairs, scale_mismatch
from unpairaug.data.scan import ScannedImage, scan_images
from unpairaug.errors import UserError, escape

_MAX_LISTED = 10
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
    """Pixels of all images whose size was looked at."""
    kinds: dict[str, int]
    """Images of each kind, by channels and bits, of those whose contents were looked at."""
    checked: int
    """Images whose size was looked at."""

    def __str__(self) -> str:
        low, high = ("×".join(map(str, side)) for side in (self.smallest, self.largest))
        sides = low if low == high else f"{low} to {high}"
        kinds = " and ".join(self.kinds) if len(self.kinds) == 1 else _format_counts(self.kinds)
        decoded = sum(self.kinds.values())
        rest = "" if decoded == self.count else f"; contents of {decoded}, sizes of {self.checked} looked at"
        pixels = f"{self.pixels / 1e6:.1f} megapixels"
        return f"{self.count} images of {sides} px, {kinds}, {pixels}, from {self.source}{rest}"


@dataclass(frozen=True)
class DataReport:
    """What the preflight found."""

    sets: dict[str, SetReport]
    """By part: `clean`, `degraded`, and where given `val_clean`, `val_degraded`, `ceiling_clean`."""
    warnings: list[str] = field(default_factory=list)
    """One sentence for each thing that is allowed but probably not meant."""
    bad: list[Bad] = field(default_factory=list)
    """Training images that cannot be used and are left out."""

    @property
    def checked(self) -> int:
        """Training images whose contents were looked at, the bad ones among them."""
        return sum(sum(self.sets[part].kinds.values()) for part in ("clean", "degraded")) + len(self.bad)

    def steps_per_epoch(self, samples_per_step: int) -> int:
        """Optimiser steps in one pass over the clean images, the last one begun counted whole."""
        return ceil(self.sets["clean"].count / samples_per_step)

    def __str__(self) -> str:
        width = max(map(len, self.sets))
        lines = [f"{part:<{width}}  {report}" for part, report in self.sets.items()]
        lines += [f"left out: {reason}" for _, reason in self.bad]
        return "\n".join(lines + [f"warning: {warning}" for warning in self.warnings])


def preflight(
    clean: ImageSet,
    degraded: ImageSet,
    *,
    scale: int,
    crop: int,
    val_clean: ImageSet | None = None,
    val_degraded: ImageSet | None = None,
    ceiling_clean: ImageSet | None = None,
    max_bad: float | None = None,
    threads: int | None = None,
) -> DataReport:
    """Look at every image once and report what is there (see `scan_images` for which are decoded).

    Args:
        clean: the clean domain.
        degraded: the degraded domain.
        scale: side of a clean image over the side of its degraded twin.
        crop: side of a clean crop in pixels.
        val_clean: whole images to measure on, with `val_degraded`.
        val_degraded: their degraded twins.
        ceiling_clean: clean twins of `degraded`.
        max_bad: share of the training images that may be bad, which are left out then; None refuses any.
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
    given = {part: (images, side) for part, (images, side) in parts.items() if images is not None}
    scans = {
        part: scan_images(images, part not in ("clean", "degraded"), threads) for part, (images, _) in given.items()
    }
    problems = {part: dict(_find_problems(scans[part], side)) for part, (_, side) in given.items()}
    bad = _remove_bad(scans, problems, max_bad) if max_bad is not None else []
    _raise_problems(problem for part in problems.values() for problem in part.values())
    if val_clean and val_degraded:
        _raise_problems(_scale_mismatches(val_clean, val_degraded, scans["val_clean"], scans["val_degraded"], scale))
    if ceiling_clean:
        _raise_problems(_scale_mismatches(ceiling_clean, degraded, scans["ceiling_clean"], scans["degraded"], scale))
    reports = {part: _summarize(images, scans[part]) for part, (images, _) in given.items()}
    remarks = [remark for images, _ in given.values() for remark in images.remarks]
    return DataReport(reports, remarks + _find_warnings(scans), bad)


def _find_problems(scans: Mapping[int, ScannedImage], crop: int) -> Iterable[tuple[int, str]]:
    for i, look in scans.items():
        if problem := look.problem or size_problem(look.facts.width, look.facts.height, crop, look.location):
            yield i, problem


def _remove_bad(
    scans: Mapping[str, dict[int, ScannedImage]], problems: Mapping[str, dict[int, str]], max_bad: float
) -> list[Bad]:
    """Take the bad training images out of what was found, and return them."""
    seen = sum(len(scans[part]) for part in ("clean", "degraded"))
    bad: list[Bad] = []
    for part in ("clean", "degraded"):
        bad += [(scans[part].pop(i).location, problem) for i, problem in problems[part].items()]
        problems[part].clear()
        if not scans[part]:
            _raise_problems(problem for _, problem in bad)
    if len(bad) > max_bad * seen:
        _raise_problems(
            [f"{len(bad)} of {seen} is more than data.max_bad {max_bad} allows", *(problem for _, problem in bad)]
        )
    return bad


def _raise_problems(problems: Iterable[str | None]) -> None:
    found = [problem for problem in problems if problem]
    if not found:
        return
    rest = [f"and {len(found) - _MAX_LISTED} more"] if len(found) > _MAX_LISTED else []
    lines = "".join(f"\n  {line}" for line in found[:_MAX_LISTED] + rest)
    what = "1 image cannot be used" if len(found) == 1 else f"{len(found)} images cannot be used"
    raise UserError(f"{what}; mend or remove the files, or change data.crop or task.scale:{lines}")


def _scale_mismatches(
    clean: ImageSet,
    degraded: ImageSet,
    clean_looks: dict[int, ScannedImage],
    degraded_looks: dict[int, ScannedImage],
    scale: int,
) -> Iterable[str | None]:
    for i, j in match_pairs(clean, degraded, scale):
        if i in clean_looks and j in degraded_looks:  # of shards, perhaps not all are looked at; reading checks again
            a, b = clean_looks[i], degraded_looks[j]
            clean_size, degraded_size = ((look.facts.width, look.facts.height) for look in (a, b))
            yield scale_mismatch(clean_size, degraded_size, a.location, b.location, scale)


def _summarize(images: ImageSet, scans: dict[int, ScannedImage]) -> SetReport:
    seen = [look.facts for look in scans.values()]
    sides = sorted(((one.width, one.height) for one in seen), key=lambda side: (side[0] * side[1], side))
    kinds = Counter(one.kind for one in seen if one.kind)
    pixels = sum(width * height for width, height in sides)
    return SetReport(images.source, len(images), sides[0], sides[-1], pixels, dict(kinds.most_common()), len(seen))


def _format_counts(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())


def _find_warnings(scans: Mapping[str, dict[int, ScannedImage]]) -> list[str]:
    clean, degraded = scans["clean"].values(), scans["degraded"].values()
    names = sorted({look.stem for look in clean} & {look.stem for look in degraded})
    warnings = []
    if names:
        warnings.append(
            f"{len(names)} names are in both the clean and the degraded images ({escape(names[0])}, …): if they show "
            "the same scenes, a paired set is used as unpaired, and results will flatter"
        )
    warnings += _warn_identical_pixels(clean, degraded, "of the clean images is also a degraded one,")
    for val, train in (("val_clean", "clean"), ("val_degraded", "degraded"), ("val_clean", "ceiling_clean")):
        warnings += _warn_identical_pixels(
            scans.get(val, {}).values(), scans.get(train, {}).values(), f"of {val} is also trained on, as"
        )
    return warnings


def _warn_identical_pixels(these: Iterable[ScannedImage], those: Iterable[ScannedImage], what: str) -> list[str]:
    known = {look.facts.digest: look.location for look in those if look.facts.digest}
    twice = [look for look in these if look.facts.digest in known]
    if not twice:
        return []
    more = f" (and {len(twice) - 1} more images)" if len(twice) > 1 else ""
    return [f"{twice[0].location} {what} {known[twice[0].facts.digest]}{more}: the very same pixels"]
