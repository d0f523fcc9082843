"""A CycleGAN that can make noise and keeps colour: the translator of the default recipe."""

from __future__ import annotations

from functools import partial
from typing import Annotated, cast

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from unpairaug.losses import Losses, cycle_loss
from unpairaug.losses.adversarial import GameName
from unpairaug.networks.filters import low_pass, radius_of
from unpairaug.networks.generators import NoisyGenerator, ResidualGenerator
from unpairaug.networks.noise import Grain, SignalDependentNoise
from unpairaug.registry import DiscriminatorSpec, register_translator
from unpairaug.registry.options import MAX_LAYERS
from unpairaug.rng import Rng
from unpairaug.translators.base.cycle_translator import CycleTranslator

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]


@register_translator("stochastic_cyclegan")
class StochasticCycleGAN(CycleTranslator):
    """CycleGAN (Zhu et al., 2017) whose `degrade` draws noise, and whose discriminators judge high frequencies only.

    Generators add to the image, starting from nothing, so content stays. Low frequencies are tied to the input's
    (Fritsche et al., 2019), so colours stay and nothing can shift. The cycles have no say in the noise: it cannot be
    undone, so they would teach it to vanish; and a real image's own noise cannot come back, so its cycle compares low
    frequencies.

    With a measured camera the generator learns only what the measurement leaves: the ties hold to what the optics show,
    noise starts at the real images', and `degrade` ends in a JPEG file where real images were cut from such.
    """

    applies_camera = True

    def __init__(
        self,
        width: Positive = 16,
        depth: Annotated[int, Field(ge=2, le=MAX_LAYERS)] = 5,
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
        self.parts: tuple[Tensor, Tensor] | None = None
        """The newest source as the optics show it, and the fake without its noise: from `degrade` for `losses_g`."""

    @property
    def learnt_noise(self) -> SignalDependentNoise:
        return self._generator.noise

    @property
    def _generator(self) -> NoisyGenerator:
        return cast("NoisyGenerator", self.generators["degrade"])

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        seen = self._apply_optics(source)
        content = self._generator.content(seen)
        self.parts = (seen, content) if self.training else None
        fake = content + self._generator.noise(seen, self.rng if rng is None else rng)
        return fake if self.training else self._apply_jpeg(fake)

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`gan_*` and `cycle_*` as in CycleGAN, and `low_*`: the ties of low frequencies."""
        assert self.parts is not None, "losses_g follows degrade on the same batch"
        low = partial(low_pass, sigma=self.sigma)
        (seen, content), self.parts = self.parts, None  # nothing holds on to the graph
        with_given_noise = content + (fake - content).detach()
        restored, reconstructed_source = self.run_as_one_batch(self.restore, real, with_given_noise)
        restored_seen = self._apply_optics(restored)
        return {
            **self.adversarial(source, real, self._apply_jpeg(fake), restored),
            "cycle_clean": self.lambda_cycle * cycle_loss(reconstructed_source, source),
            "cycle_degraded": self.lambda_cycle * cycle_loss(low(self._generator.content(restored_seen)), low(real)),
            "low_degrade": self.lambda_low * F.l1_loss(low(fake), low(seen)),
            "low_restore": self.lambda_low * F.l1_loss(low(restored_seen), low(real)),
        }

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """As in CycleGAN; the discriminators see files where the real images come from files."""
        return super().losses_d(source, real, self._apply_jpeg(fake))

    def _apply_optics(self, image: Tensor) -> Tensor:
        return image if self.camera is None else self.camera.apply_optics(image)

    def _apply_jpeg(self, image: Tensor) -> Tensor:
        return image if self.camera is None else self.camera.apply_jpeg(image)
