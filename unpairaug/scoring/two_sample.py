"""Two-sample tests on image features: do two sets of images have the same distribution?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.ndimage import correlate1d

Floats = NDArray[np.floating]
Pixels = NDArray[np.uint8]

WINDOW = 32
"""Side in pixels of the windows of features; smaller images are one window."""
FILTER_SIDE = 4
"""Side in pixels of the filters."""
OFFSET = 1.0
"""Added to every mean square, in squared 8-bit steps; smaller values are below rounding."""
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
"""Orthonormal transform of RGB to brightness and two colour differences."""
RIDGE = 1e-2
"""L2 regularisation of the classifier, relative to the mean loss."""


def local_spectra(image: Pixels) -> Floats:
    """Features of the windows of an image (H, W, 3) uint8: (windows, 45).

    Log mean squares of the 4x4 DCT coefficients without the constant, on brightness and two colour differences. They
    respond to grain and sharpness, not to colour or position.
    """
    colours = image.astype(np.float64) @ OPPONENT.T
    basis, inside = dct(np.eye(FILTER_SIDE), axis=0, norm="ortho"), slice(FILTER_SIDE // 2, 1 - FILTER_SIDE // 2)
    found = []
    for row in basis:
        rows = correlate1d(colours, row, axis=0)[inside]
        found += [_window_means(np.square(correlate1d(rows, column, axis=1)[:, inside])) for column in basis]
    return np.log(np.concatenate(found[1:], axis=-1) + OFFSET)


def kernel_distance(real: Floats, fake: Floats) -> float:
    """Unbiased squared maximum mean discrepancy of features (n, d) and (m, d): 0 for equal distributions, at most 2.

    The estimator of the kernel Inception distance (Binkowski et al., 2018), which can be slightly negative, on
    standardised features with a Gaussian kernel of variance d (Gretton et al., 2012). The cubic kernel of KID is
    dominated by outliers.
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
    """Balanced accuracy of a classifier on held-out images: 0.5 is guessing, 1 is without error.

    Classifier two-sample test (Lopez-Paz & Oquab, 2017): logistic regression, cross-validated over whole images, since
    windows of one image are correlated. A logit of 0 counts as half.

    Args:
        real: the features (windows, d) of each image, at least 2 images.
        fake: the same for the other set.
        folds: cross-validation folds, at most one for each image.
    """
    assert min(len(real), len(fake)) > 1, "cross-validation needs at least 2 images in each set"
    folds = min(folds, len(real), len(fake))
    correct: list[list[float]] = [[], []]
    for fold in range(folds):
        training, held_out = ([_select_fold(s, fold, folds, held) for s in (real, fake)] for held in (False, True))
        mean = np.mean([side.mean(axis=0) for side in training], axis=0)
        spread = np.maximum(np.concatenate(training).std(axis=0), 1e-9)
        weights = _logistic_regression(*((side - mean) / spread for side in training))
        for side, sign in ((0, 1), (1, -1)):
            logits = _append_constant((held_out[side] - mean) / spread) @ weights
            correct[side] += (np.sign(np.round(sign * logits, 9)) / 2 + 0.5).tolist()
    return float(np.mean([np.mean(side) for side in correct]))


def _logistic_regression(real: Floats, fake: Floats, rounds: int = 25) -> Floats:
    """Coefficients (d + 1,) by Newton's method, the last is the intercept; both sets have the same total weight."""
    x = _append_constant(np.concatenate([real, fake]))
    is_real = np.r_[np.ones(len(real)), np.zeros(len(fake))]
    counts = np.r_[np.full(len(real), 0.5 / len(real)), np.full(len(fake), 0.5 / len(fake))]
    penalty = RIDGE * np.eye(x.shape[1])
    weights = np.zeros(x.shape[1])
    for _ in range(rounds):
        probability = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (counts * (probability - is_real)) + penalty @ weights
        curvature = (x * (counts * probability * (1 - probability))[:, None]).T @ x + penalty
        step = np.linalg.solve(curvature, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _select_fold(images: Sequence[Floats], fold: int, folds: int, held: bool) -> Floats:
    """The windows of the images of a fold if `held`, else of all other images."""
    return np.concatenate([windows for i, windows in enumerate(images) if (i % folds == fold) == held])


def _append_constant(features: Floats) -> Floats:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def _window_means(values: Floats) -> Floats:
    """Means (windows, C) of (H, W, C) over adjacent squares of about `WINDOW` pixels."""
    height, width = values.shape[:2]
    rows, columns = (np.linspace(0, side, max(1, side // WINDOW) + 1).astype(int) for side in (height, width))
    sums = np.add.reduceat(np.add.reduceat(values, rows[:-1], axis=0), columns[:-1], axis=1)
    sizes = np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None]
    return (sums / sizes).reshape(-1, values.shape[2])
