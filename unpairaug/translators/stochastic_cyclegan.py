"""A CycleGAN that can make noise and keeps colour: the translator of the default recipe."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, cast

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from unpairaug.camera.jpeg import SMALLEST, JpegFile, quality_of
from unpairaug.camera.noise import MeasuredNoise, noise_before
from unpairaug.camera.optics import LIFT_OF_SCENES, Lens
from unpairaug.camera.spectra import MIDDLES
from unpairaug.losses import Losses, cycle_loss
from unpairaug.losses.adversarial import GameName
from unpairaug.networks.filters import low_pass, radius_of
from unpairaug.networks.generators import NoisyGenerator, ResidualGenerator
from unpairaug.networks.noise import Grain
from unpairaug.registry import DiscriminatorSpec, register_translator
from unpairaug.rng import Rng
from unpairaug.translators.base.cycle_translator import CycleTranslator

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]


@register_translator("stochastic_cyclegan")
class StochasticCycleGAN(CycleTranslator):
    """CycleGAN (Zhu et al., 2017) whose `degrade` draws noise, and whose discriminators judge high frequencies only.

    Generators add to the image, starting from nothing, so content stays. Low frequencies are tied to what goes in
    (Fritsche et al., 2019), so colours stay and nothing can shift. The cycles have no say in the noise: it cannot be
    undone, so they would teach it to vanish; and a real image's own noise cannot come back, so its cycle compares low
    frequencies.

    With `lens: measured`, what the camera's optics do to each frequency is read off the images before training, and the
    generator learns only what is left: the ties then hold to what the lens shows, and noise starts at the real images'.
    Where they were cut from JPEG files, their quality is read, too, and `degrade` ends in such a file. With
    `lens: same`, clean images were seen by the same optics, as those of a denoiser are: all but the optics is measured.
    """

    DOUBT_OF_LIFT = 120.0
    """`doubt` in 8-bit steps for a gain that is 1 more than what other scenes explain."""
    MISTRUST_OF_LIFT, LEAST_TRUST = 6.0, 0.5
    """What such a gain takes from `trust`, which is no less than this."""
    NOISE_START = 0.5, 25.0
    """Least and greatest standard deviation, in 8-bit steps, that noise starts at: enough to be noticed."""

    def __init__(
        self,
        width: Positive = 16,
        depth: Annotated[int, Field(ge=2)] = 5,
        discriminator: DiscriminatorSpec = "texture",
        game: GameName = "lsgan",
        r1: NotNegative = 0.0,
        sigma: Annotated[float, Field(gt=0)] = 2.0,
        grain: Grain = 3,
        lambda_cycle: float = 1.0,
        lambda_low: float = 10.0,
        pool_size: int = 50,
        lens: Literal["none", "same", "measured"] = "none",
    ) -> None:
        self.measures, self.has_own_lens = lens != "none", lens == "measured"
        super().__init__(
            {
                "degrade": NoisyGenerator(width, depth, grain, lens=self.measures),
                "restore": ResidualGenerator(width, depth),
            },
            discriminator,
            game,
            r1,
            pool_size,
        )
        self.smallest_side = max(self.smallest_side, radius_of(sigma) + 1, SMALLEST if self.measures else 1)
        self.sigma = sigma
        """Width in pixels of the Gaussian whose low frequencies are tied."""
        self.lambda_cycle, self.lambda_low = lambda_cycle, lambda_low
        self.parts: tuple[Tensor, Tensor] | None = None
        """The newest source as the lens shows it, and the fake without its noise: from `degrade` for `losses_g`."""

    @property
    def doubt(self) -> Tensor:
        return self.degrading.doubt

    @property
    def trust(self) -> Tensor:
        return self.degrading.trust

    def measure(self, source: Tensor, real: Tensor, scenes: int) -> dict[str, float]:
        """The lens, unless both sides have the same, makes sources as sharp as real images, and noise starts at theirs.

        No optics lift a frequency: a camera that does has sharpened, which is not linear, and noise and a weaker
        translation stand for the rest of that. Returns the standard deviation of the noise in 8-bit steps and the share
        of its variance that grows with the light; with a lens of its own, its gain by frequency in cycles per pixel,
        the `doubt` and the `trust`; and the quality of the files, where there are any.
        """
        degrading = self.degrading
        gain, noise = cast("Lens", degrading.lens).measure(source, real, scenes, is_same=not self.has_own_lens)
        lift = max(float(gain.max()) - 1 - LIFT_OF_SCENES, 0.0)
        doubt, trust = self.DOUBT_OF_LIFT * lift, max(self.LEAST_TRUST, 1 - self.MISTRUST_OF_LIFT * lift)
        degrading.doubt.fill_(doubt)
        degrading.trust.fill_(trust)
        cast("JpegFile", degrading.file).set(quality := quality_of(real) or 0)
        if quality:
            noise = noise_before(degrading.file, degrading.lens(source), real)
        self._start_noise(noise, least=doubt / 2)
        gains = {f"gain_{frequency:.3f}": float(g) for frequency, g in zip(MIDDLES, gain, strict=True)}
        optics = {**gains, "doubt": doubt, "trust": trust} if self.has_own_lens else {}
        files = {"jpeg": float(quality)} if quality else {}
        return {**optics, "noise": noise.level, "noise_growth": noise.growth, **files}

    def _start_noise(self, noise: MeasuredNoise, least: float) -> None:
        """Start at the measured noise, or at `least` 8-bit steps: what is not measured stands for the unknown."""
        low, high = self.NOISE_START
        unknown = max(max(least, low) ** 2 - noise.level**2, 0.0)
        black, white = (min((noise.variance(light) + unknown) ** 0.5, high) / 255 for light in (0.0, 1.0))
        seen = noise.level**2 / (noise.level**2 + unknown)
        self.degrading.noise.start_at(black, white)
        self.degrading.noise.start_with(seen * noise.energy + 1 - seen, seen * noise.shared)  # the rest is white

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        seen = self.degrading.lens(source)
        content = self.degrading.content(seen)
        self.parts = (seen, content) if self.training else None
        fake = content + self.degrading.noise(seen, self.rng if rng is None else rng)
        return fake if self.training else self.filed(fake)

    def filed(self, seen: Tensor) -> Tensor:
        return self.degrading.file(seen)

    @property
    def degrading(self) -> NoisyGenerator:
        return cast("NoisyGenerator", self.generators["degrade"])

    def losses_g(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """`gan_*` and `cycle_*` as in CycleGAN, and `low_*`: the ties of low frequencies."""
        assert self.parts is not None, "losses_g follows degrade on the same batch"
        low = partial(low_pass, sigma=self.sigma)
        (seen, content), self.parts = self.parts, None  # nothing holds on to the graph
        given_noise = content + (fake - content).detach()
        restored, reconstructed_source = self.together(self.restore, real, given_noise)
        restored_seen = self.degrading.lens(restored)
        return {
            **self.adversarial(source, real, self.filed(fake), restored),
            "cycle_clean": self.lambda_cycle * cycle_loss(reconstructed_source, source),
            "cycle_degraded": self.lambda_cycle * cycle_loss(low(self.degrading.content(restored_seen)), low(real)),
            "low_degrade": self.lambda_low * F.l1_loss(low(fake), low(seen)),
            "low_restore": self.lambda_low * F.l1_loss(low(restored_seen), low(real)),
        }

    def losses_d(self, source: Tensor, real: Tensor, fake: Tensor) -> Losses:
        """As in CycleGAN; the discriminators see files where the real images come from files."""
        return super().losses_d(source, real, self.filed(fake))
