"""EDSR, baseline and large."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from unpairaug.networks.generators import ResidualBlock
from unpairaug.networks.resize import shuffle_up
from unpairaug.registry import register_head
from unpairaug.registry.options import Layers

Positive = Annotated[int, Field(ge=1)]


@register_head("edsr")
class EDSR(nn.Module):
    """EDSR (Lim et al., 2017): residual blocks without norm at low resolution, then sub-pixel convolution.

    (B, C, h, w) in [0, 1] -> (B, C, scale * h, scale * w); at scale 1 nothing is enlarged. The defaults are the
    published baseline (1 369 859 parameters at ×2, 1 517 571 at ×4); the large network has 32 blocks of width 256 and
    `res_scale` 0.1 (40 729 603 at ×2, 43 089 923 at ×4). Departing from the authors' code, which works on [0, 255]
    less DIV2K's mean colour, this works on [0, 1] less 0.5, a mean of no data set.
    """

    def __init__(
        self,
        scale: int,
        n_blocks: Layers = 16,
        width: Positive = 64,
        res_scale: Annotated[float, Field(gt=0)] = 1.0,
        channels: Positive = 3,
    ) -> None:
        super().__init__()
        self.receptive_margin = 2 * n_blocks + 5  # the first, the last of the body, and three while enlarging
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        blocks = [ResidualBlock(width, "none", res_scale=res_scale) for _ in range(n_blocks)]
        self.body = nn.Sequential(*blocks, nn.Conv2d(width, width, 3, padding=1))
        self.tail = nn.Sequential(*shuffle_up(width, scale), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, degraded: Tensor) -> Tensor:
        features = self.first(degraded - 0.5)
        return self.tail(features + self.body(features)) + 0.5
