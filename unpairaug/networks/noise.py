"""Networks that make noise for an image. No losses, no optimisers, no files."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from torch import Tensor, nn

from unpairaug.networks.generators import SignalDependentNoise
from unpairaug.rng import Rng, normal


def _odd(grain: int) -> int:
    if grain % 2 == 0:
        raise ValueError(f"given {grain}, should be odd, so that the noise's filter has a middle")
    return grain


Grain = Annotated[int, Field(ge=1), AfterValidator(_odd)]
"""Side in pixels of the filter that correlates noise."""


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
