"""A translator with one generator and one discriminator of degraded images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from unpairaug import Translator, register_translator
from unpairaug.rng import Rng, normal


@register_translator("my_translator")
class MyTranslator(Translator):
    """Adds the output of a small network on image and noise; a patch discriminator judges the result."""

    def __init__(self, width: int = 16, lambda_colour: float = 10.0) -> None:
        super().__init__()
        self.generators["degrade"] = nn.Sequential(
            nn.Conv2d(4, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 3, 3, padding=1),
        )
        self.discriminators["degraded"] = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 4, padding=1),
        )
        self.lambda_colour = lambda_colour
        self.smallest_side = 8

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        """The degraded source: (B, 3, h, w) in [0, 1] -> the same shape."""
        noise = normal((len(source), 1, *source.shape[-2:]), source, rng)
        return source + self.generators["degrade"](torch.cat([source, noise], 1))

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """`gan_degrade`, and `colour`, which keeps the means over 8 x 8 pixels at those of the source."""
        colour = F.l1_loss(F.avg_pool2d(fake, 8), F.avg_pool2d(source, 8))
        return {
            "gan_degrade": self.gan_loss(fake, is_real=True),
            "colour": self.lambda_colour * colour,
        }

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """`d_degraded`: the loss of the discriminator."""
        return {"d_degraded": (self.gan_loss(real, is_real=True) + self.gan_loss(fake, is_real=False)) / 2}

    def gan_loss(self, image: Tensor, is_real: bool) -> Tensor:
        """Least-squares GAN loss (Mao et al., 2017): a scalar."""
        logits = self.discriminators["degraded"](image)
        return (logits.float() - float(is_real)).square().mean()
