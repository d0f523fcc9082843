"""SRResNet, the generator of SRGAN."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from unpairaug.networks.generators import ResidualBlock, make_norm
from unpairaug.networks.resize import shuffle_up
from unpairaug.registry import register_head
from unpairaug.registry.options import Layers

Positive = Annotated[int, Field(ge=1)]


@register_head("srresnet")
class SRResNet(nn.Module):
    """SRResNet (Ledig et al., 2017): residual blocks with batch norm and PReLU, then sub-pixel convolution.

    (B, C, h, w) in [0, 1] -> (B, C, scale * h, scale * w); at scale 1 nothing is enlarged. Trained with an adversarial
    loss it is SRGAN's generator. The published network has 16 blocks of width 64; the paper counts no parameters,
    but its figure 4 has 1 549 462 at ×4, with a bias in every convolution and one slope for each PReLU. Departing from
    the paper, whose images go up to [-1, 1], this puts out [0, 1].
    """

    def __init__(
        self,
        scale: int,
        n_blocks: Layers = 16,
        width: Positive = 64,
        norm: Literal["batch", "none"] = "batch",
        channels: Positive = 3,
    ) -> None:
        super().__init__()
        # The first convolution and, at scale 1, the last see 4 pixels; the end of the body 1.
        self.receptive_margin = 2 * n_blocks + 9
        self.first = nn.Sequential(nn.Conv2d(channels, width, 9, padding=4), nn.PReLU())
        blocks = [ResidualBlock(width, norm, nn.PReLU) for _ in range(n_blocks)]
        self.body = nn.Sequential(*blocks, nn.Conv2d(width, width, 3, padding=1), make_norm(norm, width))
        self.tail = nn.Sequential(*shuffle_up(width, scale, nn.PReLU), nn.Conv2d(width, channels, 9, padding=4))

    def forward(self, degraded: Tensor) -> Tensor:
        features = self.first(degraded)
        return self.tail(features + self.body(features))
