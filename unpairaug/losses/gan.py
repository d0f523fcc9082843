"""Adversarial loss of a head: a discriminator tells what it restored from clean images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from unpairaug.losses.adversarial import GAMES, GameName
from unpairaug.registry import DiscriminatorSpec, discriminators, register_loss


@register_loss("gan")
class Adversarial(nn.Module):
    """How well the restored images pass for clean ones, as in SRGAN (Ledig et al., 2017); (B, 3, H, W) in [0, 1].

    The trainer updates `discriminator` by `loss_d`; here it only judges. A discriminator with norm `batch` judges an
    image beside the others of one process's micro-batch, so every game depends then on how a batch is divided over
    processes and micro-steps; with `instance` or `none`, only the relativistic one does.
    """

    without_ground_truth = True

    def __init__(
        self,
        game: GameName = "nonsaturating",
        discriminator: DiscriminatorSpec = "srgan",
        r1: Annotated[float, Field(ge=0)] = 0.0,
    ) -> None:
        super().__init__()
        self.game, self.r1 = GAMES[game], r1
        self.discriminator = discriminators.build(discriminator)
        self.smallest_side = getattr(self.discriminator, "smallest_side", 1)

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        return self.game.generator_loss(self.discriminator, restored, clean)

    def loss_d(self, restored: Tensor, clean: Tensor) -> Tensor:
        """What the discriminator has to learn, from restored images without gradient."""
        return self.game.discriminator_loss(self.discriminator, restored, clean, self.r1)
