"""What translators share that degrade only: content and noise apart, one discriminator, no cycle."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from unpairaug.losses import Losses, zero_mean_loss
from unpairaug.losses.adversarial import GameName
from unpairaug.networks.filters import low_pass, radius_of
from unpairaug.registry import Spec
from unpairaug.rng import Rng
from unpairaug.translators.base.judged_translator import JudgedTranslator


class OneSidedTranslator(JudgedTranslator):
    """`degrade` is what generator `content` makes of an image, plus noise that generator `noise` makes for that.

    Low frequencies of the content are tied to the source's (Fritsche et al., 2019), so colours stay, and nothing strays
    where discriminators of high frequencies do not look. Noise is added, so it cannot change the content, and its mean
    is held at zero (Jang et al., 2021).
    """

    def __init__(
        self,
        generators: Mapping[str, nn.Module],
        discriminator: str | Spec,
        game: GameName,
        r1: float,
        sigma: float,
        lambda_low: float,
        lambda_zero_mean: float,
        pool_size: int,
    ) -> None:
        """Build the discriminator.

        Args:
            generators: `content` and `noise`.
            discriminator: of degraded images.
            game: the adversarial losses of both sides.
            r1: weight of the gradient penalty on real images.
            sigma: width in pixels of the Gaussian whose low frequencies are tied.
            lambda_low: weight of `low_degrade`.
            lambda_zero_mean: weight of `zero_mean`.
            pool_size: fakes of earlier steps that the discriminator sees again.
        """
        super().__init__(generators, discriminator, game, r1, pool_size)
        self.smallest_side = max(self.smallest_side, radius_of(sigma) + 1)
        self.sigma, self.lambda_low, self.lambda_zero_mean = sigma, lambda_low, lambda_zero_mean
        self.parts: tuple[Tensor, Tensor] | None = None
        """Content and noise of the newest fake, from `degrade` for `losses_g`."""

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        rng = self.rng if rng is None else rng
        content = self.content(source, rng)
        noise = self.generators["noise"](content, rng)
        self.parts = (content, noise) if self.training else None
        return content + noise

    def content(self, source: Tensor, rng: Rng) -> Tensor:
        """The degraded image without its noise, (B, C, h, w)."""
        return self.generators["content"](source)

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`gan_degrade`; `low_degrade`, which ties low frequencies of the content to the source's; `zero_mean`."""
        assert self.parts is not None, "losses_g follows degrade on the same batch"
        (content, noise), self.parts = self.parts, None  # nothing holds on to the graph
        low = partial(low_pass, sigma=self.sigma)
        return {
            "gan_degrade": self.generator_loss("degraded", fake, real),
            "low_degrade": self.lambda_low * F.l1_loss(low(content), low(source)),
            "zero_mean": self.lambda_zero_mean * zero_mean_loss(noise),
        }
