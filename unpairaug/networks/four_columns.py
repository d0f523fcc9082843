"""Convolutions to a few channels, which a CPU computes for four columns at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COLUMNS = 4
"""Columns that are computed together."""
VECTOR = 16
"""Numbers of 32 bits in the widest vector of a CPU: libraries compute so many output channels, or a multiple."""


class FourColumns(nn.Conv2d):
    """The same convolution, of which one position makes four neighbouring columns: (B, C, H, W) -> (B, c, H, W).

    A convolution to 3 channels takes a CPU as long as one to 16. This one has 4 c outputs, a kernel that is 3 columns
    wider, and moves on by 4 columns: two thirds of the time for a kernel of 3x3, half for 1x1. In channels_last, its
    output is the wanted image without any copy. Sums have another order, so results differ by rounding.
    """

    def forward(self, input: Tensor) -> Tensor:
        width = input.shape[-1]
        reach = COLUMNS - 1
        kernels = [F.pad(self.weight, (column, reach - column)) for column in range(COLUMNS)]
        bias = None if self.bias is None else self.bias.repeat(COLUMNS)
        kernel = torch.cat(kernels).contiguous(memory_format=torch.channels_last)
        whole = F.pad(input, (0, -width % COLUMNS)) if width % COLUMNS else input
        made = F.conv2d(whole, kernel, bias, (1, COLUMNS), self.padding)
        columns = made.permute(0, 2, 3, 1).unflatten(3, (COLUMNS, self.out_channels)).flatten(2, 3)
        return columns.permute(0, 3, 1, 2)[..., :width]


def set_four_columns(modules: Iterable[nn.Module]) -> None:
    """Let the convolutions that gain by it compute four columns at once; it is for networks that are not trained."""
    for module in modules:
        if type(module) is nn.Conv2d and _gains(module):
            module.__class__ = FourColumns


def _gains(conv: nn.Conv2d) -> bool:
    plain = conv.stride == (1, 1) and conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"
    keeps_size = not isinstance(conv.padding, str) and all(
        side == 2 * pad + 1 for side, pad in zip(conv.kernel_size, cast("tuple[int, int]", conv.padding), strict=True)
    )
    few = COLUMNS * conv.out_channels <= VECTOR <= conv.in_channels
    return plain and keeps_size and few and conv.kernel_size[1] < COLUMNS
