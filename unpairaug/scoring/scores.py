"""How alike two unpaired sets of degraded images are: real photographs, and clean ones that a translator has degraded.

Images are lists of (H, W, 3) arrays in 8 bits, of any sizes from `LEAST` pixels on, of other scenes on either side. So
no score of two sets is quite 0, even if the same camera took both; what a set scores against its other half says how
much of a score the scenes are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from unpairaug.errors import UserError
from unpairaug.scoring.noise_statistics import autocorrelation, divergence, histogram, noise_level
from unpairaug.scoring.two_sample import Floats, Pixels, classifier_accuracy, kernel_distance, local_spectra

Features = Callable[[Pixels], Floats]
"""Features (windows, d) of the windows of an image (H, W, 3)."""

LEAST = 16
"""Pixels on each side of the smallest image that can be scored."""
PATCH = 8
"""Side in pixels of the patches that noise is looked for in."""
FLAT = 0.1
"""Share of an image's patches, the flattest, whose variation is taken for noise."""
CALM = 2.0
"""Standard deviation in pixels of the blur after which a patch is judged flat or not: noise has no say in it."""
LUMA = np.array([0.299, 0.587, 0.114])
"""Shares of red, green and blue in brightness (ITU-R BT.601)."""
ROUNDING = 1 / 12
"""Power that rounding adds at every frequency, in squared 8-bit steps."""
SPECTRUM_WINDOW = 64
"""Longest side in pixels of the windows whose spectra are averaged."""
MOST_WINDOWS = 4096
"""Windows of each side that are compared; more are drawn from at random."""


@dataclass(frozen=True)
class Score:
    """One way to compare two sets."""

    words: str
    """What it says, for tables."""
    unit: str
    """In words."""
    best: float = 0.0
    """Of two sets that cannot be told apart; larger is worse."""


SCORES = {
    "noise_level": Score("noise level at each brightness, apart by", "8-bit steps"),
    "noise_histogram": Score("histograms of the noise, divergence", "nats"),
    "noise_grain": Score("autocorrelation of the noise, apart by", "of 1"),
    "spectrum": Score("power at each frequency, apart by", "dB"),
    "colour": Score("mean colour, apart by", "8-bit steps"),
    "patches": Score("kernel distance of patch features", "of 2"),
    "classifier": Score("accuracy of a classifier on held-out images", "of 1", best=0.5),
}
"""Every score by its name, in the order in which tables show them."""


def score(
    real: Sequence[Pixels], fake: Sequence[Pixels], seed: int = 0, features: Features = local_spectra
) -> dict[str, float]:
    """Each of `SCORES` for two sets, whatever the order of their images.

    Args:
        real: images of the real camera.
        fake: images of the translator.
        seed: of what is drawn where there are more than `MOST_WINDOWS` windows.
        features: what `patches` and `classifier` see of an image.

    Raises:
        UserError: there are fewer than two images on a side, or one is smaller than `LEAST` pixels.
    """
    real, fake = in_order(real), in_order(fake)
    noises = Noise.of(real), Noise.of(fake)
    seen = [drawn([features(image) for image in side], seed) for side in (real, fake)]
    return {
        "noise_level": noise_level_distance(*noises),
        "noise_histogram": noise_divergence(*noises),
        "noise_grain": grain_distance(*noises),
        "spectrum": spectrum_distance(real, fake),
        "colour": colour_distance(real, fake),
        "patches": kernel_distance(np.concatenate(seen[0]), np.concatenate(seen[1])),
        "classifier": classifier_accuracy(seen[0], seen[1]),
    }


class Noise(NamedTuple):
    """What varies in the flat patches of a set of images."""

    light: Floats
    """(1, pixels, 3): the brightness without the noise, in 8-bit steps."""
    patches: Floats
    """(patches, PATCH, PATCH, 3): the noise, in 8-bit steps."""

    @staticmethod
    def of(images: Sequence[Pixels]) -> Noise:
        """From the flattest patches of each image (after the smooth blocks of Chen et al., 2018, "GCBD").

        A plane is taken off each patch; what is left is scaled up for the three numbers that went into the plane.
        """
        patches = np.concatenate([_flattest(image) for image in images])
        plane = _planes() @ patches.reshape(len(patches), -1, 3)
        light = (plane.transpose(0, 2, 1) @ _planes()).transpose(0, 2, 1).reshape(patches.shape)
        noise = (patches - light) * np.sqrt(PATCH**2 / (PATCH**2 - 3))
        return Noise(light.reshape(1, -1, 3).clip(0, 255), noise)


def noise_level_distance(real: Noise, fake: Noise, bins: int = 16) -> float:
    """How far apart the noise's standard deviations are, in 8-bit steps: the root mean square over brightness.

    Of the brightnesses that both sets have, each counts as often as the rarer of the two sets has it.
    """
    levels = [
        noise_level(n.light, n.patches.reshape(1, *n.light.shape), bins, least=5 * PATCH**2) for n in (real, fake)
    ]
    edges = np.linspace(0, 256, bins + 1)
    counts = np.minimum(*(np.histogram(n.light, edges)[0] / n.light.size for n in (real, fake)))
    apart = np.square(np.sqrt(levels[0].variance) - np.sqrt(levels[1].variance))
    shared = ~np.isnan(apart) & (counts > 0)
    if not shared.any():
        raise UserError(
            "the two sets have no brightness in common, so their noise cannot be compared; give more images"
        )
    return float(np.sqrt(np.average(apart[shared], weights=counts[shared])))


def noise_divergence(real: Noise, fake: Noise) -> float:
    """Kullback-Leibler divergence of the noise's histograms, the mean of both directions, in nats.

    After the average divergence of Yue et al. (2020, "AKLD"), who compare with the noise of the same pixels.
    """
    true, learnt = (histogram(noise.patches) for noise in (real, fake))
    return (divergence(true, learnt) + divergence(learnt, true)) / 2


def grain_distance(real: Noise, fake: Noise, reach: int = 3) -> float:
    """How far apart the autocorrelations of the noise are: root mean square over shifts of up to `reach` pixels."""
    found = [
        autocorrelation(noise.patches, reach) if noise.patches.any() else np.eye(1, (reach + 1) ** 2)
        for noise in (real, fake)
    ]
    return float(np.sqrt(np.mean(np.square(found[0].ravel()[1:] - found[1].ravel()[1:]))))


def spectrum_distance(real: Sequence[Pixels], fake: Sequence[Pixels]) -> float:
    """How far apart the power spectra of brightness are, in dB: root mean square over radial frequency.

    The mean over all directions (Durall et al., 2020) of all windows.
    """
    spectra = [radial_spectrum(side, _spectrum_side(real, fake)) for side in (real, fake)]
    return float(np.sqrt(np.mean(np.square(spectra[0] - spectra[1]))))


def radial_spectrum(images: Sequence[Pixels], side: int) -> Floats:
    """Power of the brightness at 1, 2, ... side / 2 cycles in `side` pixels, in dB: (side // 2,).

    Of windows of `side` pixels, tapered towards their edges; each image counts the same.
    """
    taper = np.outer(np.hanning(side + 2)[1:-1], np.hanning(side + 2)[1:-1])
    cycles = np.rint(side * np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])).astype(int)
    power = np.zeros((side, side))
    for image in images:
        windows = _cut(image @ LUMA, side)
        windows = (windows - windows.mean(axis=(1, 2), keepdims=True)) * taper
        power += np.square(np.abs(np.fft.fft2(windows))).mean(axis=0) / len(images)
    rings = (np.bincount(cycles.ravel(), power.ravel()) / np.bincount(cycles.ravel()))[1 : side // 2 + 1]
    return 10 * np.log10(rings / np.square(taper).sum() + ROUNDING)


def colour_distance(real: Sequence[Pixels], fake: Sequence[Pixels]) -> float:
    """How far apart the mean colours are, in 8-bit steps: root mean square over red, green and blue."""
    means = [np.mean([image.mean(axis=(0, 1)) for image in side], axis=0) for side in (real, fake)]
    return float(np.sqrt(np.mean(np.square(means[0] - means[1]))))


def in_order(images: Sequence[Pixels]) -> list[Pixels]:
    """The images in an order that follows from their pixels alone.

    Raises:
        UserError: there are fewer than two, or one is smaller than `LEAST` pixels.
    """
    if len(images) < 2:
        raise UserError(f"given {len(images)} image; scores compare sets of two images or more")
    for image in images:
        if min(image.shape[:2]) < LEAST:
            raise UserError(f"an image of {image.shape[1]}×{image.shape[0]} px; scores take {LEAST} px or more a side")
    return sorted(images, key=lambda image: (image.shape, blake2b(image.tobytes()).digest()))


def drawn(images: Sequence[Floats], seed: int) -> list[Floats]:
    """The windows of each image, or as many drawn at random that a set has `MOST_WINDOWS` at most, each as many."""
    rng, most = np.random.default_rng(seed), max(1, MOST_WINDOWS // len(images))
    return [w if len(w) <= most else w[np.sort(rng.choice(len(w), most, replace=False))] for w in images]


def _flattest(image: Pixels) -> Floats:
    """The patches (n, PATCH, PATCH, 3) of an image that vary least once it is blurred, in 8-bit steps."""
    calm = _cut(gaussian_filter(image @ LUMA, CALM), PATCH).var(axis=(1, 2))
    chosen = np.argsort(calm, kind="stable")[: max(1, round(FLAT * len(calm)))]
    return np.stack([_cut(image[..., c].astype(np.float64), PATCH)[chosen] for c in range(3)], axis=-1)


def _planes() -> Floats:
    """Three orthonormal images of PATCH pixels a side: a constant and two slopes, (3, PATCH * PATCH)."""
    slope = np.arange(PATCH) - (PATCH - 1) / 2
    images = np.stack([np.ones((PATCH, PATCH)), np.tile(slope, (PATCH, 1)), np.tile(slope, (PATCH, 1)).T])
    return images.reshape(3, -1) / np.sqrt(np.square(images).sum(axis=(1, 2)))[:, None]


def _cut(image: NDArray[Any], side: int) -> Floats:
    """Squares (n, side, side) of an image (H, W), side by side; what is over at right and bottom is left out."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    squares = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return squares.swapaxes(1, 2).reshape(-1, side, side)


def _spectrum_side(*sets: Sequence[Pixels]) -> int:
    return min(SPECTRUM_WINDOW, *(side for images in sets for image in images for side in image.shape[:2]))
