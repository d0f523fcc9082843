"""What every translator with discriminators shares: the game they play, their pools, their verdict on a place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from unpairaug.losses import Losses
from unpairaug.losses.adversarial import GAMES, GameName
from unpairaug.registry import Spec, discriminators
from unpairaug.translator import Translator
from unpairaug.translators.base.pool import ImagePool


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
            game: what both sides pay for the logits.
            r1: weight of the gradient penalty on real images.
            pool_size: fakes of earlier steps that each discriminator is shown again.
            domains: what is judged.
        """
        super().__init__()
        self.generators.update(generators)
        self.game, self.r1 = GAMES[game], r1
        self.discriminators.update({domain: discriminators.build(discriminator) for domain in domains})
        self.pools = {domain: ImagePool(pool_size) for domain in self.discriminators}
        self.smallest_side = max(getattr(d, "smallest_side", 1) for d in self.discriminators.values())

    def fool(self, domain: str, made: Tensor, true: Tensor) -> Tensor:
        """What a generator pays for the images (B, C, h, w) that it made for a domain."""
        return self.game.generator_loss(self.discriminators[domain], made, true)

    def judge(self, domain: str, real: Tensor, fake: Tensor) -> Tensor:
        """What a domain's discriminator pays for true images and those of its pool, to which the fakes go."""
        pooled = self.pools[domain].query(fake, self.rng)
        return self.game.discriminator_loss(self.discriminators[domain], pooled, real, self.r1)

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`d_degraded`: the discriminator on real images and a pool of fakes."""
        return {"d_degraded": self.judge("degraded", real, fake)}

    def realness(self, image: Tensor) -> Tensor:
        return self.game.realness(self.discriminators["degraded"](image))

    def memory(self) -> dict[str, Tensor]:
        return {f"{domain}.{k}": v for domain, pool in self.pools.items() for k, v in pool.state().items()}

    def load_memory(self, memory: dict[str, Tensor]) -> None:
        for domain, pool in self.pools.items():
            pool.load_state({k.partition(".")[2]: v for k, v in memory.items() if k.startswith(f"{domain}.")})
