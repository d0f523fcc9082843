"""SIDD (Abdelhamed et al., 2018): phone photographs of ten scenes in sRGB; five scenes on each side.

A name such as 0052_002_S6_01600_… means shot 52 of scene 002. Shots of one scene differ in phone, light and ISO level,
so the split is by scene. The validation blocks come from other shots of the same ten scenes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unpairaug.benchmarks.layout import Benchmark, Pair, Split, find_files, pair_files, split_scenes
from unpairaug.data.images import Array
from unpairaug.errors import UserError, escape

_BLOCKS = {"clean": "ValidationGtBlocksSrgb", "degraded": "ValidationNoisyBlocksSrgb"}
"""The name of the file of each side, and of the variable in it."""


def _split_data_set(source: Path, scale: int) -> Split:
    shots = find_files(source / "Data", r"(\d{4}_\d{3}_\w+)")
    clean, degraded = split_scenes(pair for name, folder in shots.items() for pair in _shot_pairs(name, folder))
    return Split(clean, degraded, _validation_pairs(source))


def _shot_pairs(name: str, folder: Path) -> list[Pair]:
    """The pairs of one shot: one in SIDD-Small, two in SIDD-Medium."""
    clean, degraded = (
        find_files(folder, rf"(?:\d{{4}}_)?{kind}_SRGB_(\d{{3}})\.(?:PNG|png)") for kind in ("GT", "NOISY")
    )
    scene = name.split("_")[1]
    return [Pair(f"{name}_{pair.name}", scene, pair.clean, pair.degraded) for pair in pair_files(clean, degraded)]


def _validation_pairs(source: Path) -> list[Pair]:
    clean, degraded = (_load_blocks(source / f"{name}.mat", name) for name in _BLOCKS.values())
    if clean.shape != degraded.shape:
        raise UserError(f"{escape(source)}: validation blocks of {clean.shape} (clean) and {degraded.shape} (noisy)")
    places = np.ndindex(*clean.shape[:2])
    return [Pair(f"{i:02}_{j:02}", f"validation {i:02}", clean[i, j], degraded[i, j]) for i, j in places]


def _load_blocks(path: Path, name: str) -> Array:
    """(photographs, blocks of each, 256, 256, 3) uint8."""
    from scipy.io import loadmat

    if not path.is_file():
        raise UserError(f"{escape(path)}: there is no such file")
    try:
        blocks = loadmat(path, variable_names=[name]).get(name)
    except (ValueError, OSError, NotImplementedError) as error:
        raise UserError(f"{escape(path)}: cannot be read as a MATLAB file ({error}); download it again") from error
    if blocks is None or blocks.ndim != 5 or blocks.shape[-1] != 3 or blocks.dtype != np.uint8:
        found = "nothing" if blocks is None else f"{blocks.shape} of {blocks.dtype}"
        raise UserError(f"{escape(path)}: {found} called {name}; expected (40, 32, 256, 256, 3) of uint8")
    return blocks


SIDD = Benchmark(
    split=_split_data_set,
    layout="Data/0001_001_S6_00100_00060_3200_L/0001_GT_SRGB_010.PNG, 0001_NOISY_SRGB_010.PNG …\n"
    "ValidationGtBlocksSrgb.mat, ValidationNoisyBlocksSrgb.mat\n"
    "the folder of SIDD-Medium (or SIDD-Small) in sRGB, and, beside its Data, the two files of the validation data",
    scales=(1,),
    whole="of SIDD-Medium 320 images on both sides together, and 1280 validation pairs of blocks",
    cut=512,
)
