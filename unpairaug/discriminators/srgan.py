"""SRGAN's discriminator: one verdict for the whole image."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from unpairaug.networks.generators import Norm, make_norm
from unpairaug.registry import register_discriminator


@register_discriminator("srgan")
class SRGANDiscriminator(nn.Module):
    """SRGAN's (Ledig et al., 2017, fig. 4; after VGG): (B, C, H, W) in [0, 1] -> one logit for each image, (B, 1).

    Eight 3x3 convolutions, every other of stride 2, and two linear layers. Features are averaged down to 6x6 before
    these, so images may have any size; at the paper's 96 px that changes nothing.
    """

    def __init__(self, ndf: Annotated[int, Field(ge=1)] = 64, norm: Norm = "batch") -> None:
        super().__init__()
        self.smallest_side = 1 if norm == "none" else 17  # behind the strides 2 pixels: a norm of one makes it 0
        widths = [3, *(width for i in range(4) for width in [ndf * 2**i] * 2)]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            layers += [nn.Conv2d(before, after, 3, 1 + i % 2, padding=1)]
            layers += [make_norm("none" if i == 0 else norm, after), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(6), nn.Flatten())
        self.judge = nn.Sequential(nn.Linear(36 * widths[-1], 16 * ndf), nn.LeakyReLU(0.2), nn.Linear(16 * ndf, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.judge(self.features(2 * image - 1))
