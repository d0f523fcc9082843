"""Fixed filters of images."""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from unpairaug.networks.resize import pad_to_multiple


def radius_of(sigma: float) -> int:
    """Pixels to each side that `low_pass` looks at; an image must be larger."""
    return ceil(2.5 * sigma)


def low_pass(image: Tensor, sigma: float) -> Tensor:
    """The image (B, C, H, W) blurred by a Gaussian of `sigma` pixels, reflected at its edges."""
    radius = radius_of(sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=image.device) / sigma) ** 2)
    taps = (taps / taps.sum()).to(image.dtype)
    channels = image.shape[1]
    rows, columns = (taps.view(shape).expand(channels, 1, -1, -1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))
    padded = F.pad(image, (radius,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, rows, groups=channels), columns, groups=channels)


def haar(image: Tensor) -> Tensor:
    """One level of the orthonormal Haar transform: (B, C, H, W) -> (B, 4 * C, H / 2, W / 2).

    First the averages of all channels, then differences of columns, of rows, and of both; an odd last row or column is
    repeated.
    """
    even = pad_to_multiple(image, 2)
    a, b, c, d = (even[..., y::2, x::2] for y in (0, 1) for x in (0, 1))
    return torch.cat([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], dim=1) / 2
