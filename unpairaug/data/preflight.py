"""Check every image once before training starts: sizes, pairs, readability, and overlap of the sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil

from unpairaug.data.bad import Bad
from unpairaug.data.images import ImageSet, size_problem
from unpairaug.data.pairs import list_lines, match_pairs, scale_mismatch
from unpairaug.data.scan import ScannedImage, scan_images
from unpairaug.errors import UserError, escape

_TRAINING = ("clean", "degraded")
"""The parts that training reads crops from."""
_PAIRED = ("val_clean", "val_degraded"), ("pairs_clean", "pairs_degraded"), ("ceiling_clean", "degraded")
"""The parts that are the ground truth of another part, with that part."""
_MAX_LISTED = 10
"""Problems that a message lists; the others are counted."""


@dataclass(frozen=True)
class SetReport:
    """A summary of one image set."""

    source: str
    """The source: a folder, shards or `sample`."""
    count: int
    """Number of images."""
    smallest: tuple[int, int]
    """(width, height) in pixels of the image with the fewest pixels."""
    largest: tuple[int, int]
    """(width, height) in pixels of the image with the most pixels."""
    pixels: int
    """Pixels of all images whose size was read."""
    kinds: dict[str, int]
    """Number of decoded images by pixel format, such as `RGB, 8 bits`."""
    checked: int
    """Number of images whose size was read."""
    shortest_side: int = 1
    """Shortest width or height of these images, in pixels."""

    def __str__(self) -> str:
        low, high = ("×".join(map(str, side)) for side in (self.smallest, self.largest))
        sides = low if low == high else f"{low} to {high}"
        kinds = " and ".join(self.kinds) if len(self.kinds) == 1 else _format_counts(self.kinds)
        decoded = sum(self.kinds.values())
        rest = "" if decoded == self.count else f"; {decoded} decoded, sizes of {self.checked} read"
        pixels = f"{self.pixels / 1e6:.1f} megapixels"
        return f"{self.count} images of {sides} px, {kinds}, {pixels}, from {self.source}{rest}"


@dataclass(frozen=True)
class DataReport:
    """The result of the preflight."""

    sets: dict[str, SetReport]
    """By part: `clean`, `degraded`, and optionally validation pairs, training pairs and `ceiling_clean`."""
    warnings: list[str] = field(default_factory=list)
    """One sentence for each thing that is allowed but probably not intended."""
    bad: list[Bad] = field(default_factory=list)
    """Training images that cannot be used and are excluded."""

    @property
    def checked(self) -> int:
        """Number of decoded training images, the bad ones included."""
        return sum(sum(self.sets[part].kinds.values()) for part in _TRAINING) + len(self.bad)

    def steps_per_epoch(self, samples_per_step: int) -> int:
        """Optimiser steps in one epoch of the clean images, rounded up."""
        return ceil(self.sets["clean"].count / samples_per_step)

    def __str__(self) -> str:
        width = max(map(len, self.sets))
        lines = [f"{part:<{width}}  {report}" for part, report in self.sets.items()]
        lines += [f"excluded: {reason}" for _, reason in self.bad]
        return "\n".join(lines + [f"warning: {warning}" for warning in self.warnings])


def preflight(
    clean: ImageSet,
    degraded: ImageSet,
    *,
    scale: int,
    crop: int,
    val_clean: ImageSet | None = None,
    val_degraded: ImageSet | None = None,
    pairs_clean: ImageSet | None = None,
    pairs_degraded: ImageSet | None = None,
    ceiling_clean: ImageSet | None = None,
    max_bad: float | None = None,
    threads: int | None = None,
) -> DataReport:
    """Check the images of all parts and summarise them (`scan_images` says which of them are decoded).

    Args:
        clean, degraded: images of the two domains.
        scale: side length of the ground truth divided by that of the degraded image.
        crop: side of a clean crop in pixels.
        val_clean, val_degraded: validation pairs.
        pairs_clean, pairs_degraded: training pairs.
        ceiling_clean: ground truth of `degraded`.
        max_bad: allowed share of bad training images, which are then excluded; with None every bad image is an error.
        threads: images decoded at the same time; by default one for each core, at most 16.

    Raises:
        UserError: images cannot be read, are too small, contradict the scale or have no partner; it names them.
    """
    sets = {"clean": clean, "degraded": degraded, "val_clean": val_clean, "val_degraded": val_degraded}
    sets |= {"pairs_clean": pairs_clean, "pairs_degraded": pairs_degraded, "ceiling_clean": ceiling_clean}
    parts = {part: images for part, images in sets.items() if images is not None}
    smallest = {"clean": crop, "degraded": crop // scale, "ceiling_clean": crop}
    smallest |= {"pairs_clean": crop, "pairs_degraded": crop // scale}
    scans = {part: scan_images(images, part not in _TRAINING, threads) for part, images in parts.items()}
    problems = {part: dict(_find_problems(scans[part], smallest.get(part, 1))) for part in parts}
    bad = _remove_bad(scans, problems, max_bad) if max_bad is not None else []
    _raise_problems(problem for part in problems.values() for problem in part.values())
    _check_detail(parts, scans)
    for one, other in _PAIRED:
        if one in parts and other in parts:
            _raise_problems(_scale_mismatches(parts[one], parts[other], scans[one], scans[other], scale))
    reports = {part: _summarize(images, scans[part]) for part, images in parts.items()}
    remarks = [remark for images in parts.values() for remark in images.remarks]
    return DataReport(reports, remarks + _warn_sizes(reports, scale) + _find_warnings(scans), bad)


def _find_problems(scans: Mapping[int, ScannedImage], crop: int) -> Iterable[tuple[int, str]]:
    for i, scan in scans.items():
        if problem := scan.problem or size_problem(scan.facts.width, scan.facts.height, crop, scan.location):
            yield i, problem


def _remove_bad(
    scans: Mapping[str, dict[int, ScannedImage]], problems: Mapping[str, dict[int, str]], max_bad: float
) -> list[Bad]:
    """Remove the bad training images from `scans` and `problems`, and return them."""
    seen = sum(len(scans[part]) for part in _TRAINING)
    bad: list[Bad] = []
    for part in _TRAINING:
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
    lines = list_lines(found, _MAX_LISTED)
    what = "1 image cannot be used" if len(found) == 1 else f"{len(found)} images cannot be used"
    raise UserError(f"{what}; repair or remove the files, or change data.crop or task.scale:{lines}")


def _scale_mismatches(
    clean: ImageSet,
    degraded: ImageSet,
    clean_scans: dict[int, ScannedImage],
    degraded_scans: dict[int, ScannedImage],
    scale: int,
) -> Iterable[str | None]:
    for i, j in match_pairs(clean, degraded, scale):
        if i in clean_scans and j in degraded_scans:  # images of shards may be unscanned; reading checks them again
            a, b = clean_scans[i], degraded_scans[j]
            clean_size, degraded_size = ((scan.facts.width, scan.facts.height) for scan in (a, b))
            yield scale_mismatch(clean_size, degraded_size, a.location, b.location, scale)


def _summarize(images: ImageSet, scans: dict[int, ScannedImage]) -> SetReport:
    seen = [scan.facts for scan in scans.values()]
    sides = sorted(((one.width, one.height) for one in seen), key=lambda side: (side[0] * side[1], side))
    kinds = Counter(one.kind for one in seen if one.kind)
    pixels = sum(width * height for width, height in sides)
    kinds = dict(kinds.most_common())
    return SetReport(images.source, len(images), sides[0], sides[-1], pixels, kinds, len(seen), min(map(min, sides)))


def _warn_sizes(reports: Mapping[str, SetReport], scale: int) -> list[str]:
    clean, degraded = (reports[part] for part in _TRAINING)
    if scale == 1 or clean.pixels / clean.checked >= degraded.pixels / degraded.checked:
        return []
    sides = ("×".join(map(str, report.largest)) for report in (clean, degraded))
    return [
        "the clean images have fewer pixels ({} at most) than the degraded ones ({}), although the task enlarges by "
        "{}: are the folders swapped, or are the degraded images enlarged copies?".format(*sides, scale)
    ]


def _format_counts(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())


def _find_warnings(scans: Mapping[str, dict[int, ScannedImage]]) -> list[str]:
    clean, degraded = scans["clean"].values(), scans["degraded"].values()
    names = sorted({scan.stem for scan in clean} & {scan.stem for scan in degraded})
    warnings = []
    if names:
        warnings.append(
            f"{len(names)} names are in both the clean and the degraded images ({escape(names[0])}, …): if they show "
            "the same scenes, a paired set is used as unpaired, and the results are too optimistic"
        )
    warnings += _warn_mixed_colour_spaces(scans) + _warn_flat_images(scans)
    warnings += _warn_identical_pixels(clean, degraded, "is a clean image and also a degraded image:")
    others = {"val_clean": ("clean", "ceiling_clean", "pairs_clean"), "val_degraded": ("degraded",)}
    for val, train in ((val, train) for val, parts in others.items() for train in parts):
        warnings += _warn_identical_pixels(
            scans.get(val, {}).values(), scans.get(train, {}).values(), f"of {val} is also a training image:"
        )
    return warnings


def _warn_identical_pixels(these: Iterable[ScannedImage], those: Iterable[ScannedImage], what: str) -> list[str]:
    known = {scan.facts.digest: scan.location for scan in those if scan.facts.digest}
    both = [scan for scan in these if scan.facts.digest in known]
    if not both:
        return []
    more = f" (and {len(both) - 1} more images)" if len(both) > 1 else ""
    return [f"{both[0].location} {what} {known[both[0].facts.digest]}{more}, with identical pixels"]


def _check_detail(parts: Mapping[str, ImageSet], scans: Mapping[str, dict[int, ScannedImage]]) -> None:
    for part in _TRAINING:
        decoded = [scan.facts for scan in scans[part].values() if scan.facts.digest]
        if decoded and all(facts.is_flat for facts in decoded):
            raise UserError(
                f"data.{part}: {escape(parts[part].source)}: every image has a single colour, and no detail to learn "
                "from; give photographs"
            )


def _warn_flat_images(scans: Mapping[str, dict[int, ScannedImage]]) -> list[str]:
    flat = {part: [scan.location for scan in scans[part].values() if scan.facts.is_flat] for part in scans}
    return [
        f"{len(found)} of {len(scans[part])} images of {part} have a single colour ({found[0]}, …): they hold no detail"
        for part, found in flat.items()
        if found
    ]


def _warn_mixed_colour_spaces(scans: Mapping[str, dict[int, ScannedImage]]) -> list[str]:
    spaces = {
        part: Counter(scan.facts.colour_space for scan in found.values() if scan.facts.colour_space)
        for part, found in scans.items()
    }
    if len(set().union(*spaces.values())) < 2:
        return []
    listed = "; ".join(f"{part} {_format_counts(dict(count.most_common()))}" for part, count in spaces.items() if count)
    return [
        f"the colour spaces of the images differ ({escape(listed)}): profiles are not applied, so the difference "
        "counts as degradation; convert all images to sRGB"
    ]
