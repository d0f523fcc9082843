"""What every translator with a cycle shares: two generators, two discriminators, image pools."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unpairaug.losses import Losses
from unpairaug.losses.adversarial import GameName
from unpairaug.registry import Spec
from unpairaug.rng import Rng
from unpairaug.translators.base.judged_translator import JudgedTranslator


class CycleTranslator(JudgedTranslator):
    """Two generators, two discriminators, image pools and cycle consistency (Zhu et al., 2017).

    In the paper's letters, `degrade` is G with D_Y (`degraded`), `restore` is F with D_X (`clean`).
    """

    def __init__(
        self,
        generators: dict[str, nn.Module],
        discriminator: str | Spec,
        game: GameName,
        r1: float,
        pool_size: int,
    ) -> None:
        """Build the discriminators, one for each domain.

        Args:
            generators: `degrade` and `restore`.
            discriminator: of each domain.
            game: the adversarial losses of both sides.
            r1: weight of the gradient penalty on real images.
            pool_size: fakes of earlier steps that each discriminator sees again.
        """
        super().__init__(generators, discriminator, game, r1, pool_size, domains=("degraded", "clean"))
        self.restored: Tensor | None = None
        # Batch norm would mix the statistics of images that are only computed together to save time.
        self.one_pass = not any(isinstance(m, nn.BatchNorm2d) for m in self.generators.modules())

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        return self.generators["degrade"](source)

    def restore(self, real: Tensor) -> Tensor:
        return self.generators["restore"](real)

    def adversarial(self, source: Tensor, real: Tensor, fake: Tensor, restored: Tensor) -> Losses:
        """`gan_degrade` and `gan_restore`; the restored images are kept for `losses_d`."""
        self.restored = restored.detach()
        return {
            "gan_degrade": self.generator_loss("degraded", fake, real),
            "gan_restore": self.generator_loss("clean", restored, source),
        }

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`d_degraded` and `d_clean`: each discriminator on its own domain and on a pool of fakes."""
        assert self.restored is not None, "losses_d follows losses_g on the same batch"
        shown = {"degraded": (real, fake), "clean": (source, self.restored)}
        return {f"d_{domain}": self.discriminator_loss(domain, *images) for domain, images in shown.items()}

    def run_as_one_batch(self, generator: Callable[[Tensor], Tensor], *images: Tensor) -> list[Tensor]:
        """The generator's result for each batch, computed in one pass where that changes nothing."""
        if not self.one_pass:
            return [generator(image) for image in images]
        return list(generator(torch.cat(images)).chunk(len(images)))
