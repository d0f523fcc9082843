"""A discriminator that judges what a frozen network of timm sees."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unpairaug.networks.backbone import HUB, RANDOM, Backbone
from unpairaug.networks.init import init_gan_weights
from unpairaug.registry import register_discriminator

Layer = Annotated[int, Field(ge=0)]
WHO = "discriminator timm"


@register_discriminator("timm")
class TimmDiscriminator(nn.Module):
    """Judges features of a frozen backbone: (B, 3, H, W) in [0, 1] -> logits (B, layers, h, w).

    After the projected GAN (Sauer et al., 2021, sec. 3), whose default backbone is an EfficientNet-lite: on each layer
    a small network of its own, a 1x1 and a 3x3 convolution; the logits of coarser layers are repeated to the size of
    the finest. Left out are its random mixing of channels and scales, which serves whole pictures more than a camera's
    texture, and its augmentation. Only the small networks learn and are kept in a state.

    Args:
        model: a backbone of timm.
        layers: which of the stages that timm offers as features, from 0; the first ones see texture, the last ones
            what is in the picture.
        ndf: features between the two convolutions.
        weights: the backbone's, as of loss `perceptual`: "hub", "random", or a file.

    Raises:
        UserError: there is no such backbone or layer, or its weights cannot be had.
    """

    def __init__(
        self,
        model: str = "tf_efficientnet_lite0",
        layers: Annotated[tuple[Layer, ...], Field(min_length=1)] = (0, 1, 2),
        ndf: Annotated[int, Field(ge=1)] = 64,
        weights: str = HUB,
    ) -> None:
        super().__init__()
        self.wanted = model, sorted(layers), weights
        stand_in = Backbone(WHO, model, sorted(layers), RANDOM)
        self.heads = nn.ModuleList(_head(width, ndf) for width in stand_in.widths)
        self.heads.apply(init_gan_weights)
        self.smallest_side = stand_in.smallest_side

    @cached_property
    def backbone(self) -> Backbone:
        """What sees, with its weights: no part of this module's own, which are trained, thawed and saved."""
        return Backbone(WHO, *self.wanted)

    def train(self, mode: bool = True) -> TimmDiscriminator:
        # A translator that only degrades is loaded without these weights; whoever trains is told at once if they miss.
        if mode:
            self.backbone.train()
        return super().train(mode)

    def forward(self, image: Tensor) -> Tensor:
        features = self.backbone.to(image.device)(image)
        logits = [head(seen) for head, seen in zip(self.heads, features, strict=True)]
        size = logits[0].shape[-2:]
        return torch.cat([logits[0], *(F.interpolate(one, size) for one in logits[1:])], dim=1)


def _head(width: int, ndf: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, ndf, 1), nn.LeakyReLU(0.2), nn.Conv2d(ndf, 1, 3, padding=1))
