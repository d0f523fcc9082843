"""DPED (Ignatov et al., 2017): roughly aligned patches of photographs by a phone and by a Canon 70D.

Patches are named by a number; the distribution does not list their photographs. If the numbers follow the photographs,
only the photograph around the middle number can have patches on both sides of the split.
"""

from __future__ import annotations

from pathlib import Path

from unpairaug.benchmarks.layout import Benchmark, Pair, Split, find_files, pair_files, split_scenes
from unpairaug.errors import UserError, escape

_TARGET = "canon"


def _split_data_set(source: Path, scale: int) -> Split:
    clean, degraded = split_scenes(_find_pairs(source / "training_data"))
    return Split(clean, degraded, _find_pairs(source / "test_data" / "patches"))


def _find_pairs(folder: Path) -> list[Pair]:
    clean = find_files(folder / _TARGET, r"(\d+)\.jpg")
    return pair_files(clean, find_files(_find_phone_folder(folder), r"(\d+)\.jpg"))


def _find_phone_folder(folder: Path) -> Path:
    """The folder of the phone: the only one beside the Canon's."""
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found = [path for path in folders if path.name != _TARGET]
    if len(found) != 1:
        raise UserError(f"{escape(folder)}: {len(found)} folders beside {_TARGET}; expected the folder of one phone")
    return found[0]


DPED = Benchmark(
    split=_split_data_set,
    layout="training_data/canon/0.jpg …, training_data/iphone/0.jpg …\n"
    "test_data/patches/canon/0.jpg …, test_data/patches/iphone/0.jpg …\n"
    "the folder of one phone: dped/iphone, dped/blackberry or dped/sony",
    scales=(1,),
    whole="for the iPhone 80235 clean patches, 80236 degraded ones, 4353 validation pairs",
)
