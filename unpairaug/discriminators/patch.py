"""PatchGAN: one verdict for each small patch of an image."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm

from unpairaug.networks.filters import haar, low_pass, radius_of
from unpairaug.networks.generators import Norm, make_norm
from unpairaug.networks.init import init_gan_weights
from unpairaug.registry import register_discriminator
from unpairaug.registry.options import Layers

View = Literal["image", "high_pass", "haar"]
Positive = Annotated[int, Field(ge=1)]
SIGMA = 2.0
"""Width in pixels of the Gaussian that `high_pass` takes off."""


@register_discriminator("patch")
class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al., 2017): (B, C, H, W) in [0, 1] -> logits (B, n_scales, h, w), one for each patch.

    `n_layers` 4x4 convolutions of a stride, then two of stride 1. With stride 2, 3 layers see patches of 70x70
    pixels, 2 of 34x34, 1 of 16x16; with stride 1, 3 layers see 16x16 at every pixel, as CinCGAN's D1. The first and
    the last convolution have no norm.

    Args:
        ndf: features of the first layer.
        n_layers: convolutions with the stride.
        stride: of these.
        norm: of all but the first and the last.
        view: what it is shown: the image; the image less its low-pass (Fritsche et al., 2019); or the three detail
            bands of the Haar transform at half the size (Wei et al., 2021).
        spectral_norm: every convolution divided by its spectral norm (Miyato et al., 2018).
        n_scales: networks, each on an image of half the size of the one before (Wang et al., 2018); the logits of the
            coarser ones are repeated to the size of the first.
    """

    def __init__(
        self,
        ndf: Positive = 64,
        n_layers: Layers = 3,
        stride: Literal[1, 2] = 2,
        norm: Norm = "instance",
        view: View = "image",
        spectral_norm: bool = False,
        n_scales: Layers = 1,
    ) -> None:
        super().__init__()
        self.view: View = view
        channels = 9 if view == "haar" else 3
        self.scales = nn.ModuleList(
            _stack(channels, ndf, n_layers, stride, norm, spectral_norm) for _ in range(n_scales)
        )
        # Behind the strides, the last two convolutions take 1 pixel each.
        side = (3 * 2**n_layers if stride == 2 else n_layers + 3) * 2 ** (n_scales - 1)
        self.smallest_side = {"image": side, "high_pass": max(side, radius_of(SIGMA) + 1), "haar": 2 * side}[view]

    def forward(self, image: Tensor) -> Tensor:
        seen = _VIEWS[self.view](image)
        logits: list[Tensor] = []
        for scale in self.scales:
            logits.append(scale(seen))
            seen = F.avg_pool2d(seen, 2) if scale is not self.scales[-1] else seen
        size = logits[0].shape[-2:]
        return torch.cat([one if one.shape[-2:] == size else F.interpolate(one, size) for one in logits], dim=1)


_VIEWS = {
    "image": lambda image: 2 * image - 1,
    # High frequencies are weak; the factor brings them to about the size that the weights start for.
    "high_pass": lambda image: 10 * (image - low_pass(image, SIGMA)),
    "haar": lambda image: 10 * haar(image)[:, 3:],
}


def _stack(channels: int, ndf: int, n_layers: int, stride: int, norm: Norm, spectral_norm: bool) -> nn.Sequential:
    widths = [channels, *(ndf * min(2**i, 8) for i in range(n_layers + 1))]
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        layers += [nn.Conv2d(before, after, 4, 1 if i == n_layers else stride, 1)]
        layers += [make_norm("none" if i == 0 else norm, after), nn.LeakyReLU(0.2)]
    stack = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))
    stack.apply(init_gan_weights)
    if spectral_norm:
        for layer in stack:
            if isinstance(layer, nn.Conv2d):
                with_spectral_norm(layer)
    return stack
