"""Pairs of a degraded image and its ground truth, matched by name; the ground truth is `scale` times as large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from unpairaug.data.images import Array, ImageSet
from unpairaug.errors import UserError, escape

_MAX_LISTED = 5
"""How many names a message lists before it only counts."""


class ImagePair(NamedTuple):
    """A degraded image and its ground truth."""

    name: str
    """The name that both files share, without extension."""
    clean: Array
    """The ground truth, (scale * h, scale * w, 3) RGB, 8 bits."""
    degraded: Array
    """(h, w, 3) RGB, 8 bits."""


class ValidationPairs(Sequence[ImagePair]):
    """Pairs of whole images for validation, in the order of the clean images."""

    def __init__(self, clean: ImageSet, degraded: ImageSet, scale: int) -> None:
        """Match the two sets.

        Raises:
            UserError: an image of either side has no partner on the other.
        """
        self.clean, self.degraded, self.scale = clean, degraded, scale
        self.matches = match_pairs(clean, degraded, scale)
        """(index of the clean image, index of the degraded one) for each pair."""

    def __len__(self) -> int:
        return len(self.matches)

    def __getitem__(self, i: int) -> ImagePair:  # type: ignore[override]  # no slices
        """Pair `i`.

        Raises:
            UserError: an image cannot be read, or the two sizes contradict the scale.
        """
        return read_pair(self.clean, self.degraded, self.matches[i], self.scale)


def match_pairs(clean: ImageSet, degraded: ImageSet, scale: int) -> list[tuple[int, int]]:
    """(index in clean, index in degraded) of images with the same name up to the extension, in the order of `clean`.

    The names of DIV2K match too: `0801x4` is the degraded image of `0801` at scale 4. Names in a shard end at the first
    dot. If one side is in shards and some images have no partner, the names of both sides are cut at the first dot.

    Raises:
        UserError: an image has no partner, or two images of one side have the same name but for the extension.
    """
    clean_at, degraded_at = _index_by_stem(clean), _index_by_stem(degraded)
    partners, alone = _find_partners(clean, degraded, clean_at, degraded_at, scale)
    if alone and (clean.shard_sizes is not None or degraded.shard_sizes is not None):
        short = [{_stem_to_first_dot(stem): i for stem, i in at.items()} for at in (clean_at, degraded_at)]
        if [*map(len, short)] == [len(clean), len(degraded)]:
            clean_at, degraded_at = short
            partners, alone = _find_partners(clean, degraded, clean_at, degraded_at, scale)
    if alone:
        raise UserError(
            f"{len(alone)} of {len(clean) + len(degraded)} images in {escape(clean.source)} (clean) and "
            f"{escape(degraded.source)} (degraded) have no partner: {abbreviate(alone)}; the two images of a pair have "
            "the same name up to the extension"
        )
    return [(i, partners[stem]) for stem, i in clean_at.items()]


def read_pair(clean: ImageSet, degraded: ImageSet, at: tuple[int, int], scale: int) -> ImagePair:
    """Read the pair at (index in clean, index in degraded).

    Raises:
        UserError: an image cannot be read, or the two sizes contradict the scale.
    """
    i, j = at
    pair = ImagePair(clean.stem(i), clean[i], degraded[j])
    problem = scale_mismatch(
        pair.clean.shape[1::-1], pair.degraded.shape[1::-1], clean.location(i), degraded.location(j), scale
    )
    if problem:
        raise UserError(problem)
    return pair


def scale_mismatch(
    clean: Sequence[int], degraded: Sequence[int], clean_where: str, degraded_where: str, scale: int
) -> str | None:
    """A message if the ground truth is not `scale` times as large as the degraded image, else None.

    Args:
        clean: (width, height) of the ground truth in pixels.
        degraded: (width, height) of the degraded image in pixels.
        clean_where: name of the ground truth in the message.
        degraded_where: name of the degraded image in the message.
        scale: expected ratio of the side lengths.
    """
    width, height = degraded
    if tuple(clean) == (width * scale, height * scale):
        return None
    implied = " by ".join(dict.fromkeys(f"{clean[i] / degraded[i]:.4g}" for i in (0, 1)))
    expected = f"{width * scale}×{height * scale} px"
    return (
        f"{clean_where}: {clean[0]}×{clean[1]} px, and its degraded image {degraded_where}: {width}×{height} px, imply "
        f"a scale of {implied}, but task.scale is {scale}; expected a clean image of {expected}"
    )


def _find_partners(
    clean: ImageSet, degraded: ImageSet, clean_at: dict[str, int], degraded_at: dict[str, int], scale: int
) -> tuple[dict[str, int], list[str]]:
    """The index of the degraded image by clean name, and the locations of the images without a partner."""
    partners = {_clean_stem(stem, scale, clean_at, degraded_at): i for stem, i in degraded_at.items()}
    alone = [clean.location(i) for stem, i in clean_at.items() if stem not in partners]
    alone += [degraded.location(i) for stem, i in partners.items() if stem not in clean_at]
    return partners, alone


def _stem_to_first_dot(stem: str) -> str:
    """The stem up to the first dot of the file name."""
    folder, slash, name = stem.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _clean_stem(stem: str, scale: int, clean_at: dict[str, int], degraded_at: dict[str, int]) -> str:
    short = stem.removesuffix(f"x{scale}")
    return short if stem not in clean_at and short in clean_at and short not in degraded_at else stem


def _index_by_stem(images: ImageSet) -> dict[str, int]:
    at: dict[str, int] = {}
    for i in range(len(images)):
        first = at.setdefault(images.stem(i), i)
        if first != i:
            raise UserError(
                f"{images.location(first)} and {images.location(i)}: two images of the same name; rename or remove one"
            )
    return at


def abbreviate(names: list[str]) -> str:
    """The first names of a list, and the number of the others."""
    return ", ".join(names[:_MAX_LISTED]) + (
        f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    )


def list_lines(lines: Sequence[str], most: int, characters: int = 1500) -> str:
    """Lines for a message, indented: the first `most` that fit into `characters`, and the number of the others."""
    shown = 1
    while shown < min(most, len(lines)) and sum(map(len, lines[: shown + 1])) <= characters:
        shown += 1
    rest = [f"and {len(lines) - shown} more"] if len(lines) > shown else []
    return "".join(f"\n  {line}" for line in [*lines[:shown], *rest])
