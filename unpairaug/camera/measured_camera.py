"""What was measured of a camera, as one module: optics, noise, JPEG files, and how far to believe the measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from unpairaug.camera.jpeg import JpegFile, quality_of
from unpairaug.camera.noise import CameraNoise, MeasuredNoise, noise_before
from unpairaug.camera.optics import Optics, Progress, believe_lift
from unpairaug.camera.spectra import MIDDLES
from unpairaug.errors import UserError
from unpairaug.rng import Rng

Measure = Literal["all", "noise", "none"]
"""What is measured: optics, noise and files; noise and files, where both sets have the same optics; or nothing."""

PERTURBATION, PERTURBATION_PER_LIFT = 4.0, 42.0
"""`max_perturbation` of a camera that sharpens, in 8-bit steps: without lift, and what is added for a lift of 1."""
LEAST_STRENGTH = 0.5
"""`min_strength` of a camera that sharpens."""
NOISE_START = 0.5, 25.0
"""Least and greatest standard deviation, in 8-bit steps, at which learnt noise starts; less shows no discriminator."""


@dataclass(frozen=True)
class CameraReport:
    """The figures of one measurement."""

    gain: Tensor | None
    """Gain of the optics in each ring of frequencies, (BANDS + 1,), at `MIDDLES`; None where they were not measured."""
    noise: MeasuredNoise
    jpeg_quality: int | None
    """Of the files that the real images were cut from; None where there is no sign of any."""
    max_perturbation: float
    """See `MeasuredCamera`."""
    min_strength: float
    """See `MeasuredCamera`."""

    def values(self) -> dict[str, float]:
        """The figures by the names that a run logs; frequencies in cycles per pixel, noise in 8-bit steps."""
        found: dict[str, float] = {}
        if self.gain is not None:
            found |= {f"gain_{frequency:.3f}": float(g) for frequency, g in zip(MIDDLES, self.gain, strict=True)}
            found |= {"max_perturbation": self.max_perturbation, "min_strength": self.min_strength}
        found |= {"noise": self.noise.level, "noise_growth": self.noise.growth}
        return found if self.jpeg_quality is None else {**found, "jpeg_quality": float(self.jpeg_quality)}

    def starting_noise(self) -> tuple[float, float, float]:
        """Where learnt noise starts: standard deviations in black and in white, and the measured share of the variance.

        The rest of the variance is white noise, which stands for what was not measured.
        """
        low, high = NOISE_START
        unknown = max(max(self.max_perturbation / 2, low) ** 2 - self.noise.level**2, 0.0)
        black, white = (min((self.noise.variance(light) + unknown) ** 0.5, high) / 255 for light in (0.0, 1.0))
        return black, white, self.noise.level**2 / (self.noise.level**2 + unknown)


class MeasuredCamera(nn.Module):
    """Shows sources as the measured camera would: (B, 3, h, w) in [0, 1] -> the same.

    Until `measure`, it changes nothing. No part of it is trained. Any translator can hold one: see
    `unpairaug.translator`.
    """

    smallest_side = 15
    """Side in pixels of the smallest crops that can be measured."""

    def __init__(self, measure: Measure = "all") -> None:
        """Build a camera that changes nothing yet.

        Raises:
            UserError: there is no such measurement.
        """
        super().__init__()
        if measure not in get_args(Measure):
            raise UserError(f"translator.measure: given {measure!r}, should be all, noise or none")
        self.optics_differ = measure == "all"
        """Whether the optics are measured, or taken to be those of the clean images."""
        self.optics, self.noise, self.jpeg = Optics(), CameraNoise(), JpegFile()
        self.max_perturbation: Tensor
        self.register_buffer("max_perturbation", torch.tensor(0.0))
        """Standard deviation, in 8-bit steps, of noise that stands for what the measurement leaves open."""
        self.min_strength: Tensor
        self.register_buffer("min_strength", torch.tensor(1.0))
        """The least share of the translation that a head should be fed, at most 1."""

    def forward(self, source: Tensor, rng: Rng = None) -> Tensor:
        """The source as the whole camera shows it: optics, noise drawn from `rng`, file."""
        seen = self.apply_optics(source)
        return self.apply_jpeg(seen + self.noise(seen, rng))

    def apply_optics(self, image: Tensor) -> Tensor:
        """The image as the optics show it."""
        return self.optics(image) if self.optics_differ else image

    def apply_jpeg(self, image: Tensor) -> Tensor:
        """What the camera's files keep of an image; the gradient of what they keep passes straight through."""
        return self.jpeg(image)

    @torch.no_grad()
    def measure(self, source: Tensor, real: Tensor, scenes: int, progress: Progress = iter) -> CameraReport:
        """Measure the camera on unpaired crops (N, 3, h, w) in [0, 1], and become it.

        Optics lift no frequency: a camera that does has sharpened, which is not linear. The more it is believed to
        have done so, the lower is `min_strength` and the higher `max_perturbation`.

        Args:
            source: crops of what is degraded.
            real: crops of real degraded images, of other scenes.
            scenes: number of images that they are from, of the side that has fewer.
            progress: passes the steps of the fit on, and may show how many are done.

        Raises:
            UserError: the real images are all black.
        """
        if not real.any():
            raise UserError(
                "the degraded crops are all black, so there is no camera to measure; look at data.degraded, or give "
                "translator.measure=none"
            )
        is_same = not self.optics_differ
        gain, noise, lift = self.optics.measure(source, real, scenes, is_same=is_same, progress=progress)
        quality = quality_of(real)
        self.jpeg.set(quality or 0)
        if quality:
            noise = noise_before(self.jpeg, self.apply_optics(source), real)
        self.noise.become(noise)
        sharpens = believe_lift(lift)
        perturbation = sharpens * (PERTURBATION + PERTURBATION_PER_LIFT * lift)
        strength = 1 - sharpens * (1 - LEAST_STRENGTH)
        self.max_perturbation.fill_(perturbation)
        self.min_strength.fill_(strength)
        return CameraReport(gain if self.optics_differ else None, noise, quality, perturbation, strength)
