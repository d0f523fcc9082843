"""Networks that make noise for an image. No losses, no optimisers, no files."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from unpairaug.camera.noise import channel_mix, grain_of
from unpairaug.networks.init import zero_
from unpairaug.rng import Rng, normal


def _odd(grain: int) -> int:
    if grain % 2 == 0:
        raise ValueError(f"given {grain}, should be odd, so that the noise's filter has a middle")
    return grain


Grain = Annotated[int, Field(ge=1), AfterValidator(_odd)]
"""Side in pixels of the filter that correlates noise."""


class SignalDependentNoise(nn.Module):
    """Noise for an image (B, C, H, W) in [0, 1], of the same shape and mean 0.

    Standard normal numbers for every pixel and channel, mixed and correlated by one filter of `grain` x `grain` pixels,
    `grain` odd; their strength depends on the image's own brightness, as a sensor's does.
    """

    START = 0.02
    """Standard deviation before training, 5 of 255 steps: enough for a discriminator to notice."""
    FAINTEST = 1e-4
    """Least standard deviation to start at; a softplus has no 0."""

    def __init__(self, grain: int = 3, channels: int = 3, width: int = 16) -> None:
        super().__init__()
        last = nn.Conv2d(width, channels, 1)
        zero_(last)
        self.strength = nn.Sequential(nn.Conv2d(channels, width, 1), nn.LeakyReLU(0.2), last)
        self.start: Tensor
        self.register_buffer("start", torch.full((2,), self.START))
        self.grain = nn.Conv2d(channels, channels, grain, padding=grain // 2, bias=False)
        nn.init.dirac_(self.grain.weight)

    def start_at(self, black: float, white: float) -> None:
        """Make noise of these standard deviations in black and in white, before anything is learnt.

        Between them its variance grows linearly with a channel's light, as that of a sensor does.
        """
        self.start.copy_(torch.tensor([black, white]))

    def deviation(self, image: Tensor) -> Tensor:
        """Standard deviation of the noise at each pixel and channel of the image."""
        black, white = self.start.square()
        start = torch.lerp(black, white, image.float().clamp(0, 1)).clamp(min=self.FAINTEST**2).sqrt()
        # softplus(strength + inverse_softplus(start)); log1p and expm1 take ten times as long, for digits below 1e-7.
        return (self.strength(image - 0.5).float().exp() * (start.exp() - 1) + 1).log()

    def start_with(self, energy: Tensor, shared: float) -> None:
        """Make noise of that energy in each ring of frequencies, see `grain_of`, and that correlation of channels."""
        channels, side = len(self.grain.weight), self.grain.weight.shape[-1]
        with torch.no_grad():
            self.grain.weight.copy_(channel_mix(shared, channels)[:, :, None, None] * grain_of(energy, side))

    def forward(self, image: Tensor, rng: Rng = None) -> Tensor:
        return self.deviation(image) * self.grain(normal(image.shape, image, rng))


class SensorNoise(nn.Module):
    """Noise for an image (B, C, H, W) in [0, 1], of the same shape, in two branches, of which one follows the light.

    The two branches are C2N's (Jang et al., 2021), each with its own filter of `grain` x `grain` pixels; what follows
    the light is normal noise of a learnt strength, what does not may have any histogram. That one is zero at the start,
    and its mean is not zero by construction: a loss has to see to it.
    """

    def __init__(self, grain: int = 3, channels: int = 3, width: int = 16) -> None:
        super().__init__()
        self.dependent = SignalDependentNoise(grain, channels, width)
        last = nn.Conv2d(width, channels, grain, padding=grain // 2, bias=False)
        nn.init.zeros_(last.weight)
        self.independent = nn.Sequential(nn.Conv2d(channels, width, 1), nn.LeakyReLU(0.2), last)

    def forward(self, image: Tensor, rng: Rng = None) -> Tensor:
        dependent = self.dependent(image, rng)
        return dependent + self.independent(normal(image.shape, image, rng))
