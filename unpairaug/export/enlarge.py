"""Bicubic interpolation in operations that every inference engine supports."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unpairaug.networks.resize import enlarge
from unpairaug.task import Task

REACH = 2
"""Radius in pixels of the bicubic kernel."""


class EnlargeByConvolution(nn.Module):
    """What `networks.enlarge` does, as a convolution and a pixel shuffle: (B, C, h, w) -> (B, C, scale * h, scale * w).

    TensorRT and NCNN have no antialiased interpolation, and other engines have other kernels. At the edges, weights
    outside the image are dropped and the rest is renormalised: the sum is divided by that of an image of ones.
    """

    def __init__(self, scale: int, channels: int = 3) -> None:
        super().__init__()
        side = 2 * REACH + 1
        # Impulse response: the share of one pixel in every phase of its neighbours, far from the edges.
        spot = torch.zeros(1, 1, 2 * side - 1, 2 * side - 1, dtype=torch.float64)
        spot[..., side - 1, side - 1] = 1
        phases = nn.functional.pixel_unshuffle(enlarge(spot, scale), scale)[0]  # (scale², 2 * side - 1, …)
        middle = slice(side - 1 - REACH, side + REACH)
        kernel = phases[:, middle, middle].flip(-2, -1).float()
        self.weigh = nn.Conv2d(channels, channels * scale**2, side, padding=REACH, groups=channels, bias=False)
        self.weigh.weight.data = kernel[:, None].repeat(channels, 1, 1, 1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, image: Tensor) -> Tensor:
        return self.shuffle(self.weigh(image) / self.weigh(image * 0 + 1))


def make_portable(task: Task) -> nn.Module:
    """The task's head; an initial bicubic enlargement is replaced by operations that every engine supports."""
    if task.head is None:
        return task  # its own network is in its `forward`
    behind = getattr(task.head, "behind_enlargement", None)
    if behind is None or task.scale == 1:
        return task.head
    return nn.Sequential(EnlargeByConvolution(task.scale), behind())
