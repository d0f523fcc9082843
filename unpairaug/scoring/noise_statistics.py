"""Noise statistics from several degraded images of the same clean image.

`draws` are outputs of a camera or a translator for one clean image. What differs between draws is noise. Values are in
8-bit steps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


class NoiseLevel(NamedTuple):
    """The noise level function: variance against brightness."""

    brightness: Floats
    """(bins,) centre of each bin in 8-bit steps."""
    variance: Floats
    """(bins,) in squared 8-bit steps; NaN where too few pixels have that brightness."""


def separate_noise(draws: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Split draws (N, H, W, C) into their mean (H, W, C) and the noise of each (N, H, W, C).

    The noise is scaled by sqrt(N / (N - 1)), so that its variance is unbiased for any N above 1.
    """
    assert len(draws) > 1, "noise is the difference between draws: at least 2 are needed"
    light = draws.mean(axis=0, dtype=np.float64)
    return light, (draws - light) * np.sqrt(len(draws) / (len(draws) - 1))


def noise_level(light: Floats, noise: Floats, bins: int = 16, least: int = 500) -> NoiseLevel:
    """Variance of the noise (N, H, W, C) against the light (H, W, C), in `bins` of equal width.

    Clipping lowers the variance near black and white, as in a camera. Bins with fewer than `least` values are NaN.
    """
    edges = np.linspace(0, 256, bins + 1)
    which = np.broadcast_to(np.digitize(light, edges) - 1, noise.shape).ravel()
    count = np.bincount(which, minlength=bins)
    sums = np.bincount(which, np.square(noise).ravel(), minlength=bins)
    variance = np.divide(sums, count, out=np.full(bins, np.nan), where=count >= least)
    return NoiseLevel((edges[:-1] + edges[1:]) / 2, variance)


def autocorrelation(noise: Floats, reach: int = 4) -> Floats:
    """Spatial autocorrelation of the noise (N, H, W, C) for shifts (y, x): (reach + 1, reach + 1), 1 at (0, 0).

    Averaged over draws, channels and both directions of x.
    """
    height, width = noise.shape[1:3]
    correlation = np.empty((reach + 1, reach + 1))
    for y, x in np.ndindex(correlation.shape):
        upper, lower = noise[:, : height - y], noise[:, y:]
        products = upper[:, :, : width - x] * lower[:, :, x:], upper[:, :, x:] * lower[:, :, : width - x]
        correlation[y, x] = np.mean(products)
    return correlation / correlation[0, 0]


def colour_correlation(noise: Floats) -> Floats:
    """Correlation of the noise (N, H, W, C) between channels: (C, C), 1 on the diagonal."""
    return np.asarray(np.corrcoef(noise.reshape(-1, noise.shape[-1]), rowvar=False))


def histogram(noise: Floats, reach: int = 48) -> Floats:
    """Share of the noise in each 8-bit step from -reach to reach: (2 * reach + 1,); outliers count in the end bins."""
    steps = np.clip(np.rint(noise), -reach, reach).astype(np.int64) + reach
    return np.bincount(steps.ravel(), minlength=2 * reach + 1) / steps.size


def divergence(true: Floats, learnt: Floats) -> float:
    """Kullback-Leibler divergence of two histograms in nats; 0 if they are equal."""
    true, learnt = (np.maximum(h, 1e-9) / np.maximum(h, 1e-9).sum() for h in (true, learnt))
    return float(np.sum(true * np.log(true / learnt)))
