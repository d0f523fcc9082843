"""What translators with discriminators share: adversarial losses, image pools, realness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from unpairaug.losses import Losses
from unpairaug.losses.adversarial import GAMES, GameName
from unpairaug.registry import Spec, discriminators
from unpairaug.translator import Translator
from unpairaug.translators.base.image_pool import ImagePool


class JudgedTranslator(Translator):
    """Generators, and for each judged domain a discriminator with a pool of the fakes of earlier steps.

    In the paper's letters, discriminator `degraded` is D_Y.
    """

    def __init__(
        self,
        generators: Mapping[str, nn.Module],
        discriminator: str | Spec,
        game: GameName,
        r1: float,
        pool_size: int,
        domains: Iterable[str] = ("degraded",),
    ) -> None:
        """Build the discriminators.

        Args:
            generators: by name.
            discriminator: of each domain.
            game: the adversarial losses of both sides.
            r1: weight of the gradient penalty on real images.
            pool_size: fakes of earlier steps that each discriminator sees again.
            domains: a discriminator for each.
        """
        super().__init__()
        self.generators.update(generators)
        self.game, self.r1 = GAMES[game], r1
        self.discriminators.update({domain: discriminators.build(discriminator) for domain in domains})
        self.pools = {domain: ImagePool(pool_size) for domain in self.discriminators}
        self.smallest_side = max(getattr(d, "smallest_side", 1) for d in self.discriminators.values())

    def generator_loss(self, domain: str, fake: Tensor, real: Tensor) -> Tensor:
        """The adversarial loss of a generator for the images (B, C, h, w) that it made for a domain: a scalar."""
        return self.game.generator_loss(self.discriminators[domain], fake, real)

    def discriminator_loss(self, domain: str, real: Tensor, fake: Tensor) -> Tensor:
        """The loss of a domain's discriminator on real images and on its image pool, to which the fakes are added."""
        pooled = self.pools[domain].query(fake, self.rng)
        return self.game.discriminator_loss(self.discriminators[domain], pooled, real, self.r1)

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`d_degraded`: the discriminator on real images and a pool of fakes."""
        return {"d_degraded": self.discriminator_loss("degraded", real, fake)}

    def realness(self, image: Tensor) -> Tensor:
        return self.game.realness(self.discriminators["degraded"](image))

    def image_pool(self) -> dict[str, Tensor]:
        return {f"{domain}.{k}": v for domain, pool in self.pools.items() for k, v in pool.state().items()}

    def load_image_pool(self, pool: dict[str, Tensor]) -> None:
        for domain, own in self.pools.items():
            own.load_state({k.partition(".")[2]: v for k, v in pool.items() if k.startswith(f"{domain}.")})
