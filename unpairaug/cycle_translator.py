"""What every translator with a cycle shares: two generators, two discriminators, image pools."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unpairaug.losses import Losses, gan_loss
from unpairaug.pool import ImagePool
from unpairaug.rng import Rng
from unpairaug.translator import Translator


class CycleTranslator(Translator):
    """Two generators, two discriminators, least-squares GAN, image pools and cycle consistency (Zhu et al., 2017).

    In the paper's letters, `degrade` is G with D_Y (`degraded`), `restore` is F with D_X (`clean`).
    """

    def __init__(
        self,
        generators: dict[str, nn.Module],
        discriminators: dict[str, nn.Module],
        pool_size: int,
    ) -> None:
        super().__init__()
        self.generators.update(generators)
        self.discriminators.update(discriminators)
        self.pools = {"degraded": ImagePool(pool_size), "clean": ImagePool(pool_size)}
        self.restored: Tensor | None = None
        # Batch norm would mix the statistics of images that are only computed together to save time.
        self.one_pass = not any(isinstance(m, nn.BatchNorm2d) for m in self.generators.modules())

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        return self.generators["degrade"](source)

    def restore(self, real: Tensor) -> Tensor:
        return self.generators["restore"](real)

    def adversarial(self, fake: Tensor, restored: Tensor) -> Losses:
        """`gan_degrade` and `gan_restore`; the restored images are kept for `losses_d`."""
        self.restored = restored.detach()
        return {
            "gan_degrade": gan_loss(self.discriminators["degraded"](fake), is_real=True),
            "gan_restore": gan_loss(self.discriminators["clean"](restored), is_real=True),
        }

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`d_degraded` and `d_clean`: each discriminator on its own domain and on a pool of fakes."""
        assert self.restored is not None, "losses_d follows losses_g on the same batch"
        shown = {"degraded": (real, fake), "clean": (source, self.restored)}
        return {f"d_{domain}": self.judge(domain, *images) for domain, images in shown.items()}

    def judge(self, domain: str, real: Tensor, fake: Tensor) -> Tensor:
        pooled = self.pools[domain].query(fake, self.rng)
        on_real, on_fake = (self.discriminators[domain](image) for image in (real, pooled))
        return (gan_loss(on_real, is_real=True) + gan_loss(on_fake, is_real=False)) / 2

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
