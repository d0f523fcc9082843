"""What a camera's optics do to each spatial frequency, and its noise, measured on unpaired crops before any training.

Two unpaired sets show other scenes, so their mean spectra say little. But the sharpest places of any set of photographs
are much alike: there, how much fine detail stands beside the coarse is what the optics leave of an edge. So the gain of
a camera is the one that gives the clean crops, filtered by it, the same quantiles of that ratio as the real ones have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpairaug.camera.noise import MeasuredNoise, shared_by_channels
from unpairaug.camera.sharpness import (
    DULL,
    FAINTEST,
    ROUNDING,
    SHARP,
    STEEPEST,
    calm_energy,
    contrast_above,
    contrasted,
    light_ends,
    sharpness,
)
from unpairaug.camera.spectra import BANDS, COARSE, Windows, kernel_of, level, windows_of

DULL_WEIGHT = 2.0
"""What the dull windows count beside the sharp ones, with `SCENES` of them; less with fewer."""
KEPT, SMOOTH, LIFT, CALMNESS, EVEN = 10.0, 50.0, 5.0, 0.5, 0.2
"""How much is paid for a gain other than 1 in the lowest ring, since ratios tell of no level and no optics change it;
for one that bends over the frequencies; for one above 1, as few lenses have it; for noise other than that of calm
windows; and for noise of which not half grows with the light. The last four are divided by the number of scenes: the
fewer, the more of what they show is their own."""
VALLEY, BENT_NOISE, STEEP_NOISE = 2.0, 1.0, 0.1
"""The same for a gain that rises again after it fell below 1, which neither optics nor sharpening do; for noise that
bends over the frequencies; and for noise steeper than `STEEPEST`."""
SCENES = 50
"""From this number on, more of them are trusted no more."""
LIFT_OF_SCENES, LIFT_SPREAD = 0.06, 0.012
"""The lift (largest gain, minus 1) of which half is believed, because other scenes alone seem to lift by a few
hundredths; and the width of the logistic law of that belief."""
STEPS, RATE = 200, 0.05
TRIALS = 3
GUESSED_ON = 2048
"""Crops of each side on which all trials but the last are made."""
FIT_STEPS = TRIALS * STEPS
Progress = Callable[[Iterable[int]], Iterator[int]]
"""Passes the steps of the fit on, and may show how many are done."""
ANY, SAME = (0.0, math.inf), (1.0, 1.0)
"""Least and greatest gain: of anything, and where both sides have the same optics."""


LARGE_IMAGE = 128
"""Shortest side in pixels from which a CPU filters by FFT, which is faster there."""
FAST_SIDES = 32
"""Sides in pixels are padded to multiples of this for the FFT, which is slow for sides with large prime factors."""


def believe_lift(lift: float) -> float:
    """How far a measured lift is the camera's and not of other scenes, in [0, 1]: logistic, without a threshold.

    Fitted on cameras of both kinds: those that only blur seem to lift by up to 0.03, and City100's photographs, blurred
    until they lift by 0.09, still need the bridge of a camera that sharpens.
    """
    odds = lift_odds(lift)
    return odds / (1 + odds)


def lift_odds(lift: float) -> float:
    """Odds that a lift is the camera's: 0 without lift, 1 near `LIFT_OF_SCENES`."""
    none, odds = (math.exp(min((each - LIFT_OF_SCENES) / LIFT_SPREAD, 100.0)) for each in (0.0, lift))
    return (odds - none) / (1 + none)


class MeasuredOptics(NamedTuple):
    """What `Optics.measure` finds."""

    gain: Tensor
    """Gain of each ring of frequencies, (BANDS + 1,)."""
    noise: MeasuredNoise
    """Noise of the real images."""
    lift: float
    """Largest gain minus 1, before lifts of other scenes are taken away; 0 where no frequency is lifted."""


class Optics(nn.Module):
    """A fixed symmetric filter of images (B, C, H, W), one for all channels; it changes nothing until `measure`."""

    def __init__(self, side: int = 15) -> None:
        super().__init__()
        kernel = torch.zeros(side, side)
        kernel[side // 2, side // 2] = 1
        self.register_buffer("kernel", kernel)
        self.kernel: Tensor
        self.allow_fft = True
        """Whether large images may be filtered by FFT; an exported file has one way for all sizes."""
        self.fft_dtype = torch.float64
        """Precision of the FFT: in double precision tiles and whole images round alike; single takes half the time."""

    def forward(self, image: Tensor) -> Tensor:
        channels, side = image.shape[1], len(self.kernel)
        if self.allow_fft and image.device.type == "cpu" and min(image.shape[-2:]) >= LARGE_IMAGE:
            return torch.empty_like(image).copy_(self._filter_by_fft(image))  # in the memory format of the image
        padded = F.pad(image, (side // 2,) * 4, mode="replicate")
        kernel = self.kernel.to(image.dtype).expand(channels, 1, side, side)
        with torch.autocast(image.device.type, enabled=False):  # a camera's figures are finer than half precision
            return F.conv2d(padded, kernel, groups=channels)

    def _filter_by_fft(self, image: Tensor) -> Tensor:
        padded = F.pad(image.contiguous(), (len(self.kernel) // 2,) * 4, mode="replicate")
        height, width = padded.shape[-2:]
        size = [-(-side // FAST_SIDES) * FAST_SIDES for side in (height, width)]
        spectrum = torch.fft.rfft2(padded.to(self.fft_dtype), s=size)
        spectrum *= torch.fft.rfft2(self.kernel.to(self.fft_dtype), s=size)
        return torch.fft.irfft2(spectrum, s=size)[..., len(self.kernel) - 1 : height, len(self.kernel) - 1 : width]

    def measure(
        self,
        source: Tensor,
        real: Tensor,
        scenes: int,
        is_same: bool = False,
        progress: Progress = iter,
    ) -> MeasuredOptics:
        """Become what makes sources as sharp as real images; both (N, C, H, W).

        A window's spectrum is blurred, and steep within a ring, so what a gain does to it is first guessed, then tried.
        Optics lift no frequency; a lift that other scenes explain is taken for theirs, in the last trial.
        `scenes` is the number of images that the crops are from, of the side that has fewer. Where `is_same` says that
        both sides were seen by the same optics, it goes on changing nothing, and all that is found is the noise.
        """
        self.kernel.zero_()[len(self.kernel) // 2, len(self.kernel) // 2] = 1
        shown = windows_of(real)
        fit = Fit(torch.ones(BANDS + 1), calm_energy(shown), 0.5, float(shown.light.mean()))
        grey = source.mean(1, keepdim=True)  # windows are of the channels' mean, and the filter is linear
        ticks = progress(range(FIT_STEPS))
        few, lift = windows_of(real[:GUESSED_ON]), 0.0
        for trial in range(TRIALS if shown.energy.max() > ROUNDING else 0):
            is_last = trial == TRIALS - 1
            seen, wanted = (grey, shown) if is_last else (grey[:GUESSED_ON], few)
            bounds = SAME if is_same else ANY
            if is_last and not is_same:
                lift = max(float(fit.gain.max()) - 1, 0.0)
                bounds = 0.0, 1 + lift * lift_odds(lift)
            fit = fit_gain_and_noise(windows_of(self(seen)), wanted, fit, scenes, bounds, islice(ticks, STEPS))
            if not is_same:
                self.kernel.copy_(kernel_of(fit.gain, len(self.kernel)))
        shared = shared_by_channels(real, shown)
        # The lowest rings tell least of it: there lies the content.
        energy = torch.cat([fit.noise[COARSE].expand(COARSE), fit.noise[COARSE:]]).clamp(min=FAINTEST)
        energy = (energy / level(energy) ** 2).float()
        one_channel = level(fit.noise) * (3 / (1 + 2 * shared)) ** 0.5
        return MeasuredOptics(fit.gain, MeasuredNoise(one_channel, fit.growth, fit.light, energy, shared), lift)


class Fit(NamedTuple):
    """What makes sources as sharp as real images."""

    gain: Tensor
    """Of each ring, (BANDS + 1,)."""
    noise: Tensor
    """Energy in each ring at the mean light, (BANDS + 1,)."""
    growth: float
    """Share of it that grows with the light."""
    light: float
    """That mean."""


def fit_gain_and_noise(
    seen: Windows,
    real: Windows,
    known: Fit,
    scenes: int,
    bounds: tuple[float, float] = ANY,
    steps: Iterable[int] = range(STEPS),
) -> Fit:
    """The gain and the noise that give sources the sharpness of real images.

    The sharpest windows tell of the optics and the dullest of the noise, among those with contrast: noise may grow with
    the light, so that the calm windows, which are often dark, have the least.

    Args:
        seen: the sources through the lens that is known so far.
        real: the real images.
        known: that lens, and the growth of the noise that is known so far.
        scenes: how many images of each side the windows are from.
        bounds: least and greatest gain that there can be.
    """
    seen, real = seen.precise(), real.precise()
    before, calm, scenes = known.gain.double().log(), calm_energy(real).clamp(min=FAINTEST).log(), min(scenes, SCENES)
    contrast = contrast_above(calm.exp())
    real = contrasted(real, contrast)
    light, wanted = float(real.light.mean()), Wanted.of(real, contrasted(seen, contrast))
    lowest, highest = before.new_tensor(bounds).log()
    gain, noise = before.clamp(lowest, highest).requires_grad_(), calm.clone().requires_grad_()
    growth = before.new_tensor(known.growth).requires_grad_()
    optimizer = torch.optim.Adam([gain, noise, growth], lr=RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, STEPS)
    with torch.enable_grad():
        for _ in steps:
            optimizer.zero_grad()
            grown = (1 + growth * (seen.light / light - 1)).clamp(min=0)
            made = seen._replace(energy=seen.energy * torch.exp(2 * (gain - before)) + grown[:, None] * noise.exp())
            sharp, dull = wanted.missed(contrasted(made, contrast), noise.detach().exp())
            loss = sharp + DULL_WEIGHT * scenes / SCENES * dull
            (loss + _unlikely_gain(gain, scenes) + _unlikely_noise(noise, growth, calm, scenes)).backward()
            optimizer.step()
            schedule.step()
            growth.data.clamp_(0, 1)
            gain.data.clamp_(lowest, highest)
    return Fit(gain.detach().exp().float(), noise.detach().exp(), float(growth.detach()), light)


class Wanted(NamedTuple):
    """The sharpness of the real images, and where it can be told from their noise."""

    sharp: Tensor
    """See `sharpness.sharpness`."""
    dull: Tensor
    bright: Tensor
    """Energy of each ring, (BANDS + 1,), in sharp windows,"""
    dim: Tensor
    """and in dull ones."""
    ends: Tensor
    """What parts the light into its classes."""

    @classmethod
    def of(cls, real: Windows, seen: Windows) -> Wanted:
        """Of real images, in classes of light that both these and the sources are in."""
        ends = light_ends(real, seen)
        bright, dim = real.energy.quantile(SHARP[2], dim=0), real.energy.quantile(DULL[2], dim=0) + FAINTEST
        return cls(*sharpness(real, ends), bright, dim, ends)

    def missed(self, made: Windows, noise: Tensor) -> tuple[Tensor, Tensor]:
        """By how much other windows miss it in sharp and in dull ones; what noise of that energy hides counts less."""
        sharp, dull = sharpness(made, self.ends)
        told, hidden = (1 - noise / self.bright).clamp(min=0.05), (noise / self.dim).clamp(min=0.2, max=1)
        return (told * (sharp - self.sharp).abs()).mean(), (hidden * (dull - self.dull).abs()).mean()


def _unlikely_gain(gain: Tensor, scenes: int) -> Tensor:
    """What is paid for a gain, given as its logarithm at each ring, that optics seldom have."""
    few = (SMOOTH * _bend(gain) + LIFT * gain.clamp(min=0).square().sum()) / scenes
    rise, fallen = gain.diff().clamp(min=0), -gain.detach().cummin(0).values[:-1].clamp(max=0)
    return few + KEPT * gain[0].square() + VALLEY * (rise * fallen).sum()


def _unlikely_noise(noise: Tensor, growth: Tensor, calm: Tensor, scenes: int) -> Tensor:
    """What is paid for noise, as its energy's logarithm at each ring, unlike a sensor's or that of calm windows."""
    steep = (-noise.diff() - math.log(STEEPEST)).clamp(min=0).square().sum()
    few = CALMNESS * (noise - calm).square().mean() + EVEN * (growth - 0.5).square()
    return few / scenes + BENT_NOISE * _bend(noise) + STEEP_NOISE * steep


def _bend(values: Tensor) -> Tensor:
    return values.diff(n=2).square().mean()
