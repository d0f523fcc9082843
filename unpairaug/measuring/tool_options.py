"""A measured camera as the degradation options of other tools: ranges of blur, noise and JPEG quality.

The options can say less than the measurement: a blur is a Gaussian, and noise is white and of one kind an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from unpairaug.camera.measured_camera import CameraReport
from unpairaug.camera.spectra import MIDDLES
from unpairaug.measuring.measurement import Measurement
from unpairaug.recipe.yaml_file import dump

Range = tuple[float, float]
WIDEST = 0.1
"""A range reaches at least a tenth to both sides: no two photographs of a camera are alike."""
QUALITY_STEPS = 5
"""A range of JPEG qualities reaches so far to both sides."""
FAINTEST_GAIN = 0.1
"""Gains below this hold noise rather than optics."""
BLUR_KERNEL = 21


@dataclass(frozen=True)
class DegradationRanges:
    """The measured ranges; the options of every tool are computed from them."""

    sigma: Range | None
    """Standard deviation of the blur in pixels of the degraded image; None where there is none."""
    noise: Range
    """Standard deviation of the noise at the mean light in 8-bit steps."""
    growth: float
    """Share of its variance that grows with the light, from 0 to 1."""
    light: float
    """That mean light, in [0, 1]."""
    shared: float
    """Correlation of the noise between channels, from 0 to 1."""
    jpeg: tuple[int, int] | None
    """Qualities; None without a sign of compression."""
    scale: int


def find_ranges(found: Measurement, scale: int) -> DegradationRanges:
    """The ranges that hold the figures of all images and of both halves of them.

    If the camera sharpens, they reach down to what its least strength leaves and up to its greatest perturbation, as a
    recipe's bridge does.
    """
    reports = (found.report, *found.halves, _weakened(found.report))
    sigmas = [sigma for report in reports if (sigma := fit_sigma(report)) is not None]
    noise, quality = found.report.noise, found.report.jpeg_quality
    low, high = (quality or 0) - QUALITY_STEPS, min((quality or 0) + QUALITY_STEPS, 100)
    return DegradationRanges(
        sigma=_widen(sigmas) if fit_sigma(found.report) is not None else None,
        noise=_widen([*(r.noise.level for r in reports), math.hypot(noise.level, found.report.max_perturbation)]),
        growth=round(noise.growth, 2),
        light=noise.light,
        shared=round(noise.shared, 2),
        jpeg=None if quality is None else (max(low, 1), high),
        scale=scale,
    )


def _weakened(report: CameraReport) -> CameraReport:
    """The report with the gain of `min_strength` of the degradation, the rest being the source itself."""
    return report if report.gain is None else replace(report, gain=1 + report.min_strength * (report.gain - 1))


def fit_sigma(report: CameraReport) -> float | None:
    """The Gaussian blur, in pixels, whose gain exp(-2 π² σ² f²) is nearest to the measured one; None for no blur.

    Least squares on the logarithm, weighted with the square of the gain, as its error is alike at all frequencies.
    """
    if report.gain is None:
        return None
    pairs = [(2 * math.pi**2 * f**2, float(g)) for f, g in zip(MIDDLES, report.gain, strict=True)]
    used = [(x, g) for x, g in pairs if g > FAINTEST_GAIN]
    square = sum(-x * math.log(g) * g**2 for x, g in used) / sum(x**2 * g**2 for x, g in used)
    return math.sqrt(square) if square > 0.1**2 else None


def _widen(values: list[float]) -> Range:
    """The range of the values, at least `WIDEST` to both sides of the first."""
    low, high = min(*values, values[0] * (1 - WIDEST)), max(*values, values[0] * (1 + WIDEST))
    return round(low, 3), round(high, 3)


def _real_esrgan(ranges: DegradationRanges) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options at the top, and of `datasets.train`.

    The first stage works at the size of the clean image and blurs; the second one, at the size of the degraded image,
    adds noise and compresses, as a camera does. What Real-ESRGAN would add beside is turned off.
    """
    sigma = [0.0, 0.0] if ranges.sigma is None else [round(end * ranges.scale, 3) for end in ranges.sigma]
    top = {
        "resize_prob": [0, 0, 1],
        "resize_range": [1.0, 1.0],
        "gaussian_noise_prob": 1.0,
        "noise_range": [0.0, 0.0],
        "poisson_scale_range": [0.0, 0.0],
        "gray_noise_prob": 0.0,
        "jpeg_range": [100, 100],
        "second_blur_prob": 0.0,
        "resize_prob2": [0, 0, 1],
        "resize_range2": [1.0, 1.0],
        **_noise_options(ranges, "2"),
        "jpeg_range2": [100, 100] if ranges.jpeg is None else list(ranges.jpeg),
    }
    train = {
        "blur_kernel_size": BLUR_KERNEL,
        "kernel_list": ["iso"],
        "kernel_prob": [1.0],
        "sinc_prob": 0.0,
        "blur_sigma": [max(end, 0.01) for end in sigma],  # 0 would divide by zero there
        "sinc_prob2": 0.0,
        "final_sinc_prob": 0.0,
    }
    return top, train


def _noise_options(ranges: DegradationRanges, stage: str) -> dict[str, Any]:
    """Gaussian or Poisson noise of the same level, as often as noise is constant or grows with the light.

    Poisson noise of scale s has the variance s² x / 256 at the light x, where an image has all its 8 bits.
    """
    poisson = [round(end / 255 * math.sqrt(256 / max(ranges.light, 0.01)), 4) for end in ranges.noise]
    return {
        f"gaussian_noise_prob{stage}": round(1 - ranges.growth, 2),
        f"noise_range{stage}": list(ranges.noise),
        f"poisson_scale_range{stage}": poisson,
        f"gray_noise_prob{stage}": ranges.shared,
    }


def write_real_esrgan(ranges: DegradationRanges) -> str:
    """Options for a file of Real-ESRGAN's `options/`: those at the top, and those of `datasets: train`."""
    top, train = _real_esrgan(ranges)
    return dump({**top, "datasets": {"train": train}})


def write_trainner(ranges: DegradationRanges) -> str:
    """Options for a file of traiNNer-redux, which can leave a blur and a JPEG out by their probability."""
    top, train = _real_esrgan(ranges)
    del top["second_blur_prob"]
    modes = {f"resize_mode_list{n}": ["bicubic"] for n in ("", "2", "3")}
    modes |= {f"resize_mode_prob{n}": [1.0] for n in ("", "2", "3")}
    stages = {
        "blur_prob": 0.0 if ranges.sigma is None else 1.0,
        "jpeg_prob": 0.0,
        "blur_prob2": 0.0,
        "jpeg_prob2": 0.0 if ranges.jpeg is None else 1.0,
    }
    return dump({"high_order_degradation": True, **top, **stages, **modes, "datasets": {"train": train}})


def write_albumentations(ranges: DegradationRanges) -> str:
    """A list of albumentations' transforms and their arguments, which `translator.pipeline` of `classic` takes, too.

    They act on images of the degraded size. White noise that does not depend on the light is all they can do.
    """
    steps: list[dict[str, Any]] = []
    if ranges.sigma is not None:
        steps.append({"GaussianBlur": {"sigma_limit": list(ranges.sigma), "p": 1.0}})
    if ranges.noise[1] > 0:
        limits = [round(end / 255, 5) for end in ranges.noise]
        steps.append({"GaussNoise": {"std_range": limits, "per_channel": ranges.shared < 0.5, "p": 1.0}})
    if ranges.jpeg is not None:
        steps.append({"ImageCompression": {"quality_range": list(ranges.jpeg), "p": 1.0}})
    return dump({"pipeline": steps})


TOOLS: dict[str, Callable[[DegradationRanges], str]] = {
    "traiNNer": write_trainner,
    "real-esrgan": write_real_esrgan,
    "albumentations": write_albumentations,
}
"""What writes the options of each tool."""


def format_options(found: Measurement, scale: int, tool: str) -> str:
    """The options of a tool as a YAML text, with what they leave out as a comment.

    Args:
        found: the measured camera.
        scale: size ratio of clean to degraded images.
        tool: a key of `TOOLS`.
    """
    ranges = find_ranges(found, scale)
    sigma = "no blur" if ranges.sigma is None else f"a Gaussian of {ranges.sigma[0]} to {ranges.sigma[1]} px"
    quality = "no JPEG" if ranges.jpeg is None else f"JPEG of quality {ranges.jpeg[0]} to {ranges.jpeg[1]}"
    lines = [
        f"Degradation options for {tool}, measured by unpairaug on {found.images[0]} clean and {found.images[1]}",
        f"degraded images: {sigma} of the degraded image,",
        f"noise of {ranges.noise[0]} to {ranges.noise[1]} 8-bit steps, {quality}.",
        f"{ranges.growth:.0%} of the noise's variance grows with the light. The options leave out grain, and",
        "gains that are no Gaussian.",
    ]
    return "".join(f"# {line}\n" for line in lines) + TOOLS[tool](ranges)
