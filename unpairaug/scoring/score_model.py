"""A translator's scores on photographs: what it makes of clean ones against real degraded ones of other scenes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from unpairaug.bridge import round_to_8_bits
from unpairaug.data.images import ImageSet
from unpairaug.data.sources import SAMPLE, is_sample, open_images
from unpairaug.degrading.degrade import Degradation, Degrader
from unpairaug.errors import UserError
from unpairaug.networks.backbone import Backbone
from unpairaug.networks.resize import shrink
from unpairaug.restoring.restore import BICUBIC, best_device
from unpairaug.scoring.scores import SCORES, Features, in_order, score
from unpairaug.scoring.two_sample import WINDOW, Floats, Pixels, local_spectra

Scores = dict[str, Any]
"""Each score by its name; `model`, `scale`, `seed`, `clean`, `degraded` (images of each side); and the same scores of
what they are to be read against, as `bicubic` and, where there are images enough, `halves`."""

SIDE = 512
"""Longest side in pixels of what is scored of a degraded image: a window of a larger one, at a place that the seed
draws."""
LAYERS = (0, 1, 2)
"""Stages of a backbone that are features: the first ones, which see texture."""
WHO = "--backbone"
SAMPLE_SCALE = 2
"""Where `bicubic` meets the sample, which exists at every scale: that of the bundled recipes."""


def score_model(
    model: str,
    clean: str,
    degraded: str,
    scale: int | None = None,
    seed: int = 0,
    images: int = 64,
    features: Features = local_spectra,
) -> Scores:
    """Degrade the clean images and score them against the real degraded ones; also what both are to be read against.

    Args:
        model: a run folder, its `translator/`, a hub id, or `bicubic`, the plain reduction of the clean images.
        clean: a folder, shards, or `sample`.
        degraded: likewise; of other scenes, and by no means the twins.
        scale: side of a clean image over that of its degraded one, where no run says so.
        seed: of what is drawn: the translator's noise, which images and which part of them.
        images: most of each side that are looked at.
        features: what `patches` and `classifier` see of an image.

    Raises:
        UserError: there is no such model or folder, the scale is missing or contradicts the model, there are too few
            images or too small ones.
    """
    if model == BICUBIC:
        translate = _Bicubic(_scale_of_bicubic(scale, degraded))
    else:
        translate = Degrader(Degradation(model, seed, scale=scale), best_device())
    real = _some(open_images(degraded, "degraded", translate.scale), images, seed)
    sources = {
        name: translate.cropped(image)
        for name, image in _some(open_images(clean, "clean", translate.scale), images, seed, translate.scale).items()
    }
    fakes = [translate(image, name) for name, image in sources.items()]
    plain = _Bicubic(translate.scale)
    reals = in_order(list(real.values()))
    found: Scores = {
        **score(reals, fakes, seed, features),
        "model": model,
        "scale": translate.scale,
        "seed": seed,
        "clean": len(fakes),
        "degraded": len(reals),
        "bicubic": score(reals, [plain(image) for image in sources.values()], seed, features),
    }
    return {**found, "halves": score(reals[::2], reals[1::2], seed, features)} if len(reals) > 3 else found


def backbone_features(model: str, weights: str) -> Features:
    """What the first stages of a frozen network of timm see in each window of an image: their mean activations.

    Raises:
        UserError: there is no such network, or its weights cannot be had.
    """
    backbone = Backbone(WHO, model, LAYERS, weights).to(best_device())

    def features(image: Pixels) -> Floats:
        if min(image.shape[:2]) < backbone.smallest_side:
            raise UserError(
                f"{WHO} {model} needs images of {backbone.smallest_side} px or more a side, and one has "
                f"{image.shape[1]}×{image.shape[0]}"
            )
        pixels = torch.tensor(image, device=best_device()).permute(2, 0, 1)[None].float() / 255
        grid = max(1, image.shape[0] // WINDOW), max(1, image.shape[1] // WINDOW)
        with torch.inference_mode():
            seen = [F.adaptive_avg_pool2d(stage, grid).flatten(2)[0].T for stage in backbone(pixels)]
        return torch.cat(seen, dim=1).double().cpu().numpy()

    return features


def table(found: Scores) -> str:
    """The scores in words: a line for each, with what it is to be read against, and how."""
    columns = {"translator": found, BICUBIC: found["bicubic"], "real halves": found.get("halves")}
    if found["model"] == BICUBIC:
        del columns["translator"]
    columns = {title: scores for title, scores in columns.items() if scores}
    left, right = max(len(how.words) for how in SCORES.values()), max(map(len, columns)) + 2
    lines = [" " * left + "".join(title.rjust(right) for title in columns)]
    for name, how in SCORES.items():
        cells = "".join(f"{scores[name]:.3f}".rjust(right) for scores in columns.values())
        best = f"{how.best:g} is best, smaller is better" if how.best else "smaller is better"
        lines.append(how.words.ljust(left) + cells + f"  {how.unit}; {best}")
    sides = f"{found['clean']} clean and {found['degraded']} degraded images"
    return "\n".join([*lines, f"{found['model']}: {sides}, scale {found['scale']}, seed {found['seed']}"])


class _Bicubic:
    """The plain reduction of clean images, as a translator that changes nothing leaves them."""

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def cropped(self, clean: Pixels) -> Pixels:
        height, width = (side // self.scale * self.scale for side in clean.shape[:2])
        return clean[:height, :width]

    def __call__(self, clean: Pixels, name: str = "") -> Pixels:
        pixels = torch.tensor(clean).permute(2, 0, 1)[None] / 255
        small = round_to_8_bits(shrink(pixels, self.scale).clamp(0, 1))
        return (small * 255).round().byte()[0].permute(1, 2, 0).numpy()


def _scale_of_bicubic(scale: int | None, degraded: str) -> int:
    if scale is None and not is_sample(degraded):
        raise UserError(f"{BICUBIC} does not know how far to reduce; give the scale: --scale 2, or 1 to leave the size")
    return scale or (SAMPLE_SCALE if degraded == SAMPLE else 1)


def _some(images: ImageSet, most: int, seed: int, scale: int = 1) -> dict[str, Pixels]:
    """At most so many of the images, by name; of a large one a window, which begins at a multiple of the scale."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(images))[:most] if len(images) > most else np.arange(len(images))

    def place(width: int, height: int) -> tuple[int, int, int, int]:
        sides = [min(side, scale * SIDE) for side in (width, height)]
        spare = [(side - kept) // scale for side, kept in zip((width, height), sides, strict=True)]
        left, top = (int(scale * rng.integers(room + 1)) for room in spare)
        return left, top, left + sides[0], top + sides[1]

    numbers: list[int] = sorted(chosen.tolist())
    return {images.names[i]: images.read_window(i, place).copy() for i in numbers}
