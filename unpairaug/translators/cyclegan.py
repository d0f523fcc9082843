"""CycleGAN between the sources and the real degraded images, as published and as CycleSR has it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from unpairaug.losses import Losses, cycle_loss, identity_loss
from unpairaug.losses.adversarial import GameName
from unpairaug.networks.generators import Norm, ResnetGenerator, UpMode
from unpairaug.registry import DiscriminatorSpec, register_translator
from unpairaug.registry.options import Layers
from unpairaug.translators.base.cycle_translator import CycleTranslator

NotNegative = Annotated[float, Field(ge=0)]


@register_translator("cyclegan")
class CycleGAN(CycleTranslator):
    """CycleGAN with the networks and settings of Zhu et al. (2017), which are CycleSR's (Chen et al., 2020) too.

    It is deterministic, so it cannot make noise.
    """

    def __init__(
        self,
        ngf: int = 64,
        n_blocks: Layers = 9,
        norm: Norm = "instance",
        up_mode: UpMode = "transpose",
        discriminator: DiscriminatorSpec = "patch",
        game: GameName = "lsgan",
        r1: NotNegative = 0.0,
        lambda_cycle: float = 10.0,
        lambda_identity: float = 0.5,
        pool_size: int = 50,
        cycle_every: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        super().__init__(
            {name: ResnetGenerator(ngf, n_blocks, norm, up_mode) for name in ("degrade", "restore")},
            discriminator,
            game,
            r1,
            pool_size,
        )
        self.lambda_cycle, self.lambda_identity = lambda_cycle, lambda_identity
        self.cycle_every = cycle_every
        """Only every so many steps have cycle and identity terms, with weights that many times as large, as StyleGAN2
        has it for its penalties (Karras et al., 2020): fewer passes of the generators."""
        self.training_step = 0

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`gan_*`, `cycle_*` and, unless its weight is 0, `identity_*`; each for one generator or one cycle.

        In the steps between those of `cycle_every`, the last two are 0.
        """
        idt, cycle = self.lambda_identity > 0, self.lambda_cycle * self.cycle_every
        if self.training_step % self.cycle_every:
            left_out = ["cycle_clean", "cycle_degraded", *["identity_degrade", "identity_restore"] * idt]
            zeros = dict.fromkeys(left_out, source.new_zeros(()))
            return {**self.adversarial(source, real, fake, self.restore(real)), **zeros}
        restored, reconstructed_source, *same_source = self.run_as_one_batch(self.restore, real, fake, *[source] * idt)
        reconstructed_real, *same_real = self.run_as_one_batch(self.degrade, restored, *[real] * idt)
        losses = {
            **self.adversarial(source, real, fake, restored),
            "cycle_clean": cycle * cycle_loss(reconstructed_source, source),
            "cycle_degraded": cycle * cycle_loss(reconstructed_real, real),
        }
        if idt:
            weight = cycle * self.lambda_identity
            losses["identity_degrade"] = weight * identity_loss(same_real[0], real)
            losses["identity_restore"] = weight * identity_loss(same_source[0], source)
        return losses
