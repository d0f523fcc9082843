"""Find the pairs in a folder of known layout, and split them so that no scene is on both sides."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from unpairaug.data.images import Array
from unpairaug.errors import UserError, escape

Origin = Path | Array
"""An image file, or the (H, W, 3) RGB pixels of an image that has no file of its own."""


@dataclass(frozen=True)
class Pair:
    """A degraded image and its ground truth."""

    name: str
    """The name of both without extension; unique within a part of the split."""
    scene: str
    """The scene: pairs of one scene are never on both sides of a split."""
    clean: Origin
    degraded: Origin


@dataclass(frozen=True)
class Split:
    """The pairs of a data set, by use."""

    clean: list[Pair]
    """Pairs of which only the ground truth is used, as clean training images."""
    degraded: list[Pair]
    """Pairs whose degraded images are training images; their ground truth is for the supervised upper bound."""
    validation: list[Pair]


@dataclass(frozen=True)
class Benchmark:
    """A data set and its split; the recipe of the same name trains on it."""

    split: Callable[[Path, int], Split]
    """(folder of the data set, scale) -> its pairs; raises UserError for another layout."""
    layout: str
    """The expected files, one a line; `{scale}` is replaced by the scale."""
    scales: tuple[int, ...]
    """The available scales; the recipe uses the first."""
    whole: str
    """The number of images from the complete data set."""
    cut: int | None = None
    """Side in pixels of the pieces into which clean photographs are cut before training; None for small images."""


def find_files(folder: Path, pattern: str) -> dict[str, Path]:
    """The files of a folder whose whole name matches, by the pattern's only group, sorted (numbers by value).

    Raises:
        UserError: the folder does not exist, has no matching file, or two files have the same group.
    """
    if not folder.is_dir():
        raise UserError(f"{escape(folder)}: there is no such folder")
    found: dict[str, Path] = {}
    for path in folder.iterdir():
        if fits := re.fullmatch(pattern, path.name):
            first = found.setdefault(fits[1], path)
            if first != path:
                raise UserError(f"{escape(first)} and {escape(path)}: two files with the same name; remove one")
    if not found:
        raise UserError(
            f"{escape(folder)}: no file in this folder has an expected name (regular expression: {pattern})"
        )
    return {key: found[key] for key in sorted(found, key=_sort_key)}


def pair_files(clean: dict[str, Path], degraded: dict[str, Path], scene: Callable[[str], str] = str) -> list[Pair]:
    """Pair the files of two folders by their keys, in the order of the clean files.

    Raises:
        UserError: a file of either side has no partner.
    """
    alone = [path for key, path in (clean | degraded).items() if (key in clean) != (key in degraded)]
    if alone:
        more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
        raise UserError(f"{escape(alone[0])}{more}: no partner on the other side; check that the download is complete")
    return [Pair(key, scene(key), path, degraded[key]) for key, path in clean.items()]


def split_scenes(pairs: Iterable[Pair]) -> tuple[list[Pair], list[Pair]]:
    """The pairs of the first and of the second half of the scenes; of an odd number, the second half has one more.

    Raises:
        UserError: there is only one scene.
    """
    pairs = list(pairs)
    scenes = sorted({pair.scene for pair in pairs}, key=_sort_key)
    if len(scenes) < 2:
        raise UserError(f"only one scene, {scenes[0]}; two sides without a common scene need at least two")
    first = set(scenes[: len(scenes) // 2])
    return [pair for pair in pairs if pair.scene in first], [pair for pair in pairs if pair.scene not in first]


def _sort_key(key: str) -> tuple[int, str]:
    return (int(key), key) if key.isdecimal() else (0, key)
