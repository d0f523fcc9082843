"""What the benchmarks share: pairs found in a folder of a known layout, and a split without a scene on both sides."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from unpairaug.data.images import Array
from unpairaug.errors import UserError, escape

Origin = Path | Array
"""A file that can stay as it is, or the (H, W, 3) RGB pixels of an image that no file holds by itself."""


@dataclass(frozen=True)
class Pair:
    """A clean image and its degraded twin, as the data set has them."""

    name: str
    """Of both, without an extension; no other pair of its part has it."""
    scene: str
    """What it shows: pairs of one scene never stand on both sides of a split."""
    clean: Origin
    degraded: Origin


@dataclass(frozen=True)
class Split:
    """The pairs of a data set by their use."""

    clean: list[Pair]
    """Of which the clean images alone are trained on."""
    degraded: list[Pair]
    """Of which the degraded images alone are trained on; their clean twins are the ceiling's."""
    validation: list[Pair]


@dataclass(frozen=True)
class Benchmark:
    """A data set and a protocol; the recipe of the same name trains on it."""

    split: Callable[[Path, int], Split]
    """(folder of the data set, scale) -> its pairs; raises UserError where the folder is another's."""
    layout: str
    """The files that it expects, one a line; `{scale}` stands for the scale."""
    scales: tuple[int, ...]
    """The first is the recipe's."""
    whole: str
    """What comes out of the whole data set."""
    cut: int | None = None
    """Side in pixels of the pieces to cut clean photographs into before training; None for those that are small."""


def find_files(folder: Path, pattern: str) -> dict[str, Path]:
    """The files of a folder whose whole name fits, by what the pattern's only group finds; in the order of that.

    Numbers are ordered as numbers.

    Raises:
        UserError: there is no such folder, no such file in it, or two that the group does not tell apart.
    """
    if not folder.is_dir():
        raise UserError(f"{escape(folder)}: there is no such folder")
    found: dict[str, Path] = {}
    for path in folder.iterdir():
        if fits := re.fullmatch(pattern, path.name):
            first = found.setdefault(fits[1], path)
            if first != path:
                raise UserError(f"{escape(first)} and {escape(path)}: two files of one name; remove one")
    if not found:
        raise UserError(f"{escape(folder)}: no file in this folder is called as it should be (as a pattern: {pattern})")
    return {key: found[key] for key in sorted(found, key=_sort_key)}


def pair_files(clean: dict[str, Path], degraded: dict[str, Path], scene: Callable[[str], str] = str) -> list[Pair]:
    """Pairs of two folders' files, by their keys, in the order of the clean ones.

    Raises:
        UserError: a file of either side has no partner.
    """
    alone = [path for key, path in (clean | degraded).items() if (key in clean) != (key in degraded)]
    if alone:
        more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
        raise UserError(f"{escape(alone[0])}{more}: no partner on the other side; was everything downloaded?")
    return [Pair(key, scene(key), path, degraded[key]) for key, path in clean.items()]


def split_scenes(pairs: Iterable[Pair]) -> tuple[list[Pair], list[Pair]]:
    """The pairs of the first half of the scenes, in their order, and of the second, which is larger by one if odd.

    Raises:
        UserError: there is but one scene.
    """
    pairs = list(pairs)
    scenes = sorted({pair.scene for pair in pairs}, key=_sort_key)
    if len(scenes) < 2:
        raise UserError(f"only one scene, {scenes[0]}; two sides without a common scene take at least two")
    first = set(scenes[: len(scenes) // 2])
    return [pair for pair in pairs if pair.scene in first], [pair for pair in pairs if pair.scene not in first]


def _sort_key(key: str) -> tuple[int, str]:
    return (int(key), key) if key.isdecimal() else (0, key)
