"""The tracks of NTIRE 2017 and 2018 with unknown degradations, on DIV2K: halves of the 800 training photographs.

The challenges provide pairs; the halves follow the unpaired methods: CycleSR (Chen et al., 2020) uses clean images from
0001-0400 and degraded images from 0401-0800, CinCGAN (Yuan et al., 2018) the reverse.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from unpairaug.benchmarks.layout import Benchmark, Pair, Split, find_files, pair_files
from unpairaug.errors import UserError

HALF = 400
"""Number of the last photograph of DIV2K's first half."""

_HR = """\
DIV2K_train_HR/0001.png … 0800.png
DIV2K_valid_HR/0801.png … 0900.png
"""
_WHOLE = "400 clean images, 400 degraded ones, 100 validation pairs"


def _split_2017(source: Path, scale: int) -> Split:
    pairs = partial(_find_pairs, source, f"LR_unknown/X{scale}", rf"(\d{{4}})x{scale}\.png")
    first, second = _split_by_number(pairs("train"))
    return Split(first, second, pairs("valid"))


def _split_2018(source: Path, scale: int) -> Split:
    pairs = partial(_find_pairs, source, "LR_mild", rf"(\d{{4}})x{scale}m\.png")
    first, second = _split_by_number(pairs("train"))
    return Split(second, first, pairs("valid"))


def _find_pairs(source: Path, degraded: str, pattern: str, part: str) -> list[Pair]:
    clean = find_files(source / f"DIV2K_{part}_HR", r"(\d{4})\.png")
    return pair_files(clean, find_files(source / f"DIV2K_{part}_{degraded}", pattern))


def _split_by_number(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    first = [pair for pair in pairs if int(pair.scene) <= HALF]
    second = [pair for pair in pairs if int(pair.scene) > HALF]
    if not first or not second:
        missing = f"0001 to {HALF:04}" if not first else f"{HALF + 1:04} to 0800"
        raise UserError(f"no training photograph from {missing}; check that the download is complete")
    return first, second


NTIRE_2017 = Benchmark(
    split=_split_2017,
    layout=f"{_HR}DIV2K_train_LR_unknown/X{{scale}}/0001x{{scale}}.png … 0800x{{scale}}.png\n"
    "DIV2K_valid_LR_unknown/X{scale}/0801x{scale}.png … 0900x{scale}.png",
    scales=(4, 2, 3),
    whole=_WHOLE,
    cut=480,
)
NTIRE_2018 = Benchmark(
    split=_split_2018,
    layout=f"{_HR}DIV2K_train_LR_mild/0001x4m.png … 0800x4m.png\nDIV2K_valid_LR_mild/0801x4m.png … 0900x4m.png",
    scales=(4,),
    whole=_WHOLE,
    cut=480,
)
