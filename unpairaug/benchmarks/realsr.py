"""RealSR, version 3 (Cai et al., 2019): one camera at two focal lengths, registered; halves by the number of the scene.

Versions 1 and 2 hold degraded images that were enlarged to the size of the clean ones, which is another task.
"""

from __future__ import annotations

from pathlib import Path

from unpairaug.benchmarks.layout import Benchmark, Pair, Split, files_in, halves, paired


def _split(source: Path, scale: int) -> Split:
    clean, degraded = halves(_pairs(source / "Train" / str(scale), scale))
    return Split(clean, degraded, _pairs(source / "Test" / str(scale), scale))


def _pairs(folder: Path, scale: int) -> list[Pair]:
    clean, degraded = (files_in(folder, rf"([A-Za-z]+_\d+)_{side}\.png") for side in ("HR", f"LR{scale}"))
    return paired(clean, degraded)


REALSR = Benchmark(
    split=_split,
    layout="Train/{scale}/Canon_001_HR.png, Canon_001_LR{scale}.png …\n"
    "Test/{scale}/Canon_001_HR.png, Canon_001_LR{scale}.png …\n"
    "the folder of one camera of version 3: RealSR(V3)/Canon or RealSR(V3)/Nikon",
    scales=(4, 2, 3),
    whole="half of the training pairs of one camera a side, and its test pairs",
    cut=480,
)
