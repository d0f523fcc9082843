"""DnCNN, as published."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from unpairaug.heads.same_size import keeps_the_size
from unpairaug.heads.spandrel_layout import dncnn_state
from unpairaug.networks.generators import make_norm
from unpairaug.registry import register_head
from unpairaug.registry.options import MAX_LAYERS

Positive = Annotated[int, Field(ge=1)]
Depth = Annotated[int, Field(ge=3, le=MAX_LAYERS)]


@register_head("dncnn")
class DnCNN(nn.Module):
    """DnCNN (Zhang et al., 2017): `depth` convolutions predict the noise, which is taken off the image.

    (B, C, H, W) in [0, 1] -> the same shape. The published networks have width 64 and batch norm behind every
    convolution but the first and the last; depth 20 blind and in colour, 17 for grey images of one noise level
    (556 097 parameters: no bias where batch norm follows). Weights start as in He et al. (2015). Departing from the
    paper, the last convolution starts at zero, so that training starts from the image itself.
    """

    def __init__(
        self,
        scale: Annotated[int, keeps_the_size("dncnn")] = 1,
        depth: Depth = 20,
        width: Positive = 64,
        norm: Literal["batch", "none"] = "batch",
        channels: Positive = 3,
    ) -> None:
        super().__init__()
        self.receptive_margin = depth  # each convolution sees 1 pixel further
        widths = [channels, *[width] * (depth - 1), channels]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            inner = 0 < i < depth - 1
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=norm == "none" or not inner)]
            layers += [make_norm(norm if inner else "none", after), nn.ReLU()]
        self.noise = nn.Sequential(*layers[:-2])
        for layer in self.noise:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.noise[-1].weight)  # type: ignore[arg-type]

    def forward(self, degraded: Tensor) -> Tensor:
        return degraded - self.noise(degraded)

    def spandrel_state(self) -> dict[str, Tensor]:
        """The weights as spandrel's DnCNN."""
        return dncnn_state(self.noise, subtracted=True)
