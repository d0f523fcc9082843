"""A CycleGAN that can make noise and keeps colour: the translator of the default recipe."""

from __future__ import annotations

from functools import partial
from typing import Annotated, cast

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from unpairaug.adversarial import GameName
from unpairaug.cycle_translator import CycleTranslator
from unpairaug.losses import Losses, cycle_loss
from unpairaug.networks import NoisyGenerator, ResidualGenerator, low_pass, radius_of
from unpairaug.noise import Grain
from unpairaug.registry import DiscriminatorSpec, register_translator
from unpairaug.rng import Rng

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]


@register_translator("stochastic_cyclegan")
class StochasticCycleGAN(CycleTranslator):
    """CycleGAN (Zhu et al., 2017) whose `degrade` draws noise, and whose discriminators judge high frequencies only.

    Generators add to the image, starting from nothing, so content stays. Low frequencies are tied to what goes in
    (Fritsche et al., 2019), so colours stay and nothing can shift. The cycles have no say in the noise: it cannot be
    undone, so they would teach it to vanish; and a real image's own noise cannot come back, so its cycle compares low
    frequencies.
    """

    def __init__(
        self,
        width: Positive = 16,
        depth: Annotated[int, Field(ge=2)] = 5,
        discriminator: DiscriminatorSpec = "texture",
        game: GameName = "lsgan",
        r1: NotNegative = 0.0,
        sigma: Annotated[float, Field(gt=0)] = 2.0,
        grain: Grain = 3,
        lambda_cycle: float = 1.0,
        lambda_low: float = 10.0,
        pool_size: int = 50,
    ) -> None:
        super().__init__(
            {"degrade": NoisyGenerator(width, depth, grain), "restore": ResidualGenerator(width, depth)},
            discriminator,
            game,
            r1,
            pool_size,
        )
        self.smallest_side = max(self.smallest_side, radius_of(sigma) + 1)
        self.sigma = sigma
        """Width in pixels of the Gaussian whose low frequencies are tied."""
        self.lambda_cycle, self.lambda_low = lambda_cycle, lambda_low
        self.content: Tensor | None = None
        """The newest fake without its noise, from `degrade` for `losses_g`."""

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        content = self.degrading.content(source)
        self.content = content if self.training else None
        return content + self.degrading.noise(source, self.rng if rng is None else rng)

    @property
    def degrading(self) -> NoisyGenerator:
        return cast("NoisyGenerator", self.generators["degrade"])

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`gan_*` and `cycle_*` as in CycleGAN, and `low_*`: the ties of low frequencies."""
        assert self.content is not None, "losses_g follows degrade on the same batch"
        low = partial(low_pass, sigma=self.sigma)
        given_noise = self.content + (fake - self.content).detach()
        self.content = None  # nothing holds on to the graph
        restored, reconstructed_source = self.together(self.restore, real, given_noise)
        reconstructed_real = self.degrading.content(restored)
        return {
            **self.adversarial(source, real, fake, restored),
            "cycle_clean": self.lambda_cycle * cycle_loss(reconstructed_source, source),
            "cycle_degraded": self.lambda_cycle * cycle_loss(low(reconstructed_real), low(real)),
            "low_degrade": self.lambda_low * F.l1_loss(low(fake), low(source)),
            "low_restore": self.lambda_low * F.l1_loss(low(restored), low(real)),
        }
