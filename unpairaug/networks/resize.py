"""Images and feature maps at another size."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


def shuffle_up(width: int, scale: int, activation: Callable[[], nn.Module] = nn.Identity) -> list[nn.Module]:
    """Layers from (B, width, h, w) to (B, width, scale * h, scale * w): sub-pixel convolution (Shi et al., 2016).

    A scale of 4 is reached by 2 and 2, 3 at once, 1 by no layer; `activation` follows each.
    """
    layers: list[nn.Module] = []
    while scale > 1:
        factor = 2 if scale % 2 == 0 else scale
        scale //= factor
        layers += [nn.Conv2d(width, factor**2 * width, 3, padding=1), nn.PixelShuffle(factor), activation()]
    return layers


def enlarge(image: Tensor, scale: int) -> Tensor:
    """The image (B, C, h, w) enlarged by bicubic interpolation on the grid of cell centres (Keys, 1981, a = -0.5)."""
    # Without `antialias`, torch interpolates with a = -0.75, which is nobody's baseline.
    return image if scale == 1 else F.interpolate(image, scale_factor=scale, mode="bicubic", antialias=True)


def shrink(image: Tensor, scale: int) -> Tensor:
    """The image (B, C, H, W) at 1/scale by antialiased bicubic interpolation, as MATLAB and Pillow make it."""
    return image if scale == 1 else F.interpolate(image, scale_factor=1 / scale, mode="bicubic", antialias=True)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """The image, its right and bottom edge repeated until H and W are multiples of `multiple`."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
