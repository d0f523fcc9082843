"""The noise of a camera, measured on unpaired crops before any training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
from unpairaug.camera.spectra import BANDS, COARSE, Windows, kernel_of, windows_of
from unpairaug.rng import Rng, normal

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


GRAIN = 7
"""Side in pixels of the filter that gives measured noise its grain."""
LARGE = 15
"""Side of a filter that has any course of gains over the frequencies."""


def grain_of(energy: Tensor, side: int) -> Tensor:
    """The filter (side, side) that gives white noise that energy in each ring, (BANDS + 1,), at the same variance."""
    kernel = F.pad(kernel_of(energy.sqrt(), LARGE), (side // 2 - LARGE // 2,) * 4)  # its middle
    return kernel / kernel.norm()


def channel_mix(shared: float, channels: int) -> Tensor:
    """The matrix (channels, channels) that gives independent channels that correlation with each other."""
    mixed = shared * torch.ones(channels, channels) + (1 - shared) * torch.eye(channels)
    values, vectors = torch.linalg.eigh(mixed)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def sensor_deviation(image: Tensor, black: Tensor, white: Tensor, least: float = 0.0) -> Tensor:
    """Standard deviation at each pixel and channel of an image in [0, 1], given that in black and in white.

    The variance grows linearly with a channel's light, as that of a sensor does.
    """
    variance = torch.lerp(black.square(), white.square(), image.float().clamp(0, 1))
    return variance.clamp(min=least**2).sqrt()


class CameraNoise(nn.Module):
    """Noise as it was measured, for an image (B, 3, H, W) in [0, 1]: the same shape, mean 0; none until `become`."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.ends: Tensor
        self.register_buffer("ends", torch.zeros(2))
        """Standard deviation in black and in white, in units of the image."""
        self.grain: Tensor
        self.register_buffer("grain", grain_of(torch.ones(BANDS + 1), GRAIN))
        self.mix: Tensor
        self.register_buffer("mix", torch.eye(channels))

    def become(self, noise: MeasuredNoise) -> None:
        """Take the level, the growth with light, the grain and the correlation of channels of measured noise."""
        black, white = (max(noise.variance(light), 0.0) ** 0.5 / 255 for light in (0.0, 1.0))
        self.ends.copy_(torch.tensor([black, white]))
        self.grain.copy_(grain_of(noise.energy, GRAIN))
        self.mix.copy_(channel_mix(noise.shared, len(self.mix)))

    def forward(self, image: Tensor, rng: Rng = None) -> Tensor:
        channels = image.shape[1]
        kernel = self.grain.expand(channels, 1, GRAIN, GRAIN)
        # Each convolution in the memory format in which it takes a sixth to a tenth of the time.
        white = normal(image.shape, image, rng).contiguous(memory_format=torch.channels_last)
        grained = F.conv2d(white, kernel, padding=GRAIN // 2, groups=channels).contiguous()
        mixed = F.conv2d(grained, self.mix[:, :, None, None]).contiguous(memory_format=torch.channels_last)
        return (sensor_deviation(image, self.ends[0], self.ends[1]) * mixed).to(image.dtype)


def shared_by_channels(images: Tensor, grey: Windows) -> float:
    """Correlation of the noise between the channels of images (B, C, H, W), in the windows where `grey` is calm.

    `grey` is `windows_of(images)`; the variance of the channels' mean says how much of theirs they share.
    """
    calm, count = is_calm(grey), images.shape[1]
    of_image = calm.view(len(images), -1)  # windows lie side by side in their image
    chosen = of_image.any(1)  # most images have no calm window
    within = of_image[chosen].flatten()
    channels = torch.stack([windows_of(one).energy[within] for one in images[chosen].split(1, dim=1)]).mean(0)
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
