"""CinCGAN's inner cycle: real degraded images are restored, and nothing but the way back degrades."""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from unpairaug.losses import Losses, identity_loss
from unpairaug.losses.adversarial import GAMES, GameName
from unpairaug.networks.generators import PlainGenerator
from unpairaug.registry import DiscriminatorSpec, discriminators, losses, register_translator
from unpairaug.registry.options import Layers
from unpairaug.rng import Rng
from unpairaug.translator import Phase, Translator
from unpairaug.translators.base.image_pool import ImagePool

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
PATCHES_OF_16 = {"type": "patch", "n_layers": 3, "stride": 1, "norm": "batch"}


@register_translator("cincgan")
class CinCGAN(Translator):
    """The inner cycle of CinCGAN (Yuan et al., 2018): G1 is `restore`, G2 `degrade`, D1 `clean`.

    There is no official code; the forms of the terms are those in which re-implementations agree. They are divided over
    the generators' norm: in a few hundred steps batch norm comes nearer to leaving clean images alone, so it is the
    default (docs/results/lab_book.md has the figures). `residual` generators, which no article has, begin there.
    """

    def __init__(
        self,
        width: Positive = 64,
        n_blocks: Layers = 6,
        norm: Literal["batch", "none"] = "batch",
        residual: bool = False,
        discriminator: DiscriminatorSpec = PATCHES_OF_16,
        game: GameName = "lsgan",
        r1: NotNegative = 0.0,
        lambda_cycle: NotNegative = 10.0,
        cycle_power: Literal[1, 2] = 2,
        lambda_identity: NotNegative = 5.0,
        lambda_identity_joint: NotNegative = 1.0,
        lambda_tv: NotNegative = 0.5,
        pool_size: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__()
        self.generators.update(
            {name: PlainGenerator(width, 1, n_blocks, norm, residual) for name in ("degrade", "restore")}
        )
        self.discriminators["clean"] = discriminators.build(discriminator)
        self.smallest_side = max(2, getattr(self.discriminators["clean"], "smallest_side", 1))
        self.game, self.r1 = GAMES[game], r1
        self.lambda_cycle, self.cycle_loss = lambda_cycle, F.l1_loss if cycle_power == 1 else F.mse_loss
        self.lambda_identity, self.lambda_identity_joint = lambda_identity, lambda_identity_joint
        self.lambda_tv, self.tv = lambda_tv, losses.build("tv", power=2)
        self.pool = ImagePool(pool_size)
        self.restored: Tensor | None = None
        self.phase: Phase = "joint"

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        return self.generators["degrade"](source)

    def restore(self, real: Tensor) -> Tensor:
        return self.generators["restore"](real)

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`gan_restore`, `cycle_degraded`, `identity_restore` and `tv_restore`; the fake is not needed."""
        restored = self.restore(real)
        self.restored = restored.detach()
        identity = self.lambda_identity_joint if self.phase == "joint" else self.lambda_identity
        return {
            "gan_restore": self.game.generator_loss(self.discriminators["clean"], restored, source),
            "cycle_degraded": self.lambda_cycle * self.cycle_loss(self.degrade(restored), real),
            "identity_restore": identity * identity_loss(self.restore(source), source),
            "tv_restore": self.lambda_tv * self.tv(restored, source),
        }

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`d_clean`: sources are told from restored images."""
        assert self.restored is not None, "losses_d follows losses_g on the same batch"
        shown = self.pool.query(self.restored, self.rng)
        return {"d_clean": self.game.discriminator_loss(self.discriminators["clean"], shown, source, self.r1)}

    def image_pool(self) -> dict[str, Tensor]:
        return self.pool.state()

    def load_image_pool(self, pool: dict[str, Tensor]) -> None:
        self.pool.load_state(pool)
