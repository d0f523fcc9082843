"""Simulated cameras: they produce the degraded side of the sample photographs. Training code never uses them.

Each camera is a deterministic function of a clean image, the scale and the image's name. No camera shifts the image
against its antialiased bicubic reduction: unpaired data could not reveal a shift.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from io import BytesIO
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Camera = Callable[[NDArray[np.uint8], int, str], NDArray[np.uint8]]
"""(H, W, 3) RGB in 8 bits, scale, name -> (H / scale, W / scale, 3) in 8 bits."""

BLUR_SIGMA = (1.0, 0.6)
"""Standard deviations of the blur along its axes, in pixels of the degraded image."""
BLUR_ANGLE = 30.0
"""Degrees from the horizontal to the blur's long axis."""
NOISE_READ = 2.0 / 255
"""Standard deviation of the noise in black, on the range [0, 1]."""
NOISE_MIDDLE = 6.0 / 255
"""Standard deviation of the noise in middle grey; the variance grows linearly with the intensity."""

GRAIN = (0.25, 0.5, 0.25)
"""Filter taps, along rows and columns, that correlate the noise of `noise` as demosaicing does."""
GRAIN_READ = 4.0 / 255
"""Standard deviation of the noise of `noise` in black, on the range [0, 1]."""
GRAIN_MIDDLE = 12.0 / 255
"""The same in middle grey, on the range [0, 1]."""

SHAKE_LENGTH = (6.0, 12.0)
"""Shortest and longest path of a shaken camera, in pixels of the degraded image."""
DEFOCUS_RADIUS = (1.2, 2.4)
"""Smallest and largest radius of the defocus disc, in pixels of the degraded image."""
SHAKE_NOISE = (1.5 / 255, 3.0 / 255)
"""Standard deviation of the noise of `shake` in black and in middle grey, on the range [0, 1]."""

QUALITY = 75
"""JPEG quality of `compressed`, from 1 to 100: libjpeg's default."""


def lens(clean: NDArray[np.uint8], scale: int, name: str) -> NDArray[np.uint8]:
    """Anisotropic blur, then noise that grows with the intensity; (H, W, 3) to (H / scale, W / scale, 3), 8 bits.

    The noise depends on the image's name alone.
    """
    light = optics((clean / 255).astype(np.float32), scale)
    return to_uint8(
        light + noise_std(light, NOISE_READ, NOISE_MIDDLE) * random_from_name(name).standard_normal(light.shape)
    )


def blur(clean: NDArray[np.uint8], scale: int, name: str) -> NDArray[np.uint8]:
    """The blur of `lens` without noise."""
    return to_uint8(optics((clean / 255).astype(np.float32), scale))


def compressed(clean: NDArray[np.uint8], scale: int, name: str) -> NDArray[np.uint8]:
    """The image of `lens` after JPEG compression with 4:2:0 chroma subsampling."""
    return jpeg_roundtrip(lens(clean, scale, name), QUALITY)


def noise(clean: NDArray[np.uint8], scale: int, name: str) -> NDArray[np.uint8]:
    """No blur; strong noise that grows with the intensity and is correlated between neighbours and channels."""
    light = _downscale_bicubic((clean / 255).astype(np.float32), scale).clip(0, 1)
    mixed = correlate_noise(random_from_name(name).standard_normal(light.shape))
    return to_uint8(light + noise_std(light, GRAIN_READ, GRAIN_MIDDLE) * mixed)


def shake(clean: NDArray[np.uint8], scale: int, name: str) -> NDArray[np.uint8]:
    """A motion blur or a defocus drawn for each image, and little noise."""
    random = random_from_name(name)
    kernel = shake_kernel(random, scale) if random.uniform() < 0.5 else defocus_kernel(random, scale)
    light = _downscale_bicubic(_convolve((clean / 255).astype(np.float32), kernel), scale).clip(0, 1)
    return to_uint8(light + noise_std(light, *SHAKE_NOISE) * random.standard_normal(light.shape))


CAMERAS: dict[str, Camera] = {"lens": lens, "blur": blur, "noise": noise, "compressed": compressed, "shake": shake}
"""The cameras by the second part of a source such as `sample:noise`."""


def shake_kernel(random: np.random.RandomState, scale: int) -> NDArray[np.float64]:
    """A motion blur kernel on the clean grid, a walk with a drifting heading: (K, K), K odd, sum 1, centred."""
    steps = 64
    headings = random.uniform(0, 2 * math.pi) + np.cumsum(random.normal(0, 0.2, steps))
    length = random.uniform(*SHAKE_LENGTH) * scale
    path = np.cumsum(length / steps * np.stack([np.sin(headings), np.cos(headings)], axis=1), axis=0)
    path -= path.mean(axis=0)
    radius = math.ceil(np.abs(path).max()) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    for row, column in path + radius:  # bilinear splatting, so that the centroid stays
        top, left = int(row), int(column)
        down, right = row - top, column - left
        kernel[top : top + 2, left : left + 2] += np.outer((1 - down, down), (1 - right, right))
    return kernel / kernel.sum()


def defocus_kernel(random: np.random.RandomState, scale: int) -> NDArray[np.float64]:
    """A defocus kernel on the clean grid, a disc with a soft edge: (K, K), K odd, sum 1, symmetric about its centre."""
    disc = random.uniform(*DEFOCUS_RADIUS) * scale
    radius = math.ceil(disc) + 1
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    kernel = (disc + 0.5 - np.hypot(rows, columns)).clip(0, 1)
    return kernel / kernel.sum()


def optics(
    clean: NDArray[np.float32], scale: int, sigma: tuple[float, float] = BLUR_SIGMA, angle: float = BLUR_ANGLE
) -> NDArray[np.float32]:
    """The light on the sensor, (H / scale, W / scale, 3) in [0, 1], from a clean image (H, W, 3) in [0, 1].

    An oblique blur and an antialiased bicubic reduction. The blur is symmetric about its centre, so the pixel grid is
    that of the bicubic reduction: no shift, which unpaired data could not reveal.
    """
    return _downscale_bicubic(_convolve(clean, blur_kernel(scale, sigma, angle)), scale).clip(0, 1)


def blur_kernel(scale: int, sigma: tuple[float, float] = BLUR_SIGMA, angle: float = BLUR_ANGLE) -> NDArray[np.float64]:
    """The camera's blur on the clean grid: (K, K), K odd, sum 1, symmetric about its central pixel."""
    long, short = (width * scale for width in sigma)
    radius = math.ceil(4 * long)
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    turn = math.radians(angle)
    along = columns * math.cos(turn) + rows * math.sin(turn)
    across = rows * math.cos(turn) - columns * math.sin(turn)
    kernel = np.exp(-0.5 * ((along / long) ** 2 + (across / short) ** 2))
    return kernel / kernel.sum()


def _convolve(image: NDArray[np.float32], kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    """The image convolved with the kernel, its borders mirrored."""
    margin = kernel.shape[0] // 2
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    height, width = padded.shape[:2]
    spread = np.zeros((height, width))
    spread[: 2 * margin + 1, : 2 * margin + 1] = kernel
    transfer = np.fft.rfft2(np.roll(spread, (-margin, -margin), axis=(0, 1)))  # the kernel's centre at the origin
    # The transform's wrapping round reaches no further than the margin, which is cut off.
    blurred = np.fft.irfft2(np.fft.rfft2(padded, axes=(0, 1)) * transfer[:, :, None], (height, width), axes=(0, 1))
    return blurred[margin : height - margin, margin : width - margin].astype(np.float32)


def _downscale_bicubic(image: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Antialiased bicubic at 1/scale, cell centres on cell centres; no rounding on the way."""
    target = (image.shape[1] // scale, image.shape[0] // scale)
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(image, 2, 0)]
    return np.stack([np.asarray(plane.resize(target, Image.Resampling.BICUBIC)) for plane in planes], axis=2)


def random_from_name(name: str) -> np.random.RandomState:
    """A generator that is seeded by the name alone."""
    # NumPy never changes the numbers of RandomState (NEP 19); those of default_rng may change between releases.
    return np.random.RandomState(crc32(name.encode()))


def correlate_noise(white: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlate white noise (H, W, 3) between neighbours and channels as demosaicing does; standard deviation 1."""
    mixed = 0.8 * white + 0.6 * white.mean(axis=2, keepdims=True) * math.sqrt(white.shape[2])  # channels share a part
    for axis in (0, 1):
        mixed = np.sum(
            [tap * np.roll(mixed, shift, axis) for tap, shift in zip(GRAIN, (-1, 0, 1), strict=True)], axis=0
        )
    return mixed / mixed.std()


def noise_std(light: NDArray[np.float32], black: float, middle: float) -> NDArray[np.float64]:
    """Standard deviation of the noise at each pixel; the variance grows linearly with the intensity."""
    return np.sqrt((middle**2 - black**2) / 0.5 * light + black**2)


def jpeg_roundtrip(seen: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The image (H, W, 3) after JPEG compression at this quality."""
    file = BytesIO()
    Image.fromarray(seen).save(file, format="JPEG", quality=quality)
    return np.asarray(Image.open(file))


def to_uint8(seen: NDArray[np.float64] | NDArray[np.float32]) -> NDArray[np.uint8]:
    return (seen * 255).round().clip(0, 255).astype(np.uint8)
