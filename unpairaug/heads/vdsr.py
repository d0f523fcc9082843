"""VDSR, as published and as CycleSR has it."""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from unpairaug.heads.spandrel_layout import dncnn_state
from unpairaug.networks.generators import Norm, make_norm
from unpairaug.networks.init import init_gan_weights
from unpairaug.networks.resize import enlarge, shuffle_up
from unpairaug.registry import register_head
from unpairaug.registry.options import MAX_LAYERS, Layers

Positive = Annotated[int, Field(ge=1)]
Depth = Annotated[int, Field(ge=3, le=MAX_LAYERS)]


@register_head("vdsr")
class VDSR(nn.Module):
    """VDSR (Kim et al., 2016): the image enlarged by interpolation, `depth` convolutions, added to what it was given.

    (B, C, h, w) in [0, 1] -> (B, C, scale * h, scale * w). The published network has depth 20 and width 64.
    Weights start as in He et al. (2015); the last convolution starts at zero, so that training starts from the
    interpolated image.
    """

    def __init__(self, scale: int, depth: Depth = 20, width: Positive = 64, channels: Positive = 3) -> None:
        super().__init__()
        self.scale = scale
        self.receptive_margin = ceil(depth / scale) + 2  # each convolution sees 1 pixel further, the interpolation 2
        widths = [channels, *[width] * (depth - 1), channels]
        convolutions = [nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)]
        for layer in convolutions:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(convolutions[-1].weight)
        self.body = nn.Sequential(*(part for layer in convolutions for part in (layer, nn.ReLU())))[:-1]

    def forward(self, degraded: Tensor) -> Tensor:
        enlarged = enlarge(degraded, self.scale)
        return enlarged + self.body(enlarged)

    def behind_enlargement(self) -> nn.Module:
        """The network that restores what was enlarged before."""
        network = VDSR(1, 1, 1)
        network.body = self.body
        return network

    def spandrel_state(self) -> dict[str, Tensor]:
        """The weights as spandrel's DnCNN, which restores what was enlarged before."""
        return dncnn_state(self.body, subtracted=False)


@register_head("vdsr_cyclesr")
class VDSRCycleSR(nn.Module):
    """What CycleSR (Chen et al., 2020) calls VDSR: features at low resolution, a long skip, then pixel shuffle.

    (B, C, h, w) in [0, 1] -> (B, C, scale * h, scale * w). CycleSR has 20 blocks of 64 features with batch norm.
    """

    def __init__(
        self, scale: int, n_blocks: Layers = 20, width: Positive = 64, norm: Norm = "batch", channels: Positive = 3
    ) -> None:
        super().__init__()
        self.receptive_margin = n_blocks + 5  # the first, the block behind the others, and three after enlargement
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        body: list[nn.Module] = []
        for _ in range(n_blocks):
            body += [nn.Conv2d(width, width, 3, padding=1), make_norm(norm, width), nn.ReLU()]
        self.body = nn.Sequential(*body, nn.Conv2d(width, width, 3, padding=1), make_norm(norm, width))
        tail = shuffle_up(width, scale, nn.ReLU)
        tail += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1)]
        self.tail = nn.Sequential(*tail)
        self.apply(init_gan_weights)

    def forward(self, degraded: Tensor) -> Tensor:
        features = self.first(degraded)
        return self.tail(features + self.body(features))
