"""Degrades the clean image itself: a blur drawn for each image, which shrinks it, then noise, then a file."""

from __future__ import annotations

from typing import Annotated, cast

from pydantic import Field
from torch import Tensor

from unpairaug.camera.jpeg import as_file
from unpairaug.errors import UserError
from unpairaug.losses.adversarial import GameName
from unpairaug.networks.blur import RandomBlur
from unpairaug.networks.noise import Grain, SensorNoise, SignalDependentNoise
from unpairaug.registry import DiscriminatorSpec, register_translator
from unpairaug.rng import Rng, uniform
from unpairaug.translators.base.one_sided_translator import OneSidedTranslator

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Quality = Annotated[int, Field(ge=1, le=100)]


@register_translator("kernel_noise")
class KernelNoise(OneSidedTranslator):
    """A linear camera (Luo et al., 2022, PDM): each image has a kernel of its own, and noise is added to what it makes.

    The kernel is all that can happen to content, and its weights are positive, sum to 1 and are symmetric: brightness,
    colours and places stay without any loss for them. It can stray far from its middle all the same, where no
    discriminator of high frequencies minds: the tie of low frequencies, which PDM does not have, holds it. Noise is as
    in `one_sided`. Above scale 1 it takes the clean image and the kernel shrinks it; at 1 it takes the source.
    """

    def __init__(
        self,
        scale: Annotated[int, Field(ge=1, le=16)] = 1,
        kernel: Annotated[int, Field(ge=5)] = 13,
        latent: Positive = 8,
        grain: Grain = 3,
        round: bool = True,
        jpeg: tuple[Quality, Quality] | None = None,
        discriminator: DiscriminatorSpec = "texture",
        game: GameName = "lsgan",
        r1: NotNegative = 0.0,
        sigma: Annotated[float, Field(gt=0)] = 2.0,
        lambda_low: NotNegative = 10.0,
        lambda_zero_mean: NotNegative = 1.0,
        pool_size: Annotated[int, Field(ge=0)] = 50,
    ) -> None:
        if kernel < 2 * scale:
            raise UserError(
                f"translator.kernel {kernel} does not reach the next cell at scale {scale}; give {2 * scale}"
            )
        super().__init__(
            {"content": RandomBlur(scale, kernel, latent), "noise": SensorNoise(grain)},
            discriminator,
            game,
            r1,
            sigma,
            lambda_low,
            lambda_zero_mean,
            pool_size,
        )
        self.scale = scale
        self.round = round
        """Whether the fake is on the 256 levels of a file."""
        self.jpeg = jpeg
        """Lowest and highest quality of the JPEG that each fake goes through, drawn for each; None writes none."""

    @property
    def learnt_noise(self) -> SignalDependentNoise:
        return cast("SensorNoise", self.generators["noise"]).dependent

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        """The source, or above scale 1 the clean image (B, C, H, W), as a camera's file: (B, C, H / scale, W / scale).

        The gradient passes through the file as if it changed nothing.
        """
        rng = self.rng if rng is None else rng
        fake = super().degrade(source, rng)
        if self.jpeg is None:
            return as_file(fake) if self.round else fake
        low, high = self.jpeg
        return as_file(fake, low + (high - low) * uniform((len(fake), 1), fake, rng).squeeze(1))

    def content(self, source: Tensor, rng: Rng) -> Tensor:
        return self.generators["content"](source, rng)
