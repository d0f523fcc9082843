"""Scores of two unpaired sets of degraded images: real photographs, and clean photographs that a translator degraded.

Images are lists of (H, W, 3) uint8 arrays with at least `MIN_SIDE` pixels a side. The two sets show different scenes,
so no score is exactly 0, even for the same camera. The score between two halves of one set shows the effect of the
scenes.
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
"""(H, W, 3) image -> (windows, d) features."""

MIN_SIDE = 16
"""Smallest image side in pixels that can be scored."""
PATCH = 8
"""Side in pixels of the patches for noise estimation."""
FLAT_SHARE = 0.1
"""Share of the flattest patches of an image, whose variation counts as noise."""
SMOOTHING_SIGMA = 2.0
"""Sigma in pixels of the blur before flatness is measured, so that noise does not affect the selection."""
LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in luma (ITU-R BT.601)."""
ROUNDING = 1 / 12
"""Power of rounding noise at every frequency, in squared 8-bit steps."""
SPECTRUM_WINDOW = 64
"""Largest side in pixels of the windows whose spectra are averaged."""
MAX_WINDOWS = 4096
"""Largest number of windows of each set; larger sets are sampled."""


@dataclass(frozen=True)
class Score:
    """How a score is printed."""

    label: str
    """Row label in tables."""
    unit: str
    best: float = 0.0
    """Value for two indistinguishable sets; larger is worse."""


SCORES = {
    "noise_level": Score("noise level function, RMS difference", "8-bit steps"),
    "noise_histogram": Score("noise histogram, KL divergence", "nats"),
    "noise_grain": Score("noise autocorrelation, RMS difference", "of 1"),
    "spectrum": Score("power spectrum, RMS difference", "dB"),
    "colour": Score("mean colour, RMS difference", "8-bit steps"),
    "patches": Score("patch features, kernel distance (MMD²)", "of 2"),
    "classifier": Score("classifier, accuracy on held-out images", "of 1", best=0.5),
}
"""Every score by its name, in the order of tables."""


def score(
    real: Sequence[Pixels], fake: Sequence[Pixels], seed: int = 0, features: Features = local_spectra
) -> dict[str, float]:
    """Compute each of `SCORES` for two sets, independent of the order of their images.

    Args:
        real: images of the real camera.
        fake: images of the translator.
        seed: of the sampling of windows where there are more than `MAX_WINDOWS`.
        features: features of `patches` and `classifier`.

    Raises:
        UserError: a set has fewer than two images, or an image is smaller than `MIN_SIDE` pixels.
    """
    real, fake = sort_images(real), sort_images(fake)
    noises = Noise.of(real), Noise.of(fake)
    seen = [sample_windows([features(image) for image in side], seed) for side in (real, fake)]
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
    """Noise in the flat patches of a set of images."""

    light: Floats
    """(1, pixels, 3): brightness without noise, in 8-bit steps."""
    patches: Floats
    """(patches, PATCH, PATCH, 3): the noise, in 8-bit steps."""

    @staticmethod
    def of(images: Sequence[Pixels]) -> Noise:
        """Estimate noise from the flattest patches of each image (after GCBD; Chen et al., 2018).

        Subtracts a fitted plane from each patch, and scales the residual for the 3 degrees of freedom of the plane.
        """
        patches = np.concatenate([_select_flat_patches(image) for image in images])
        plane = _plane_basis() @ patches.reshape(len(patches), -1, 3)
        light = (plane.transpose(0, 2, 1) @ _plane_basis()).transpose(0, 2, 1).reshape(patches.shape)
        noise = (patches - light) * np.sqrt(PATCH**2 / (PATCH**2 - 3))
        return Noise(light.reshape(1, -1, 3).clip(0, 255), noise)


def noise_level_distance(real: Noise, fake: Noise, bins: int = 16) -> float:
    """RMS difference of the noise's standard deviations over brightness, in 8-bit steps.

    Only bins that both sets have count, each weighted with the smaller of both frequencies.
    """
    levels = [
        noise_level(n.light, n.patches.reshape(1, *n.light.shape), bins, least=5 * PATCH**2) for n in (real, fake)
    ]
    edges = np.linspace(0, 256, bins + 1)
    counts = np.minimum(*(np.histogram(n.light, edges)[0] / n.light.size for n in (real, fake)))
    squared = np.square(np.sqrt(levels[0].variance) - np.sqrt(levels[1].variance))
    shared = ~np.isnan(squared) & (counts > 0)
    if not shared.any():
        raise UserError("the two sets have no common brightness, so their noise cannot be compared; give more images")
    return float(np.sqrt(np.average(squared[shared], weights=counts[shared])))


def noise_divergence(real: Noise, fake: Noise) -> float:
    """Kullback-Leibler divergence of the noise histograms in nats, mean of both directions.

    After AKLD (Yue et al., 2020), which compares the noise of the same pixels.
    """
    true, learnt = (histogram(noise.patches) for noise in (real, fake))
    return (divergence(true, learnt) + divergence(learnt, true)) / 2


def grain_distance(real: Noise, fake: Noise, reach: int = 3) -> float:
    """RMS difference of the noise autocorrelations over shifts of up to `reach` pixels."""
    found = [
        autocorrelation(noise.patches, reach) if noise.patches.any() else np.eye(1, (reach + 1) ** 2)
        for noise in (real, fake)
    ]
    return float(np.sqrt(np.mean(np.square(found[0].ravel()[1:] - found[1].ravel()[1:]))))


def spectrum_distance(real: Sequence[Pixels], fake: Sequence[Pixels]) -> float:
    """RMS difference in dB of the luma power spectra over radial frequency (Durall et al., 2020)."""
    spectra = [radial_spectrum(side, _spectrum_side(real, fake)) for side in (real, fake)]
    return float(np.sqrt(np.mean(np.square(spectra[0] - spectra[1]))))


def radial_spectrum(images: Sequence[Pixels], side: int) -> Floats:
    """Power of the luma in dB at 1, 2, ... side / 2 cycles per `side` pixels: (side // 2,).

    Averaged over Hann-tapered windows of `side` pixels; every image has the same weight.
    """
    return spectrum_of_powers(radial_powers(images, side))


def radial_powers(images: Sequence[Pixels], side: int) -> Floats:
    """The power of `radial_spectrum` for each image, in squared 8-bit steps: (images, side // 2)."""
    taper = np.outer(np.hanning(side + 2)[1:-1], np.hanning(side + 2)[1:-1])
    cycles = np.rint(side * np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])).astype(int).ravel()
    rings = []
    for image in images:
        windows = _split_into_squares(image @ LUMA, side)
        windows = (windows - windows.mean(axis=(1, 2), keepdims=True)) * taper
        power = np.square(np.abs(np.fft.fft2(windows))).mean(axis=0)
        rings.append((np.bincount(cycles, power.ravel()) / np.bincount(cycles))[1 : side // 2 + 1])
    return np.stack(rings) / np.square(taper).sum()


def spectrum_of_powers(powers: Floats) -> Floats:
    """The mean over images (n, frequencies) in dB, above the noise of rounding."""
    return 10 * np.log10(powers.mean(axis=0) + ROUNDING)


def colour_distance(real: Sequence[Pixels], fake: Sequence[Pixels]) -> float:
    """RMS difference of the mean colours over red, green and blue, in 8-bit steps."""
    means = [np.mean([image.mean(axis=(0, 1)) for image in side], axis=0) for side in (real, fake)]
    return float(np.sqrt(np.mean(np.square(means[0] - means[1]))))


def sort_images(images: Sequence[Pixels]) -> list[Pixels]:
    """Sort images by size and content, independent of their given order.

    Raises:
        UserError: there are fewer than 2 images, or one is smaller than `MIN_SIDE` pixels.
    """
    if len(images) < 2:
        raise UserError(f"given {len(images)} image; scores need at least 2 images in each set")
    for image in images:
        if min(image.shape[:2]) < MIN_SIDE:
            raise UserError(
                f"an image has {image.shape[1]}×{image.shape[0]} px; scores need at least {MIN_SIDE} px a side"
            )
    return sorted(images, key=lambda image: (image.shape, blake2b(image.tobytes()).digest()))


def sample_windows(images: Sequence[Floats], seed: int) -> list[Floats]:
    """The windows of each image; sampled at random if a set has more than `MAX_WINDOWS`, equally from each image."""
    rng, most = np.random.default_rng(seed), max(1, MAX_WINDOWS // len(images))
    return [w if len(w) <= most else w[np.sort(rng.choice(len(w), most, replace=False))] for w in images]


def _select_flat_patches(image: Pixels) -> Floats:
    """The patches (n, PATCH, PATCH, 3) of an image with the smallest variance after a blur, in 8-bit steps."""
    variance = _split_into_squares(gaussian_filter(image @ LUMA, SMOOTHING_SIGMA), PATCH).var(axis=(1, 2))
    chosen = np.argsort(variance, kind="stable")[: max(1, round(FLAT_SHARE * len(variance)))]
    return np.stack([_split_into_squares(image[..., c].astype(np.float64), PATCH)[chosen] for c in range(3)], axis=-1)


def _plane_basis() -> Floats:
    """Orthonormal basis of planes in a patch, a constant and two slopes: (3, PATCH * PATCH)."""
    slope = np.arange(PATCH) - (PATCH - 1) / 2
    images = np.stack([np.ones((PATCH, PATCH)), np.tile(slope, (PATCH, 1)), np.tile(slope, (PATCH, 1)).T])
    return images.reshape(3, -1) / np.sqrt(np.square(images).sum(axis=(1, 2)))[:, None]


def _split_into_squares(image: NDArray[Any], side: int) -> Floats:
    """Split an image (H, W) into squares (n, side, side); the remainder at right and bottom is dropped."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    squares = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return squares.swapaxes(1, 2).reshape(-1, side, side)


def _spectrum_side(*sets: Sequence[Pixels]) -> int:
    return min(SPECTRUM_WINDOW, *(side for images in sets for image in images for side in image.shape[:2]))
