"""Scores a translator: its degraded images against real degraded photographs of other scenes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from unpairaug.bridge import round_to_8_bits
from unpairaug.data.images import ImageSet
from unpairaug.data.output_files import OutputFiles
from unpairaug.data.sources import SAMPLE, is_sample, open_images
from unpairaug.degrading.degrade import Degradation, Degrader
from unpairaug.errors import UserError, escape
from unpairaug.networks.backbone import Backbone
from unpairaug.networks.resize import shrink
from unpairaug.restoring.restore import BICUBIC, best_device
from unpairaug.scoring.scores import SCORES, Features, score, sort_images
from unpairaug.scoring.two_sample import WINDOW, Floats, Pixels, local_spectra

Scores = dict[str, Any]
"""Each score by its name; `model`, `scale`, `seed`, `clean`, `degraded` (number of images); and reference scores: those
of plain downsampling as `bicubic`, and those between halves of the real images as `halves`."""

MAX_SIDE = 512
"""Largest side in pixels of a scored degraded image; larger images are cropped at random."""
LAYERS = (0, 1, 2)
"""Stages of the backbone used as features; the first stages respond to texture."""
OPTION = "--backbone"
UNREADABLE = "images that are not scored, because they cannot be read:"
SAMPLE_SCALE = 2
"""Scale of `bicubic` on the sample, which exists at any scale; the same as in the bundled recipes."""


def score_model(
    model: str,
    clean: str,
    degraded: str,
    scale: int | None = None,
    seed: int = 0,
    images: int = 64,
    features: Features = local_spectra,
    trust_code: bool = False,
    unreadable: list[str] | None = None,
) -> Scores:
    """Degrade the clean images, and score them and the references against the real degraded images.

    Args:
        model: a run folder, its `translator/`, a hub id, or `bicubic` for plain downsampling.
        clean: a folder, shards, or `sample`.
        degraded: real degraded images of other scenes: a folder, shards, or `sample`.
        scale: size ratio of clean to degraded images, if MODEL is not a run folder.
        seed: of all random draws: the translator's noise, the choice of images, and crops.
        images: largest number of images of each set.
        features: features of `patches` and `classifier`.
        trust_code: see `Translator.from_pretrained`.
        unreadable: takes a message for each image that cannot be read; None raises the first.

    Raises:
        UserError: a model or folder is missing, the scale contradicts it, or images are too few or too small.
    """
    translator = Degradation(model, seed, scale=scale, trust_code=trust_code)
    is_plain = model == BICUBIC
    translate = _Bicubic(_scale_of_bicubic(scale, degraded)) if is_plain else Degrader(translator, best_device())
    scale = translate.scale
    real, chosen = _read_sides(clean, degraded, scale, seed, images, unreadable)
    sources = {name: translate.crop(image) for name, image in chosen.items()}
    fakes = [translate(image, name) for name, image in sources.items()]
    plain, reals = _Bicubic(scale), sort_images(list(real.values()))
    found: Scores = {
        **score(reals, fakes, seed, features),
        "model": model,
        "scale": scale,
        "seed": seed,
        "clean": len(fakes),
        "degraded": len(reals),
        "bicubic": score(reals, [plain(image) for image in sources.values()], seed, features),
    }
    return {**found, "halves": score(reals[::2], reals[1::2], seed, features)} if len(reals) > 3 else found


def backbone_features(model: str, weights: str) -> Features:
    """Features from the first stages of a frozen timm network: mean activations in each window of an image.

    Raises:
        UserError: the network does not exist, or its weights cannot be loaded.
    """
    backbone = Backbone(OPTION, model, LAYERS, weights).to(best_device())

    def features(image: Pixels) -> Floats:
        if min(image.shape[:2]) < backbone.smallest_side:
            raise UserError(
                f"{OPTION} {escape(model)} needs images of at least {backbone.smallest_side} px a side; one image has "
                f"{image.shape[1]}×{image.shape[0]} px"
            )
        pixels = torch.tensor(image, device=best_device()).permute(2, 0, 1)[None].float() / 255
        grid = max(1, image.shape[0] // WINDOW), max(1, image.shape[1] // WINDOW)
        with torch.inference_mode():
            seen = [F.adaptive_avg_pool2d(stage, grid).flatten(2)[0].T for stage in backbone(pixels)]
        return torch.cat(seen, dim=1).double().cpu().numpy()

    return features


def format_table(found: Scores) -> str:
    """Format the scores: a line for each, with the reference scores, the unit and the best value."""
    plain = BICUBIC if found["scale"] > 1 else "source"
    columns = {"translator": found, plain: found["bicubic"], "real halves": found.get("halves")}
    if found["model"] == BICUBIC:
        del columns["translator"]
    columns = {title: scores for title, scores in columns.items() if scores}
    left, right = max(len(how.label) for how in SCORES.values()), max(map(len, columns)) + 2
    lines = [" " * left + "".join(title.rjust(right) for title in columns)]
    for name, how in SCORES.items():
        cells = "".join(f"{scores[name]:.3f}".rjust(right) for scores in columns.values())
        best = f"{how.best:g} is best, smaller is better" if how.best else "smaller is better"
        lines.append(how.label.ljust(left) + cells + f"  {how.unit}; {best}")
    sides = f"{found['clean']} clean and {found['degraded']} degraded images"
    return "\n".join([*lines, f"{escape(found['model'])}: {sides}, scale {found['scale']}, seed {found['seed']}"])


class _Bicubic:
    """Bicubic downsampling of clean images; the identity at scale 1."""

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def crop(self, clean: Pixels) -> Pixels:
        height, width = (side // self.scale * self.scale for side in clean.shape[:2])
        return clean[:height, :width]

    def __call__(self, clean: Pixels, name: str = "") -> Pixels:
        pixels = torch.tensor(clean).permute(2, 0, 1)[None] / 255
        small = round_to_8_bits(shrink(pixels, self.scale).clamp(0, 1))
        return (small * 255).round().byte()[0].permute(1, 2, 0).numpy()


def _scale_of_bicubic(scale: int | None, degraded: str) -> int:
    if scale is None and not is_sample(degraded):
        raise UserError(f"{BICUBIC} needs a scale: --scale 2, or 1 to keep the size")
    return scale or (SAMPLE_SCALE if degraded == SAMPLE else 1)


def _read_sides(
    clean: str, degraded: str, scale: int, seed: int, images: int, unreadable: list[str] | None
) -> tuple[dict[str, Pixels], dict[str, Pixels]]:
    """The degraded and the clean images by name; arguments as those of `score_model`.

    Raises:
        UserError: a folder is missing, or so many images cannot be read that a side has fewer than two.
    """
    real = _sample_images(open_images(degraded, "degraded", scale), images, seed, unreadable)
    chosen = _sample_images(open_images(clean, "clean", scale), images, seed, unreadable, scale)
    if unreadable and min(len(real), len(chosen)) < 2:
        OutputFiles().check_complete(unreadable, UNREADABLE)
    return real, chosen


def _sample_images(
    images: ImageSet, most: int, seed: int, unreadable: list[str] | None, scale: int = 1
) -> dict[str, Pixels]:
    """At most `most` of the images by name; large images are cropped at a multiple of the scale."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(images))[:most] if len(images) > most else np.arange(len(images))

    def place(width: int, height: int) -> tuple[int, int, int, int]:
        sides = [min(side, scale * MAX_SIDE) for side in (width, height)]
        spare = [(side - kept) // scale for side, kept in zip((width, height), sides, strict=True)]
        left, top = (int(scale * rng.integers(room + 1)) for room in spare)
        return left, top, left + sides[0], top + sides[1]

    numbers: list[int] = sorted(chosen.tolist())
    found: dict[str, Pixels] = {}
    for i in numbers:
        try:
            found[images.names[i]] = images.read_window(i, place).copy()
        except UserError as error:
            if unreadable is None:
                raise
            unreadable.append(str(error))
    return found
