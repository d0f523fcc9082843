"""A restoration network."""

from __future__ import annotations

from torch import Tensor, nn
from unpairaug import register_head


@register_head("my_head")
class MyHead(nn.Module):
    """Convolutions, then pixel shuffle: (B, 3, h, w) in [0, 1] -> (B, 3, scale * h, scale * w).

    The task gives `scale`; the other arguments are options of `task.head` in a recipe.
    """

    def __init__(self, scale: int, depth: int = 5, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        self.enlarge = nn.Upsample(scale_factor=scale, mode="bicubic")

    def forward(self, degraded: Tensor) -> Tensor:
        return self.enlarge(degraded) + self.body(degraded)
