"""Losses that look at one pixel, or at one and its neighbour: (B, C, H, W), (B, C, H, W) -> scalar."""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unpairaug.registry import register_loss


@register_loss("l1")
class L1(nn.Module):
    """Mean absolute difference."""

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        return F.l1_loss(restored, clean)


@register_loss("mse")
class MSE(nn.Module):
    """Mean squared difference: what PSNR measures."""

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        return F.mse_loss(restored, clean)


@register_loss("charbonnier")
class Charbonnier(nn.Module):
    """The mean of sqrt(difference² + eps²), an L1 loss that is smooth around 0 (Lai et al., 2017, eq. 3).

    It is eps, not 0, for equal images.
    """

    def __init__(self, eps: Annotated[float, Field(gt=0)] = 1e-3) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        # In half precision eps² would be lost beside 1.
        return ((restored.float() - clean.float()).square() + self.eps**2).sqrt().mean()


@register_loss("tv")
class TotalVariation(nn.Module):
    """Mean difference of neighbours in the restored image, absolute (Rudin et al., 1992; here anisotropic) or squared.

    It asks for smoothness and never looks at the clean image, so it stands beside another term. `power` 2 is the form
    of CinCGAN (Yuan et al., 2018).
    """

    smallest_side = 2
    without_ground_truth = True

    def __init__(self, power: Literal[1, 2] = 1) -> None:
        super().__init__()
        self.power = power

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        image = restored.float()
        return sum(image.diff(dim=side).abs().pow(self.power).mean() for side in (-1, -2))  # type: ignore[return-value]
