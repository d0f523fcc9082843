"""Perceptual loss: distance between features of a network that was trained to recognise things."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unpairaug.errors import UserError
from unpairaug.networks.backbone import HUB, Backbone
from unpairaug.registry import register_loss

Layer = Annotated[int, Field(ge=0)]


@register_loss("perceptual")
class Perceptual(nn.Module):
    """L1 distance of features of the images (B, 3, H, W) in [0, 1] (Johnson et al., 2016; L1 as in Wang et al., 2018).

    The default is VGG-19's last activation before its fifth pooling, SRGAN's φ5,4 (Ledig et al., 2017).

    Args:
        model: a backbone of timm.
        layers: which of the stages that timm offers as features, from 0.
        layer_weights: the weight of each of them; None weighs each 1.
        weights: the backbone's weights: "hub" downloads those that timm names, "random" keeps random ones (the same
            in every run), anything else is a .safetensors or .pth file in timm's names.

    Raises:
        UserError: there is no such backbone or layer, or its weights cannot be had.
    """

    def __init__(
        self,
        model: str = "vgg19",
        layers: tuple[Layer, ...] = (4,),
        layer_weights: tuple[float, ...] | None = None,
        weights: str = HUB,
    ) -> None:
        super().__init__()
        self.layer_weights = (1.0,) * len(layers) if layer_weights is None else layer_weights
        if not layers or len(self.layer_weights) != len(layers):
            raise UserError(
                f"perceptual loss: {len(layers)} layers and {len(self.layer_weights)} layer_weights; give as many"
            )
        self.features = Backbone("perceptual loss", model, layers, weights)
        self.smallest_side = self.features.smallest_side
        self.eval()

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.features(clean)
        pairs = zip(self.layer_weights, self.features(restored), wanted, strict=True)
        return torch.stack([weight * F.l1_loss(got.float(), want.float()) for weight, got, want in pairs]).sum()
