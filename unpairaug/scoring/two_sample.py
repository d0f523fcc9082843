"""Do two sets of images come from one source? Features of windows of them, and two tests on such features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.ndimage import correlate1d

Floats = NDArray[np.floating]
Pixels = NDArray[np.uint8]

WINDOW = 32
"""Side in pixels of the windows that features are of; smaller images are one window."""
TAPS = 4
"""Side in pixels of the filters."""
FLOOR = 1.0
"""Squared 8-bit steps that are added to every mean square: less is lost when an image is rounded."""
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
"""Red, green and blue to brightness and two differences of colour, orthonormal."""
PENALTY = 1e-2
"""Weight of the squared coefficients of the classifier, on the mean loss."""


def local_spectra(image: Pixels) -> Floats:
    """Features of the windows of an image (H, W, 3) in 8 bits: (windows, 45), the log of what each filter finds there.

    The filters are the cosines of a 4x4 transform but the constant, on brightness and two differences of colour; what
    counts is the mean square of their responses, so neither a colour nor what lies where, but grain and sharpness.
    """
    colours = image.astype(np.float64) @ OPPONENT.T
    basis, inside = dct(np.eye(TAPS), axis=0, norm="ortho"), slice(TAPS // 2, 1 - TAPS // 2)
    found = []
    for row in basis:
        rows = correlate1d(colours, row, axis=0)[inside]
        found += [_window_means(np.square(correlate1d(rows, column, axis=1)[:, inside])) for column in basis]
    return np.log(np.concatenate(found[1:], axis=-1) + FLOOR)


def kernel_distance(real: Floats, fake: Floats) -> float:
    """The squared maximum mean discrepancy of features (n, d) and (m, d), unbiased: about 0 for two alike, at most 2.

    The estimate of the kernel Inception distance (Binkowski et al., 2018), which may be a little below 0; on features
    scaled by mean and spread of both sets together, with a Gaussian kernel as wide as d of them are (Gretton et al.,
    2012): the cubic one is ruled by the few windows that are like no other.
    """
    both = np.concatenate([real, fake])
    spread = np.maximum(both.std(axis=0), 1e-9)
    real, fake = ((side - both.mean(axis=0)) / spread for side in (real, fake))

    def kernel(x: Floats, y: Floats) -> Floats:
        squares = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2 * x @ y.T
        return np.exp(-squares / (2 * x.shape[1]))

    def among(x: Floats) -> float:
        return float((kernel(x, x).sum() - len(x)) / (len(x) * (len(x) - 1)))

    return among(real) + among(fake) - 2 * float(kernel(real, fake).mean())


def classifier_accuracy(real: Sequence[Floats], fake: Sequence[Floats], folds: int = 5) -> float:
    """How often a classifier tells windows of images that it has not seen apart: 0.5 is guessing, 1 without error.

    A classifier two-sample test (Lopez-Paz & Oquab, 2017): logistic regression, cross-validated by whole images, as
    windows of one image are alike. The mean of both sides' shares; a window that it is undecided about counts half.

    Args:
        real: the features (windows, d) of each image; two images or more.
        fake: likewise.
        folds: parts in which the images of each side are left out by turns, or one for each image where they are fewer.
    """
    assert min(len(real), len(fake)) > 1, "an image is left out to test on, so each side needs two"
    folds = min(folds, len(real), len(fake))
    right: list[list[float]] = [[], []]
    for fold in range(folds):
        kept, tested = ([_part(s, fold, folds, held) for s in (real, fake)] for held in (False, True))
        mean = np.mean([side.mean(axis=0) for side in kept], axis=0)
        spread = np.maximum(np.concatenate(kept).std(axis=0), 1e-9)
        weights = _logistic_regression(*((side - mean) / spread for side in kept))
        for side, sign in ((0, 1), (1, -1)):
            logits = _with_constant((tested[side] - mean) / spread) @ weights
            right[side] += (np.sign(np.round(sign * logits, 9)) / 2 + 0.5).tolist()
    return float(np.mean([np.mean(side) for side in right]))


def _logistic_regression(real: Floats, fake: Floats, rounds: int = 25) -> Floats:
    """Coefficients (d + 1,), the last of the constant, by Newton's method; both sides count the same."""
    x = _with_constant(np.concatenate([real, fake]))
    is_real = np.r_[np.ones(len(real)), np.zeros(len(fake))]
    counts = np.r_[np.full(len(real), 0.5 / len(real)), np.full(len(fake), 0.5 / len(fake))]
    penalty = PENALTY * np.eye(x.shape[1])
    weights = np.zeros(x.shape[1])
    for _ in range(rounds):
        found = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (counts * (found - is_real)) + penalty @ weights
        curvature = (x * (counts * found * (1 - found))[:, None]).T @ x + penalty
        step = np.linalg.solve(curvature, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _part(images: Sequence[Floats], fold: int, folds: int, held: bool) -> Floats:
    """The windows of the images that a fold leaves out, or of all others."""
    return np.concatenate([windows for i, windows in enumerate(images) if (i % folds == fold) == held])


def _with_constant(features: Floats) -> Floats:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def _window_means(values: Floats) -> Floats:
    """Means (windows, C) of (H, W, C) over squares of about `WINDOW` pixels side by side."""
    height, width = values.shape[:2]
    rows, columns = (np.linspace(0, side, max(1, side // WINDOW) + 1).astype(int) for side in (height, width))
    sums = np.add.reduceat(np.add.reduceat(values, rows[:-1], axis=0), columns[:-1], axis=1)
    sizes = np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None]
    return (sums / sizes).reshape(-1, values.shape[2])
