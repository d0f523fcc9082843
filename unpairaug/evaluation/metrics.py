"""Full-reference image quality metrics; the name of each metric states its convention.

All metrics take 8-bit images, (H, W, 3) RGB. As usual in the field, a `border` is cropped from every side before
measuring: `scale` pixels for super-resolution, none at scale 1.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from scipy.fft import next_fast_len
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from unpairaug.errors import UserError

METRICS = ("psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y", "psnr_rgb_shift10")
"""The metrics of `measure`, in the order of tables."""

SHIFT_REACH = 10
"""Largest shift in pixels in each direction, as in the protocol of CycleSR."""

SSIM_WINDOW = 11
"""Side of the Gaussian window in pixels (Wang et al., 2004)."""


def measure(restored: np.ndarray, clean: np.ndarray, border: int = 0) -> dict[str, float]:
    """Compute every metric of `METRICS` for two (H, W, 3) uint8 RGB arrays of the same size."""
    check_measurable(restored, clean, border)
    restored_y, clean_y = to_y(restored), to_y(clean)
    return {
        "psnr_rgb": psnr(restored, clean, border),
        "ssim_rgb": ssim(restored, clean, border),
        "psnr_y": psnr(restored_y, clean_y, border),
        "ssim_y": ssim(restored_y, clean_y, border),
        "psnr_rgb_shift10": psnr_shift(restored, clean),
    }


def average_metrics(images: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each metric over images: per-image values are averaged, not squared errors."""
    assert images, "no images"
    return {name: float(np.mean([image[name] for image in images])) for name in images[0]}


def default_border(scale: int) -> int:
    """Border in pixels by convention: `scale` for super-resolution, 0 at scale 1."""
    return scale if scale > 1 else 0


def to_y(image: np.ndarray) -> np.ndarray:
    """Luma of an (H, W, 3) uint8 RGB image: (H, W) float64 in [16, 235], not rounded.

    BT.601 studio range, as in super-resolution papers (MATLAB's `rgb2ycbcr`); full-range luma gives other values.
    """
    return image.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255 + 16


def psnr(restored: np.ndarray, clean: np.ndarray, border: int = 0) -> float:
    """Peak signal-to-noise ratio in dB of (H, W) or (H, W, C) in [0, 255]; infinite for equal images."""
    check_sizes(restored, clean, border, smallest=1)
    with np.errstate(divide="ignore"):  # equal images: infinity without a warning
        return float(
            peak_signal_noise_ratio(_crop_border(clean, border), _crop_border(restored, border), data_range=255)
        )


def ssim(restored: np.ndarray, clean: np.ndarray, border: int = 0) -> float:
    """Structural similarity (Wang et al., 2004) of (H, W) or (H, W, C) in [0, 255], averaged over channels.

    Gaussian window of 11 px, sigma 1.5, valid region only, as in the authors' MATLAB code. scikit-image with these
    options gives the same values; torchmetrics does not.
    """
    check_sizes(restored, clean, border, smallest=SSIM_WINDOW)
    similarity = structural_similarity(
        _crop_border(clean, border),
        _crop_border(restored, border),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=-1 if restored.ndim == 3 else None,
    )
    return float(cast(float, similarity))


def psnr_shift(restored: np.ndarray, clean: np.ndarray, reach: int = SHIFT_REACH) -> float:
    """Best PSNR in dB over whole-pixel shifts of up to `reach` in each direction, of (H, W, C) uint8 images.

    The protocol of CycleSR: the restored image without `reach` pixels on every side is shifted over the ground truth.
    It ignores misregistration, so it is reported beside `psnr_rgb`, never instead of it.
    """
    check_sizes(restored, clean, 0, smallest=2 * reach + 1)
    inner = _crop_border(restored, reach)
    least = float(_squared_errors(inner, clean).min()) / inner.size
    return float("inf") if least == 0 else float(10 * np.log10(255**2 / least))


def check_measurable(restored: np.ndarray, clean: np.ndarray, border: int) -> None:
    """Check that every metric can be computed for a pair.

    Raises:
        UserError: the sizes differ, or the images are too small for the SSIM window or the shifts.
    """
    check_sizes(restored, clean, border, smallest=SSIM_WINDOW)
    check_sizes(restored, clean, 0, smallest=2 * SHIFT_REACH + 1)


def check_sizes(restored: np.ndarray, clean: np.ndarray, border: int, smallest: int) -> None:
    """Check that both images have the same size and at least `smallest` pixels a side inside the border.

    Raises:
        UserError: they do not.
    """
    if restored.shape != clean.shape:
        raise UserError(
            f"the restored image is {_size(restored)} and the ground truth {_size(clean)} (width x height x channels); "
            "metrics compare images of the same size"
        )
    if border < 0:
        raise UserError(f"border {border} is negative; give the pixels to crop from every side, 0 or more")
    if min(clean.shape[:2]) - 2 * border < smallest:
        raise UserError(
            f"the image of {_size(clean)} is too small to measure: at least {smallest} px a side inside a border of "
            f"{border} px are needed, so {smallest + 2 * border} x {smallest + 2 * border} px"
        )


def _squared_errors(patch: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Sums of squared differences of (h, w, C) `patch` and (H, W, C) `image` at every position: (H-h+1, W-w+1), exact.

    Expands (p - i)^2, so that the products come from one FFT per channel instead of one pass per position.
    """
    height, width = image.shape[0] - patch.shape[0] + 1, image.shape[1] - patch.shape[1] + 1
    size = [cast(int, next_fast_len(side, real=True)) for side in image.shape[:2]]
    # Values centred at mid-grey give smaller sums, so the FFT's rounding error stays below 0.5 and rint removes it.
    image, patch = image.astype(np.float64) - 128, patch.astype(np.float64) - 128
    spectrum = np.zeros((size[0], size[1] // 2 + 1), np.complex128)
    for channel in range(image.shape[2]):  # one at a time: all channels of a large photograph take gigabytes
        spectrum += np.fft.rfft2(image[..., channel], size) * np.fft.rfft2(patch[..., channel], size).conj()
    products = np.rint(np.fft.irfft2(spectrum, size)[:height, :width])
    energy = np.pad(np.sum(image**2, axis=2), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    below, right = patch.shape[:2]
    window = energy[below:, right:] - energy[:-below, right:] - energy[below:, :-right] + energy[:-below, :-right]
    return np.sum(patch**2) + window - 2 * products


def _crop_border(image: np.ndarray, border: int) -> np.ndarray:
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def _size(image: np.ndarray) -> str:
    return " x ".join(str(side) for side in (image.shape[1], image.shape[0], *image.shape[2:]))
