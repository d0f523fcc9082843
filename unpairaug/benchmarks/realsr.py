"""RealSR, version 3 (Cai et al., 2019): registered images of one camera at two focal lengths; halves by scene number.

In versions 1 and 2, degraded images are enlarged to the size of the clean images, which is another task.
"""

from __future__ import annotations

from pathlib import Path

from unpairaug.benchmarks.layout import Benchmark, Pair, Split, find_files, pair_files, split_scenes


def _split_data_set(source: Path, scale: int) -> Split:
    clean, degraded = split_scenes(_find_pairs(source / "Train" / str(scale), scale))
    return Split(clean, degraded, _find_pairs(source / "Test" / str(scale), scale))


def _find_pairs(folder: Path, scale: int) -> list[Pair]:
    clean, degraded = (find_files(folder, rf"([A-Za-z]+_\d+)_{side}\.png") for side in ("HR", f"LR{scale}"))
    return pair_files(clean, degraded)


REALSR = Benchmark(
    split=_split_data_set,
    layout="Train/{scale}/Canon_001_HR.png, Canon_001_LR{scale}.png …\n"
    "Test/{scale}/Canon_001_HR.png, Canon_001_LR{scale}.png …\n"
    "the folder of one camera of version 3: RealSR(V3)/Canon or RealSR(V3)/Nikon",
    scales=(4, 2, 3),
    whole="half of the training pairs of one camera on each side, and its test pairs",
    cut=480,
)
