"""A small discriminator of high frequencies."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from unpairaug.networks.filters import low_pass, radius_of
from unpairaug.registry import register_discriminator
from unpairaug.registry.options import Layers

Positive = Annotated[int, Field(ge=1)]


@register_discriminator("texture")
class TextureDiscriminator(nn.Module):
    """Judges high frequencies in small patches: (B, C, H, W) in [0, 1] -> logits (B, 1, h, w).

    It sees the image less its low-pass of `sigma` pixels (Fritsche et al., 2019), so colour and content are none of its
    business. `n_layers` 3x3 convolutions, of which all but the first have stride 2; 2 see patches of 9x9 pixels beside
    the low-pass.
    """

    GAIN = 10.0
    """High frequencies are weak; this brings them to about the size that the weights start for."""

    def __init__(self, ndf: Positive = 32, n_layers: Layers = 2, sigma: Annotated[float, Field(gt=0)] = 2.0) -> None:
        super().__init__()
        self.sigma = sigma
        self.smallest_side = radius_of(sigma) + 1
        layers: list[nn.Module] = []
        for i, before in enumerate([3, *[ndf] * (n_layers - 1)]):
            layers += [nn.Conv2d(before, ndf, 3, 2 if i else 1, padding=1), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Conv2d(ndf, 1, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        return self.body(self.GAIN * (image - low_pass(image, self.sigma)))
