"""Adversarial loss of a head: a discriminator tells what it restored from clean images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unpairaug.losses import gan_loss
from unpairaug.networks import Norm, PatchDiscriminator, SRGANDiscriminator
from unpairaug.registry import register_loss

Judgement = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Game:
    """What both sides pay for the discriminator's logits."""

    real: Judgement
    """The discriminator, for logits of clean images: a scalar."""
    fake: Judgement
    """The discriminator, for logits of restored images."""
    fool: Judgement
    """The head, for logits of restored images."""
    needs_clean = False
    """Whether the head's loss depends on the logits of clean images."""

    def loss_d(self, on_restored: Tensor, on_clean: Tensor) -> Tensor:
        return (self.real(on_clean) + self.fake(on_restored)) / 2

    def loss_g(self, on_restored: Tensor, on_clean: Tensor | None) -> Tensor:
        return self.fool(on_restored)


class RelativisticGame(Game):
    """Each side is judged by how far it is above the other's average (Jolicoeur-Martineau, 2019, RaGAN).

    The head plays the discriminator's game with the sides exchanged (Wang et al., 2018, ESRGAN, eq. 2 and 3). Both
    losses are half of those equations, whose two terms are added where the other games take their mean: ESRGAN's
    weight is half of the one to give here. The averages are over one process's micro-batch, so that even without a
    norm the loss depends on how a batch is divided.
    """

    needs_clean = True

    def loss_d(self, on_restored: Tensor, on_clean: Tensor) -> Tensor:
        return super().loss_d(on_restored - on_clean.mean(), on_clean - on_restored.mean())

    def loss_g(self, on_restored: Tensor, on_clean: Tensor | None) -> Tensor:
        assert on_clean is not None, "a relativistic head is compared with clean images"
        return self.loss_d(on_restored=on_clean, on_clean=on_restored)


def _yes(logits: Tensor) -> Tensor:
    return F.softplus(-logits).mean()  # -log(sigmoid(logits))


def _no(logits: Tensor) -> Tensor:
    return F.softplus(logits).mean()


GAMES = {
    # Goodfellow et al. (2014), the head's side in the form that does not saturate.
    "standard": Game(_yes, _no, _yes),
    # Mao et al. (2017).
    "lsgan": Game(lambda x: gan_loss(x, True), lambda x: gan_loss(x, False), lambda x: gan_loss(x, True)),
    # Lim and Ye (2017), Miyato et al. (2018).
    "hinge": Game(lambda x: F.relu(1 - x).mean(), lambda x: F.relu(1 + x).mean(), lambda x: -x.mean()),
    "relativistic": RelativisticGame(_yes, _no, _yes),
}
DISCRIMINATORS = {"srgan": SRGANDiscriminator, "patch": PatchDiscriminator}


@register_loss("gan")
class Adversarial(nn.Module):
    """How well the restored images pass for clean ones, as in SRGAN (Ledig et al., 2017); (B, 3, H, W) in [0, 1].

    The trainer updates `discriminator` by `loss_d`; here it only judges. With norm `batch` it judges an image beside
    the others of one process's micro-batch, so every kind of this loss depends then on how a batch is divided over
    processes and micro-steps; with `instance` or `none`, only the relativistic one does. `patch` is CycleGAN's
    discriminator (Zhu et al., 2017) with norm `instance` alone.
    """

    def __init__(
        self,
        kind: Literal["standard", "lsgan", "hinge", "relativistic"] = "standard",
        discriminator: Literal["srgan", "patch"] = "srgan",
        ndf: Annotated[int, Field(ge=1)] = 64,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        self.game = GAMES[kind]
        self.discriminator = DISCRIMINATORS[discriminator](ndf=ndf, norm=norm)
        self.smallest_side = self.discriminator.smallest_side

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        on_clean = self.discriminator(clean).float() if self.game.needs_clean else None
        return self.game.loss_g(self.discriminator(restored).float(), on_clean)

    def loss_d(self, restored: Tensor, clean: Tensor) -> Tensor:
        """What the discriminator has to learn, from restored images without gradient."""
        return self.game.loss_d(self.discriminator(restored).float(), self.discriminator(clean).float())
