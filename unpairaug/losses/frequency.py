"""Losses on the two-dimensional Fourier transform: (B, C, H, W), (B, C, H, W) -> scalar."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from unpairaug.registry import register_loss


@register_loss("frequency")
class Frequency(nn.Module):
    """L1 on real and imaginary parts of the transform (Cho et al., 2021, MIMO-UNet, eq. 10, who weigh it 0.1).

    The transform is not normalised, as in the paper, so the loss grows with the side of the crop.
    """

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        # The transform is linear, so that of the difference is the difference of the transforms.
        return torch.view_as_real(torch.fft.fft2(restored.float() - clean.float())).abs().mean()


@register_loss("focal_frequency")
class FocalFrequency(nn.Module):
    """Squared difference of the transforms, each frequency weighed by how far off it still is (Jiang et al., 2021).

    The weights |difference|^alpha, at most 1 in each channel of each image, carry no gradient.
    """

    def __init__(self, alpha: Annotated[float, Field(ge=0)] = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        spectrum = torch.view_as_real(torch.fft.fft2(restored.float() - clean.float(), norm="ortho"))
        energy = spectrum.square().sum(-1)
        with torch.no_grad():
            weight = energy ** (self.alpha / 2)
            weight = weight / weight.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
        return (weight * energy).mean()
