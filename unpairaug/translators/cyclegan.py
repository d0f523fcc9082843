"""CycleGAN between the sources and the real degraded images, as published and as CycleSR has it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unpairaug.losses import Losses, cycle_loss, gan_loss, identity_loss
from unpairaug.networks import Norm, PatchDiscriminator, ResnetGenerator, UpMode
from unpairaug.pool import ImagePool
from unpairaug.registry import register_translator
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
        lambda_cycle: float,
        lambda_identity: float,
        pool_size: int,
    ) -> None:
        super().__init__()
        self.generators.update(generators)
        self.discriminators.update(discriminators)
        self.lambda_cycle, self.lambda_identity = lambda_cycle, lambda_identity
        self.pools = {"degraded": ImagePool(pool_size), "clean": ImagePool(pool_size)}
        self.restored: Tensor | None = None
        # Batch norm would mix the statistics of images that are only computed together to save time.
        self.one_pass = not any(isinstance(m, nn.BatchNorm2d) for m in self.generators.modules())

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        return self.generators["degrade"](source)

    def restore(self, real: Tensor) -> Tensor:
        return self.generators["restore"](real)

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`gan_*`, `cycle_*` and, unless its weight is 0, `identity_*`; each for one generator or one cycle."""
        idt = self.lambda_identity > 0
        restored, reconstructed_source, *same_source = self.together(self.restore, real, fake, *[source] * idt)
        reconstructed_real, *same_real = self.together(self.degrade, restored, *[real] * idt)
        self.restored = restored.detach()
        losses = {
            "gan_degrade": gan_loss(self.discriminators["degraded"](fake), is_real=True),
            "gan_restore": gan_loss(self.discriminators["clean"](restored), is_real=True),
            "cycle_clean": self.lambda_cycle * cycle_loss(reconstructed_source, source),
            "cycle_degraded": self.lambda_cycle * cycle_loss(reconstructed_real, real),
        }
        if idt:
            weight = self.lambda_cycle * self.lambda_identity
            losses["identity_degrade"] = weight * identity_loss(same_real[0], real)
            losses["identity_restore"] = weight * identity_loss(same_source[0], source)
        return losses

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


@register_translator("cyclegan")
class CycleGAN(CycleTranslator):
    """CycleGAN with the networks and settings of Zhu et al. (2017), which are CycleSR's (Chen et al., 2020) too.

    It is deterministic, so it cannot make noise.
    """

    def __init__(
        self,
        ngf: int = 64,
        n_blocks: int = 9,
        norm: Norm = "instance",
        up_mode: UpMode = "transpose",
        ndf: int = 64,
        n_layers_D: int = 3,
        lambda_cycle: float = 10.0,
        lambda_identity: float = 0.5,
        pool_size: int = 50,
    ) -> None:
        super().__init__(
            {name: ResnetGenerator(ngf, n_blocks, norm, up_mode) for name in ("degrade", "restore")},
            {domain: PatchDiscriminator(ndf, n_layers_D, norm) for domain in ("degraded", "clean")},
            lambda_cycle,
            lambda_identity,
            pool_size,
        )
