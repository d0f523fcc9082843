"""The noise of a camera, measured on unpaired crops before any training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unpairaug.camera.sharpness import (
    FAINTEST,
    LIGHTS,
    calm_energy,
    contrast_above,
    contrasted,
    is_calm,
    light_ends,
    sharpness,
)
from unpairaug.camera.spectra import BANDS, COARSE, Windows, windows_of

SIGMAS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0)
"""Standard deviations, in 8-bit steps, that are tried in front of a file."""
TRIED = 2048
"""Crops that they are tried on, at most."""


@dataclass(frozen=True)
class MeasuredNoise:
    """The noise of a camera where there is contrast."""

    level: float
    """Standard deviation in each channel at the mean light, in 8-bit steps."""
    growth: float
    """Share of its variance there that grows with the light, from 0 to 1; the rest is alike in dark and bright."""
    light: float
    """That mean, in [0, 1]."""
    energy: Tensor
    """That of each ring, (BANDS + 1,), beside that of white noise of the same level, which has 1 in all."""
    shared: float
    """Correlation between channels, from 0 to 1."""

    def variance(self, light: float) -> float:
        """In squared 8-bit steps, where a channel has that light, in [0, 1]."""
        return self.level**2 * (1 + self.growth * (light / self.light - 1))


def shared_by_channels(images: Tensor, grey: Windows) -> float:
    """Correlation of the noise between the channels of images (B, C, H, W), in the windows where `grey` is calm.

    `grey` is `windows_of(images)`; the variance of the channels' mean says how much of theirs they share.
    """
    calm, count = is_calm(grey), images.shape[1]
    channels = torch.stack([windows_of(channel).energy[calm] for channel in images.split(1, dim=1)]).mean(0)
    ratio = float((grey.energy[calm][:, COARSE:] / channels[:, COARSE:].clamp(min=FAINTEST)).median())
    return min(max((count * ratio - 1) / max(count - 1, 1), 0.0), 1.0)


def noise_before(file: Callable[[Tensor], Tensor], seen: Tensor, real: Tensor) -> MeasuredNoise:
    """The white noise that leaves of sources, behind the file, what real images have where there is little else.

    A file takes most of the noise away, and it is the noise in front of it that makes such an image again. Its grain
    and colours are not to be told any more.

    Args:
        file: what a file keeps of images (B, C, H, W) in [0, 1].
        seen: the sources as the optics show them, (N, C, H, W).
        real: the real images, (M, C, H, W).
    """
    seen, shown = seen[:TRIED], windows_of(real[:TRIED]).precise()
    contrast = contrast_above(calm_energy(shown))
    shown = contrasted(shown, contrast)
    ends = light_ends(shown)
    white = torch.randn(seen.shape, generator=torch.Generator().manual_seed(0)).to(seen) / 255
    tried = [windows_of(file((seen + sigma * white).clamp(0, 1))).precise() for sigma in SIGMAS]
    fineness = torch.stack([_fineness(contrasted(one, contrast), ends) for one in tried]).cummax(0).values
    pairs = zip(_fineness(shown, ends).tolist(), fineness.T.numpy(), strict=True)
    return _white([float(np.interp(wanted, course, SIGMAS)) ** 2 for wanted, course in pairs], shown, ends)


def _fineness(windows: Windows, ends: Tensor) -> Tensor:
    """Of the dull windows in each class of light, in nats: (LIGHTS,)."""
    return sharpness(windows, ends)[1][..., COARSE:].mean((1, 2))


def _white(variances: list[float], shown: Windows, ends: Tensor) -> MeasuredNoise:
    """White noise of these variances in the classes of light, or of those nearest to them that grow with the light."""
    classes, variance = torch.bucketize(shown.light, ends), torch.tensor(variances, dtype=shown.light.dtype)
    members = [shown.light[classes == one] for one in range(LIGHTS)]
    lights = torch.stack([(one if len(one) else shown.light).mean() for one in members])
    light, mean = float(lights.mean()), float(variance.mean())
    away = lights - light
    slope = float((away * variance).sum() / away.square().sum().clamp(min=1e-6))
    growth = min(max(slope * light / max(mean, FAINTEST), 0.0), 1.0)
    return MeasuredNoise(mean**0.5, growth, light, torch.ones(BANDS + 1), 0.0)
