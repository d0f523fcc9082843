"""The card of a data set of pairs: what it holds, how it was made, and what a publisher has to add."""

from __future__ import annotations

from pathlib import PurePath

from unpairaug import __version__
from unpairaug.degrading.degrade import Degradation

CARD = "README.md"


def make_card(degradation: Degradation, pairs: int, draws: int, in_shards: bool) -> str:
    """The card as Markdown with the header of the Hugging Face hub; the model by its last name only.

    Args:
        degradation: what degraded them.
        pairs: number of pairs.
        draws: degraded images for each clean one.
        in_shards: whether the pairs are in shards instead of folders.
    """
    low, high = degradation.strength
    strength = f"{low:g}" if low == high else f"{low:g} to {high:g}, drawn for each image"
    layout = (
        "WebDataset shards; `NAME.lq.png` is the degraded image of `NAME.gt.png`"
        if in_shards
        else "`lq/` degraded, `gt/` clean; files of equal names belong together, as BasicSR reads them"
    )
    return f"""---
tags:
- image-restoration
- unpairaug
task_categories:
- image-to-image
---
# Pairs of degraded and clean images

{pairs} pairs, made by unpairaug {__version__}. A translator degraded the clean images; it has learnt a real camera from
unpaired photographs.

- Translator: {PurePath(degradation.model).name or degradation.model}
- Draws for each clean image: {draws}, seed {degradation.seed}, strength {strength}
- Layout: {layout}. `manifest.jsonl` has a line for each pair, with sizes and SHA-256.

To be added before it is published: licence and source of the clean images, which the pairs inherit; the camera, and
the licence of its photographs.
"""
