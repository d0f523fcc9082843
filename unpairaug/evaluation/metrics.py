"""Image quality against a known clean image, in the conventions that each metric's name carries.

Everything is measured on what a viewer gets: 8-bit images, (H, W, 3) RGB. A `border` of pixels is left out on every
side, because heads guess there and the field does so too (`scale` pixels for super-resolution, none at scale 1).
"""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from scipy.fft import next_fast_len
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from unpairaug.errors import UserError

METRICS = ("psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y", "psnr_rgb_shift10")
"""What `measure` returns, in the order in which tables show it."""

SHIFT_REACH = 10
"""Pixels; CycleSR slides its result over the clean image by up to this much each way."""

SSIM_WINDOW = 11
"""Pixels; side of the Gaussian window (Wang et al., 2004)."""


def measure(restored: np.ndarray, clean: np.ndarray, border: int = 0) -> dict[str, float]:
    """Every metric of `METRICS` for one image: two (H, W, 3) uint8 RGB arrays of one size."""
    check_measurable(restored, clean, border)
    restored_y, clean_y = to_y(restored), to_y(clean)
    return {
        "psnr_rgb": psnr(restored, clean, border),
        "ssim_rgb": ssim(restored, clean, border),
        "psnr_y": psnr(restored_y, clean_y, border),
        "ssim_y": ssim(restored_y, clean_y, border),
        "psnr_rgb_shift10": psnr_shift(restored, clean),
    }


def mean_of(images: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each metric's mean over the images: the field averages per-image values, not the squared errors."""
    assert images, "the mean of no images was asked for"
    return {name: float(np.mean([image[name] for image in images])) for name in images[0]}


def default_border(scale: int) -> int:
    """Pixels left out on every side by convention: `scale` for super-resolution, 0 where the size stays."""
    return scale if scale > 1 else 0


def to_y(image: np.ndarray) -> np.ndarray:
    """Luma of an (H, W, 3) uint8 RGB image: (H, W) float64 in [16, 235], not rounded again.

    BT.601 in studio range, the super-resolution papers' channel (MATLAB's `rgb2ycbcr`); full-range luma gives other
    figures.
    """
    return image.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255 + 16


def psnr(restored: np.ndarray, clean: np.ndarray, border: int = 0) -> float:
    """Peak signal-to-noise ratio in dB for values in [0, 255]: (H, W) or (H, W, C); infinite for equal images."""
    check_sizes(restored, clean, border, smallest=1)
    with np.errstate(divide="ignore"):  # equal images: infinite, and no warning
        return float(peak_signal_noise_ratio(_inner(clean, border), _inner(restored, border), data_range=255))


def ssim(restored: np.ndarray, clean: np.ndarray, border: int = 0) -> float:
    """Structural similarity (Wang et al., 2004) for values in [0, 255]: (H, W) or (H, W, C), the mean over channels.

    Gaussian window of 11 px and sigma 1.5, only where it fits whole: the authors' MATLAB code, which scikit-image
    equals with these options and torchmetrics does not.
    """
    check_sizes(restored, clean, border, smallest=SSIM_WINDOW)
    similarity = structural_similarity(
        _inner(clean, border),
        _inner(restored, border),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=-1 if restored.ndim == 3 else None,
    )
    return float(cast(float, similarity))


def psnr_shift(restored: np.ndarray, clean: np.ndarray, reach: int = SHIFT_REACH) -> float:
    """The best PSNR over whole-pixel shifts of up to `reach` each way, of (H, W, C) uint8 images.

    The protocol of CycleSR: `reach` pixels are cut off every side of the restored image, which then slides over the
    clean one. It forgives misregistration, so it stands beside `psnr_rgb` and never instead of it.
    """
    check_sizes(restored, clean, 0, smallest=2 * reach + 1)
    inner = _inner(restored, reach)
    least = float(_squared_errors(inner, clean).min()) / inner.size
    return float("inf") if least == 0 else float(10 * np.log10(255**2 / least))


def check_measurable(restored: np.ndarray, clean: np.ndarray, border: int) -> None:
    """Refuse a pair that one of the metrics cannot measure.

    Raises:
        UserError: the sizes differ, or the images are too small for the SSIM window or the shifts.
    """
    check_sizes(restored, clean, border, smallest=SSIM_WINDOW)
    check_sizes(restored, clean, 0, smallest=2 * SHIFT_REACH + 1)


def check_sizes(restored: np.ndarray, clean: np.ndarray, border: int, smallest: int) -> None:
    """Refuse images that differ in size, or that keep fewer than `smallest` pixels a side inside the border."""
    if restored.shape != clean.shape:
        raise UserError(
            f"the restored image is {_size(restored)} and the clean one {_size(clean)} (width x height x channels); "
            "a metric compares two images of one size"
        )
    if border < 0:
        raise UserError(f"border {border} is negative; give the pixels to leave out on every side, 0 or more")
    if min(clean.shape[:2]) - 2 * border < smallest:
        raise UserError(
            f"the image of {_size(clean)} is too small to measure: {smallest} px are needed on each side inside a "
            f"border of {border} px; measure images of at least {smallest + 2 * border} x {smallest + 2 * border} px"
        )


def _squared_errors(patch: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Sum of squared differences of (h, w, C) `patch` and (H, W, C) `image` wherever it fits: (H-h+1, W-w+1), exact.

    Expands (p - i)^2: the products come from one FFT per channel instead of one pass over the image per place.
    """
    height, width = image.shape[0] - patch.shape[0] + 1, image.shape[1] - patch.shape[1] + 1
    size = [cast(int, next_fast_len(side, real=True)) for side in image.shape[:2]]
    # Around mid-grey the sums are smaller, so that the FFT's rounding error stays far below the half that rint mends.
    image, patch = image.astype(np.float64) - 128, patch.astype(np.float64) - 128
    spectrum = np.zeros((size[0], size[1] // 2 + 1), np.complex128)
    for channel in range(image.shape[2]):  # one at a time: those of a large photograph take gigabytes
        spectrum += np.fft.rfft2(image[..., channel], size) * np.fft.rfft2(patch[..., channel], size).conj()
    products = np.rint(np.fft.irfft2(spectrum, size)[:height, :width])
    energy = np.pad(np.sum(image**2, axis=2), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    below, right = patch.shape[:2]
    window = energy[below:, right:] - energy[:-below, right:] - energy[below:, :-right] + energy[:-below, :-right]
    return np.sum(patch**2) + window - 2 * products


def _inner(image: np.ndarray, border: int) -> np.ndarray:
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def _size(image: np.ndarray) -> str:
    return " x ".join(str(side) for side in (image.shape[1], image.shape[0], *image.shape[2:]))
