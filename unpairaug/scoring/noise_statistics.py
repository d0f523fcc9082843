"""What noise is like, from several images that show the same thing: a camera's own, or a translator's.

All on arrays; numbers are in 8-bit steps. A camera or a translator is asked for `draws`, degraded images of one and the
same clean one; what differs between them is noise, whatever else they did to it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


class NoiseLevel(NamedTuple):
    """The noise level function: how strong noise is at each brightness."""

    brightness: Floats
    """(bins,) middle of each bin, in 8-bit steps."""
    variance: Floats
    """(bins,) in squared 8-bit steps; NaN where the images have too few pixels of that brightness."""


def light_and_noise(draws: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """The mean (H, W, C) of draws (N, H, W, C), and what each has beyond it (N, H, W, C).

    The noise is scaled up for what of it went into the mean, so that its variance is right for any N above 1.
    """
    assert len(draws) > 1, "noise is what differs between draws: it takes two"
    light = draws.mean(axis=0, dtype=np.float64)
    return light, (draws - light) * np.sqrt(len(draws) / (len(draws) - 1))


def noise_level(light: Floats, noise: Floats, bins: int = 16, least: int = 500) -> NoiseLevel:
    """Variance of the noise (N, H, W, C) against the light (H, W, C), in `bins` of equal width.

    Clipping lowers the variance near black and white, as it does in a camera. A bin counts with `least` values.
    """
    edges = np.linspace(0, 256, bins + 1)
    which = np.broadcast_to(np.digitize(light, edges) - 1, noise.shape).ravel()
    count = np.bincount(which, minlength=bins)
    sums = np.bincount(which, np.square(noise).ravel(), minlength=bins)
    variance = np.divide(sums, count, out=np.full(bins, np.nan), where=count >= least)
    return NoiseLevel((edges[:-1] + edges[1:]) / 2, variance)


def autocorrelation(noise: Floats, reach: int = 4) -> Floats:
    """How alike the noise (N, H, W, C) is to itself moved by (y, x): (reach + 1, reach + 1), 1 at (0, 0).

    The mean over draws and channels, and over the two directions of x.
    """
    height, width = noise.shape[1:3]
    found = np.empty((reach + 1, reach + 1))
    for y, x in np.ndindex(found.shape):
        upper, lower = noise[:, : height - y], noise[:, y:]
        products = upper[:, :, : width - x] * lower[:, :, x:], upper[:, :, x:] * lower[:, :, : width - x]
        found[y, x] = np.mean(products)
    return found / found[0, 0]


def colour_correlation(noise: Floats) -> Floats:
    """Correlation of the noise (N, H, W, C) between channels: (C, C), 1 on the diagonal."""
    return np.asarray(np.corrcoef(noise.reshape(-1, noise.shape[-1]), rowvar=False))


def histogram(noise: Floats, reach: int = 48) -> Floats:
    """Share of the noise in each 8-bit step from -reach to reach: (2 * reach + 1,), what is beyond in the last ones."""
    steps = np.clip(np.rint(noise), -reach, reach).astype(np.int64) + reach
    return np.bincount(steps.ravel(), minlength=2 * reach + 1) / steps.size


def divergence(true: Floats, learnt: Floats) -> float:
    """The Kullback-Leibler divergence of one histogram from another, in nats; 0 where they are the same."""
    true, learnt = (np.maximum(h, 1e-9) / np.maximum(h, 1e-9).sum() for h in (true, learnt))
    return float(np.sum(true * np.log(true / learnt)))
