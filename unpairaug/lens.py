"""How strongly a camera passes each spatial frequency, measured on unpaired crops before any training.

Two unpaired sets show other scenes, so their mean spectra say little. But the sharpest places of any set of photographs
are much alike: there, how much fine detail stands beside the coarse is what the optics leave of an edge. So the gain of
a camera is the one that gives the clean crops, filtered by it, the same quantiles of that ratio as the real ones have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW = 32
"""Side in pixels of the windows whose spectra are compared, where crops are as large."""
LEAST = 16
"""Side of the smallest crops: each band of frequencies has a coefficient there."""
BANDS = 8
"""Rings between frequency 0 and half a cycle per pixel; the corners beyond are one more."""
COARSE = 2
"""The lowest rings, beside which the fine ones are measured."""
SHARP = (0.8, 0.9, 0.95, 0.98, 0.99)
"""Quantiles, over the windows, of a ring's energy beside the coarse ones', in which the optics show."""
DULL = (0.02, 0.05, 0.1, 0.2)
"""Those in which noise does."""
CONTRAST = 300.0
"""Coarse energy, in squared 8-bit steps, from which on a window tells of the optics,"""
ABOVE_NOISE = 40.0
"""and in multiples of the noise in the middle rings: noise has coarse energy, too."""
MOST_CONTRAST = 0.05
"""Share of the windows, those with the most coarse energy, that tell in any case."""
CALM = 0.05
"""Share of the windows, those with the least coarse energy, whose fine energy is taken for noise."""
STEEPEST = 4.0
"""Times that noise may grow from a ring to the next lower one, as grain does; what grows faster is content."""
FAINTEST = 0.01
"""Least energy of noise, below that of rounding: what is black or white has none, and tells nothing."""
ROUNDING = 1 / 12
"""Energy that rounding to 8 bits adds at each frequency."""
KEPT, SMOOTH, LIFT, CALMNESS = 10.0, 50.0, 5.0, 0.5
"""How much is paid for a gain other than 1 in the lowest ring, since ratios tell of no level and no optics change it;
for one that bends over the frequencies; for one above 1, as few lenses have it; and for noise other than that of calm
windows. The last three are divided by the number of scenes: the fewer, the more of what they show is their own."""
VALLEY, BENT_NOISE, STEEP_NOISE = 2.0, 1.0, 0.1
"""The same for a gain that rises again after it fell below 1, which neither optics nor sharpening do; for noise that
bends over the frequencies; and for noise steeper than `STEEPEST`."""
SCENES = 50
"""From this number on, more of them are trusted no more."""
STEPS, RATE = 200, 0.05
TRIALS = 3
MIDDLES = [(ring + 0.5) / (2 * BANDS) for ring in range(BANDS + 1)]
"""Frequency in the middle of each ring, in cycles per pixel."""


@dataclass(frozen=True)
class MeasuredNoise:
    """The noise of a camera where there is contrast."""

    level: float
    """Standard deviation in each channel, in 8-bit steps."""
    energy: Tensor
    """That of each ring, (BANDS + 1,), beside that of white noise of the same level, which has 1 in all."""
    shared: float
    """Correlation between channels, from 0 to 1."""


class Lens(nn.Module):
    """A fixed symmetric filter of images (B, C, H, W), one for all channels; it changes nothing until `measure`."""

    def __init__(self, side: int = 15) -> None:
        super().__init__()
        kernel = torch.zeros(side, side)
        kernel[side // 2, side // 2] = 1
        self.register_buffer("kernel", kernel)
        self.kernel: Tensor

    def forward(self, image: Tensor) -> Tensor:
        channels, side = image.shape[1], len(self.kernel)
        kernel = self.kernel.to(image.dtype).expand(channels, 1, side, side)
        return F.conv2d(F.pad(image, (side // 2,) * 4, mode="replicate"), kernel, groups=channels)

    def measure(self, source: Tensor, real: Tensor, scenes: int) -> tuple[Tensor, MeasuredNoise]:
        """Become what makes sources as sharp as real images; both (N, C, H, W).

        A window's spectrum is blurred, and steep within a ring, so what a gain does to it is first guessed, then tried.
        `scenes` is the number of images that the crops are from, of the side that has fewer.

        Returns:
            The gain of each ring, (BANDS + 1,), and the noise of the real images.
        """
        gain, shown = torch.ones(BANDS + 1), spectra(real)
        noise = _calm(shown)
        for _ in range(TRIALS if shown.max() > ROUNDING else 0):
            gain, noise = fitted(spectra(self(source)), shown, gain, scenes)
            self.kernel.copy_(kernel_of(gain, len(self.kernel)))
        shared = _shared(real, shown)
        # The lowest rings tell least of it: there lies the content.
        energy = torch.cat([noise[COARSE].expand(COARSE), noise[COARSE:]]).clamp(min=FAINTEST)
        energy = (energy / _level(energy) ** 2).float()
        return gain, MeasuredNoise(_level(noise) * (3 / (1 + 2 * shared)) ** 0.5, energy, shared)


def spectra(images: Tensor) -> Tensor:
    """Mean energy of each ring of frequencies in windows of the images (B, C, H, W): (windows, BANDS + 1).

    In squared 8-bit steps at each pixel and frequency, of the mean of the channels.
    """
    side = min(WINDOW, *images.shape[-2:])
    grey = 255 * images.float().mean(1, keepdim=True)
    windows = F.unfold(grey, side, stride=side).transpose(1, 2).reshape(-1, side, side)
    taper = torch.hann_window(side, device=images.device)
    taper = taper[:, None] * taper
    means = (windows * taper).sum((1, 2), keepdim=True) / taper.sum()
    energy = torch.fft.fft2((windows - means) * taper).abs().square() / taper.square().sum()
    rings = _rings(side).to(images.device)
    return torch.stack([energy[:, rings == ring].mean(1) for ring in range(BANDS + 1)], dim=1)


def fitted(seen: Tensor, real: Tensor, gain: Tensor, scenes: int) -> tuple[Tensor, Tensor]:
    """The gain and the noise of each ring, (BANDS + 1,) each, that give sources the sharpness of real images.

    The sharpest windows tell of the optics and the dullest of the noise, among those with contrast: noise may grow with
    the light, so that the calm windows, which are often dark, have the least.

    Args:
        seen: `spectra` of the sources through the lens that is known so far, (N, BANDS + 1).
        real: those of the real images, (M, BANDS + 1).
        gain: of that lens.
        scenes: how many images of each side the windows are from.
    """
    seen, real, known = seen.double().cpu(), real.double().cpu(), gain.double().log()
    calm, scenes = _calm(real).clamp(min=FAINTEST).log(), min(scenes, SCENES)
    contrast = max(CONTRAST, ABOVE_NOISE * float(calm[BANDS // 2 - 1 : BANDS // 2 + 1].exp().mean()))
    wanted, kept = _sharpness(real, contrast), real[_contrasted(real, contrast)]
    bright, dim = kept.quantile(SHARP[2], dim=0), kept.quantile(DULL[2], dim=0) + FAINTEST
    found, noise = known.clone().requires_grad_(), calm.clone().requires_grad_()
    optimizer = torch.optim.Adam([found, noise], lr=RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, STEPS)
    with torch.enable_grad():
        for _ in range(STEPS):
            optimizer.zero_grad()
            shown = _sharpness(seen * torch.exp(2 * (found - known)) + noise.exp(), contrast)
            sharp, dull = (shown - wanted).abs().split([len(SHARP), len(DULL)])
            told = (1 - noise.detach().exp() / bright).clamp(min=0.05)
            hidden = (noise.detach().exp() / dim).clamp(min=0.2, max=1)
            loss = (told * sharp).mean() + scenes / SCENES * (hidden * dull).mean()
            (loss + _unlikely_gain(found, scenes) + _unlikely_noise(noise, calm, scenes)).backward()
            optimizer.step()
            schedule.step()
    return found.detach().exp().float(), noise.detach().exp()


def _unlikely_gain(gain: Tensor, scenes: int) -> Tensor:
    """What is paid for a gain, given as its logarithm at each ring, that optics seldom have."""
    few = (SMOOTH * _bend(gain) + LIFT * gain.clamp(min=0).square().sum()) / scenes
    rise, fallen = gain.diff().clamp(min=0), -gain.detach().cummin(0).values[:-1].clamp(max=0)
    return few + KEPT * gain[0].square() + VALLEY * (rise * fallen).sum()


def _unlikely_noise(noise: Tensor, calm: Tensor, scenes: int) -> Tensor:
    """What is paid for noise, as its energy's logarithm at each ring, unlike a sensor's or that of calm windows."""
    steep = (-noise.diff() - math.log(STEEPEST)).clamp(min=0).square().sum()
    return CALMNESS / scenes * (noise - calm).square().mean() + BENT_NOISE * _bend(noise) + STEEP_NOISE * steep


def _bend(values: Tensor) -> Tensor:
    return values.diff(n=2).square().mean()


def kernel_of(gain: Tensor, side: int) -> Tensor:
    """The filter (side, side), of sum 1, with the gain of the rings, (BANDS + 1,), at their middles, linear between."""
    grid = 64
    middles = torch.tensor([0, *MIDDLES])
    gains = torch.cat([torch.ones(1), gain.cpu()])
    frequency = _frequencies(grid).clamp(max=float(middles[-1]))
    above = torch.searchsorted(middles, frequency.contiguous()).clamp(1, BANDS + 1)
    share = (frequency - middles[above - 1]) / (middles[above] - middles[above - 1])
    response = gains[above - 1] + share * (gains[above] - gains[above - 1])
    whole = torch.fft.fftshift(torch.fft.ifft2(response).real)
    start = grid // 2 - side // 2
    taper = torch.hann_window(side + 2, periodic=False)[1:-1].sqrt()
    kernel = whole[start : start + side, start : start + side] * taper[:, None] * taper
    return kernel / kernel.sum()


def _sharpness(energy: Tensor, contrast: float) -> Tensor:
    """Quantiles of each ring's energy beside the coarse ones', in nats: (len(SHARP) + len(DULL), BANDS + 1)."""
    kept = energy[_contrasted(energy, contrast)]
    ratio = torch.log((kept + ROUNDING) / (kept[:, :COARSE].mean(1, keepdim=True) + ROUNDING))
    return ratio.quantile(torch.tensor(SHARP + DULL, dtype=ratio.dtype), dim=0)


def _contrasted(energy: Tensor, contrast: float) -> Tensor:
    coarse = energy.detach()[:, :COARSE].mean(1)
    return coarse >= coarse.quantile(1 - MOST_CONTRAST).clamp(max=contrast)


def _calm(energy: Tensor) -> Tensor:
    """Energy of the noise in each ring, as far as calm windows tell: content lies in low frequencies, noise in all."""
    coarse = energy[:, :COARSE].mean(1)
    noise = energy[coarse <= coarse.quantile(CALM)].median(0).values
    for ring in reversed(range(BANDS)):
        noise[ring] = torch.minimum(noise[ring], STEEPEST * noise[ring + 1])
    return noise


def _shared(images: Tensor, grey: Tensor) -> float:
    """Correlation of the noise between the channels of images (B, C, H, W), in the windows where `grey` is calm.

    `grey` is `spectra(images)`; the variance of the channels' mean says how much of theirs they share.
    """
    coarse = grey[:, :COARSE].mean(1)
    calm = coarse <= coarse.quantile(CALM)
    channels = torch.stack([spectra(channel)[calm] for channel in images.split(1, dim=1)]).mean(0)
    count, ratio = images.shape[1], float((grey[calm][:, COARSE:] / channels[:, COARSE:].clamp(min=FAINTEST)).median())
    return min(max((count * ratio - 1) / max(count - 1, 1), 0.0), 1.0)


def _level(noise: Tensor) -> float:
    """Standard deviation, in 8-bit steps, of noise of that energy in each ring."""
    coefficients = torch.bincount(_rings(WINDOW).flatten(), minlength=BANDS + 1)
    return float((noise.cpu() * coefficients).sum() / coefficients.sum()) ** 0.5


def _rings(side: int) -> Tensor:
    return (_frequencies(side) * 2 * BANDS).long().clamp(max=BANDS)


def _frequencies(side: int) -> Tensor:
    """Cycles per pixel of each coefficient of an FFT of that side, whatever the direction: (side, side)."""
    axis = torch.fft.fftfreq(side)
    return torch.hypot(axis[:, None], axis)
