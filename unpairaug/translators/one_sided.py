"""Degrades only: a residual, noise, and a discriminator of high frequencies; no cycle."""

from __future__ import annotations

from typing import Annotated, cast

from pydantic import Field

from unpairaug.losses.adversarial import GameName
from unpairaug.networks.generators import ResidualGenerator
from unpairaug.networks.noise import Grain, SensorNoise, SignalDependentNoise
from unpairaug.registry import DiscriminatorSpec, register_translator
from unpairaug.registry.options import MAX_LAYERS
from unpairaug.translators.base.one_sided_translator import OneSidedTranslator

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]


@register_translator("one_sided")
class OneSided(OneSidedTranslator):
    """The source, what a few convolutions add to it, and noise in C2N's two branches (Jang et al., 2021).

    As in DSGAN (Fritsche et al., 2019) there is no way back, so nothing to hide for one: the discriminator judges high
    frequencies, and low frequencies of the content are tied to the source's, so colours stay and nothing can shift.
    DSGAN makes no noise. Both the residual and the noise that does not follow the light start from nothing.
    """

    def __init__(
        self,
        width: Positive = 16,
        depth: Annotated[int, Field(ge=2, le=MAX_LAYERS)] = 5,
        grain: Grain = 3,
        discriminator: DiscriminatorSpec = "texture",
        game: GameName = "lsgan",
        r1: NotNegative = 0.0,
        sigma: Annotated[float, Field(gt=0)] = 2.0,
        lambda_low: NotNegative = 10.0,
        lambda_zero_mean: NotNegative = 1.0,
        pool_size: Annotated[int, Field(ge=0)] = 50,
    ) -> None:
        super().__init__(
            {"content": ResidualGenerator(width, depth), "noise": SensorNoise(grain)},
            discriminator,
            game,
            r1,
            sigma,
            lambda_low,
            lambda_zero_mean,
            pool_size,
        )

    @property
    def learnt_noise(self) -> SignalDependentNoise:
        return cast("SensorNoise", self.generators["noise"]).dependent
