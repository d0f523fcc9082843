"""What every translator with a cycle shares: two generators, two discriminators, image pools."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unpairaug.adversarial import GAMES, GameName
from unpairaug.losses import Losses
from unpairaug.pool import ImagePool
from unpairaug.registry import Spec, discriminators
from unpairaug.rng import Rng
from unpairaug.translator import Translator


class CycleTranslator(Translator):
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
            game: what both sides pay for the logits.
            r1: weight of the gradient penalty on real images.
            pool_size: fakes of earlier steps that each discriminator is shown again.
        """
        super().__init__()
        self.generators.update(generators)
        self.game, self.r1 = GAMES[game], r1
        self.discriminators.update({domain: discriminators.build(discriminator) for domain in ("degraded", "clean")})
        self.smallest_side = max(getattr(d, "smallest_side", 1) for d in self.discriminators.values())
        self.pools = {"degraded": ImagePool(pool_size), "clean": ImagePool(pool_size)}
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
            "gan_degrade": self.game.generator_loss(self.discriminators["degraded"], fake, real),
            "gan_restore": self.game.generator_loss(self.discriminators["clean"], restored, source),
        }

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`d_degraded` and `d_clean`: each discriminator on its own domain and on a pool of fakes."""
        assert self.restored is not None, "losses_d follows losses_g on the same batch"
        shown = {"degraded": (real, fake), "clean": (source, self.restored)}
        return {f"d_{domain}": self.judge(domain, *images) for domain, images in shown.items()}

    def judge(self, domain: str, real: Tensor, fake: Tensor) -> Tensor:
        pooled = self.pools[domain].query(fake, self.rng)
        return self.game.discriminator_loss(self.discriminators[domain], pooled, real, self.r1)

    def realness(self, image: Tensor) -> Tensor:
        return self.game.realness(self.discriminators["degraded"](image))

    def together(self, generator: Callable[[Tensor], Tensor], *images: Tensor) -> list[Tensor]:
        """The generator's result for each batch, computed in one pass where that changes nothing."""
        if not self.one_pass:
            return [generator(image) for image in images]
        return list(generator(torch.cat(images)).chunk(len(images)))

    def memory(self) -> dict[str, Tensor]:
        return {f"{domain}.{k}": v for domain, pool in self.pools.items() for k, v in pool.state().items()}

    def load_memory(self, memory: dict[str, Tensor]) -> None:
        for domain, pool in self.pools.items():
            pool.load_state({k.partition(".")[2]: v for k, v in memory.items() if k.startswith(f"{domain}.")})
