"""CUT: one-sided translation that keeps the content of each place by contrast with other places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from unpairaug.losses import Losses
from unpairaug.losses.adversarial import GAMES, GameName
from unpairaug.networks.generators import Norm, ResnetGenerator, UpMode
from unpairaug.registry import DiscriminatorSpec, discriminators, register_translator
from unpairaug.registry.options import Layers, Mistake
from unpairaug.rng import Rng, uniform
from unpairaug.translator import Translator

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Layer = Annotated[int, Field(ge=0)]


@register_translator("cut")
class CUT(Translator):
    """Contrastive unpaired translation (Park et al., 2020), with the networks of our CycleGAN.

    Between one generator G and one discriminator (eq. 5, λ_X = `lambda_nce`, λ_Y = `lambda_identity`):

        L_GAN(G, D, X, Y) + λ_X · L_NCE(G, H, X) + λ_Y · L_NCE(G, H, Y)

    L_NCE(X) asks that a patch of the fake is more like the patch of the source at its place than like others of the
    same source, in features of G's own first half behind small projections H (`patch_nce_loss`); L_NCE(Y) asks that of
    real images through G, which should leave them as they are. FastCUT is λ_X = 10, λ_Y = 0; its flip equivariance is
    left out, as `data.flip` mirrors the crops themselves. L_NCE is the mean over layers, as in the authors' program,
    where eq. 3 adds them up; that program also takes the mean of both terms, which is λ_X = λ_Y = 0.5 here.
    """

    def __init__(
        self,
        ngf: Positive = 64,
        n_blocks: Layers = 9,
        norm: Norm = "instance",
        up_mode: UpMode = "transpose",
        residual: bool = False,
        discriminator: DiscriminatorSpec = "patch",
        game: GameName = "lsgan",
        r1: NotNegative = 0.0,
        lambda_nce: NotNegative = 1.0,
        lambda_identity: NotNegative = 1.0,
        layers: tuple[Layer, ...] = (0, 1, 2, 3, 7),
        num_patches: Annotated[int, Field(ge=2)] = 256,
        temperature: Annotated[float, Field(gt=0)] = 0.07,
    ) -> None:
        super().__init__()
        generator = ResnetGenerator(ngf, n_blocks, norm, up_mode)
        self.residual = residual
        """Whether G's result, less the grey that it then starts from, is added to the image."""
        if residual:
            nn.init.zeros_(generator.last.weight)
        self.layers, self.num_patches, self.temperature = tuple(layers), num_patches, temperature
        self.generators["degrade"] = generator
        self.generators["project"] = Projections([generator.width_of(layer) for layer in layers])
        self.discriminators["degraded"] = discriminators.build(discriminator)
        self.game, self.r1 = GAMES[game], r1
        self.lambda_nce, self.lambda_identity = lambda_nce, lambda_identity
        # 5 pixels are the fewest that are 2 behind the strides, where a norm and a contrast need more than 1.
        self.smallest_side = max(5, getattr(self.discriminators["degraded"], "smallest_side", 1))

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterable[Mistake]:
        """Layers that the generator has."""
        last = 2 + options["n_blocks"]
        if not options["layers"]:
            yield Mistake(("layers",), "given none, should be one or more of the generator's first half")
        elif (wrong := max(options["layers"])) > last:
            said = f"given {wrong}, should be at most {last}, the last of {options['n_blocks']} residual blocks"
            yield Mistake(("layers",), said)

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        made = self.generators["degrade"](source)
        return source + made - 0.5 if self.residual else made

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`gan_degrade`, `nce_degrade` and, unless its weight is 0, `nce_identity`."""
        losses = {
            "gan_degrade": self.game.generator_loss(self.discriminators["degraded"], fake, real),
            "nce_degrade": self.lambda_nce * self.contrast(fake, source),
        }
        if self.lambda_identity:
            losses["nce_identity"] = self.lambda_identity * self.contrast(self.degrade(real), real)
        return losses

    def contrast(self, made: Tensor, given: Tensor) -> Tensor:
        """L_NCE between what G made and what it was given, both (B, 3, h, w): a scalar."""
        generator = cast("ResnetGenerator", self.generators["degrade"])
        project = cast("Projections", self.generators["project"])
        features = generator.features(made, self.layers)
        places = [self.places(feature) for feature in features]
        queries = project(features, places)
        with torch.no_grad():
            keys = project(generator.features(given, self.layers), places)
        pairs = zip(queries, keys, strict=True)
        return torch.stack([patch_nce_loss(query, key, self.temperature) for query, key in pairs]).mean()

    def places(self, feature: Tensor) -> Tensor:
        """Different places of each feature map (B, C, h, w), at most `num_patches`: (B, P), numbered row by row."""
        area = feature.shape[-2] * feature.shape[-1]
        return uniform((len(feature), area), feature, self.rng).argsort(1)[:, : self.num_patches]

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        return {"d_degraded": self.game.discriminator_loss(self.discriminators["degraded"], fake, real, self.r1)}

    def realness(self, image: Tensor) -> Tensor:
        return self.game.realness(self.discriminators["degraded"](image))


class Projections(nn.Module):
    """H of the paper: for each layer two linear layers of 256 features, whose results have length 1."""

    WIDTH = 256

    def __init__(self, widths: Iterable[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, self.WIDTH), nn.ReLU(), nn.Linear(self.WIDTH, self.WIDTH))
            for width in widths
        )

    def forward(self, features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Of each layer the feature map (B, C, h, w) at its places (B, P), as (B, P, 256)."""
        rows = [rearrange(feature, "b c h w -> b (h w) c") for feature in features]
        chosen = [row.take_along_dim(place[..., None], 1) for row, place in zip(rows, places, strict=True)]
        projected = [layer(row) for layer, row in zip(self.layers, chosen, strict=True)]
        return [F.normalize(vectors.float(), dim=-1) for vectors in projected]


def patch_nce_loss(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """The mean over queries of the cross-entropy of finding each one's own key among all (Park et al., 2020, eq. 2, 3).

        -log(exp(v · v⁺ / τ) / (exp(v · v⁺ / τ) + Σ exp(v · v⁻ / τ)))

    Args:
        queries: (B, P, C), of length 1; v.
        keys: likewise; those of the same image, v⁺ at the query's place and v⁻ at all others.
        temperature: τ.
    """
    with torch.autocast(queries.device.type, enabled=False):  # divided by τ, the error of half precision would show
        likeness = queries.float() @ keys.float().transpose(1, 2) / temperature
    own = torch.arange(likeness.shape[1], device=likeness.device).expand(len(likeness), -1)
    return F.cross_entropy(rearrange(likeness, "b p k -> (b p) k"), rearrange(own, "b p -> (b p)"))
