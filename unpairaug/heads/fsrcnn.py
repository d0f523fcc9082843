"""FSRCNN, as published."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from unpairaug.registry import register_head
from unpairaug.registry.options import Layers

Positive = Annotated[int, Field(ge=1)]


@register_head("fsrcnn")
class FSRCNN(nn.Module):
    """FSRCNN (Dong et al., 2016): few features at low resolution, enlarged by one transposed convolution.

    (B, C, h, w) in [0, 1] -> (B, C, scale * h, scale * w). `width`, `shrunk` and `depth` are the paper's d, s and m.
    Published is FSRCNN(56, 12, 4) for one channel with 12 464 parameters, which counts convolution weights alone,
    neither biases nor PReLU slopes. Weights start as in the paper. Departing from it, several channels are restored
    together, where the paper restores luma and enlarges colour by bicubic interpolation.
    """

    def __init__(
        self, scale: int, width: Positive = 56, shrunk: Positive = 12, depth: Layers = 4, channels: Positive = 3
    ) -> None:
        super().__init__()
        self.receptive_margin = 2 + depth + 4  # the first, the mapping, and at most 4 of the transposed convolution
        sizes = [(channels, width, 5), (width, shrunk, 1), *[(shrunk, shrunk, 3)] * depth, (shrunk, width, 1)]
        layers: list[nn.Module] = []
        for before, after, size in sizes:
            convolution = nn.Conv2d(before, after, size, padding=size // 2)
            nn.init.kaiming_normal_(convolution.weight, a=0.25)  # PReLU's slope at the start
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            layers += [convolution, nn.PReLU(after)]
        last = nn.ConvTranspose2d(width, channels, 9, scale, padding=4, output_padding=scale - 1)
        nn.init.normal_(last.weight, 0.0, 0.001)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.body = nn.Sequential(*layers, last)

    def forward(self, degraded: Tensor) -> Tensor:
        return self.body(degraded)
