"""The adversarial game: what a discriminator and the one it judges pay for its logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpairaug.losses import gan_loss

GameName = Literal["lsgan", "nonsaturating", "hinge", "relativistic"]
Judgement = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Game:
    """What both sides pay for the discriminator's logits."""

    real: Judgement
    """The discriminator, for logits of true images: a scalar."""
    fake: Judgement
    """The discriminator, for logits of made images."""
    fool: Judgement
    """Whoever makes images, for their logits."""
    is_probability: bool = True
    """Whether the sigmoid of a logit is the probability of a true image; else 1 is true and 0 made."""
    needs_true = False
    """Whether the maker's loss depends on the logits of true images."""

    def realness(self, logits: Tensor) -> Tensor:
        """Logits (B, n, h, w) as numbers in [0, 1], the mean over scales (B, 1, h, w): 1 is true, 0 made."""
        mean = logits.float().mean(1, keepdim=True)
        return mean.sigmoid() if self.is_probability else mean.clamp(0, 1)

    def generator_loss(self, discriminator: nn.Module, made: Tensor, true: Tensor) -> Tensor:
        """What whoever made the images (B, 3, H, W) in [0, 1] pays."""
        on_true = discriminator(true).float() if self.needs_true else None
        return self.loss_g(discriminator(made).float(), on_true)

    def discriminator_loss(self, discriminator: nn.Module, made: Tensor, true: Tensor, r1: float = 0.0) -> Tensor:
        """What the discriminator pays, for made images without gradient; `r1` weighs `r1_penalty`."""
        loss = self.loss_d(discriminator(made).float(), discriminator(true).float())
        return loss + r1 * r1_penalty(discriminator, true) if r1 else loss

    def loss_d(self, on_made: Tensor, on_true: Tensor) -> Tensor:
        return (self.real(on_true) + self.fake(on_made)) / 2

    def loss_g(self, on_made: Tensor, on_true: Tensor | None) -> Tensor:
        return self.fool(on_made)


class RelativisticGame(Game):
    """Each side is judged by how far it is above the other's average (Jolicoeur-Martineau, 2019, RaGAN).

    The maker plays the discriminator's game with the sides exchanged (Wang et al., 2018, ESRGAN, eq. 2 and 3). Both
    losses are half of those equations, whose two terms are added where the other games take their mean: ESRGAN's
    weight is half of the one to give here. The averages are over one process's micro-batch, so that even without a
    norm the loss depends on how a batch is divided.
    """

    needs_true = True

    def loss_d(self, on_made: Tensor, on_true: Tensor) -> Tensor:
        return super().loss_d(on_made - on_true.mean(), on_true - on_made.mean())

    def loss_g(self, on_made: Tensor, on_true: Tensor | None) -> Tensor:
        assert on_true is not None, "a relativistic loss compares with true images"
        return self.loss_d(on_made=on_true, on_true=on_made)


# Functions with names: a translator holds its game, and must be picklable into the workers of a loader.
def _yes(logits: Tensor) -> Tensor:
    return F.softplus(-logits).mean()  # -log(sigmoid(logits))


def _no(logits: Tensor) -> Tensor:
    return F.softplus(logits).mean()


def _is_one(logits: Tensor) -> Tensor:
    return gan_loss(logits, is_real=True)


def _is_zero(logits: Tensor) -> Tensor:
    return gan_loss(logits, is_real=False)


def _above_one(logits: Tensor) -> Tensor:
    return F.relu(1 - logits).mean()


def _below_minus_one(logits: Tensor) -> Tensor:
    return F.relu(1 + logits).mean()


def _high(logits: Tensor) -> Tensor:
    return -logits.mean()


GAMES: dict[GameName, Game] = {
    # Goodfellow et al. (2014), the maker's side in the form that does not saturate.
    "nonsaturating": Game(_yes, _no, _yes),
    # Mao et al. (2017).
    "lsgan": Game(_is_one, _is_zero, _is_one, is_probability=False),
    # Lim and Ye (2017), Miyato et al. (2018).
    "hinge": Game(_above_one, _below_minus_one, _high),
    "relativistic": RelativisticGame(_yes, _no, _yes),
}


def r1_penalty(discriminator: nn.Module, true: Tensor) -> Tensor:
    """Half the squared gradient, in an image, of the sum of its logits (Mescheder et al., 2018); the mean over images.

    `true` is (B, C, H, W) in [0, 1]. It grows with the number of patches that see a pixel.
    """
    with torch.autocast(true.device.type, enabled=False):
        seen = true.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(seen).sum(), seen, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean() / 2
