"""How strongly a camera passes each spatial frequency, measured on unpaired crops before any training.

Two unpaired sets show other scenes, so their mean spectra say little. But the sharpest places of any set of photographs
are much alike: there, how much fine detail stands beside the coarse is what the optics leave of an edge. So the gain of
a camera is the one that gives the clean crops, filtered by it, the same quantiles of that ratio as the real ones have.
"""

from __future__ import annotations

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
"""Quantiles, over the windows, of a ring's energy beside the coarse ones'."""
CONTRAST = 300.0
"""Coarse energy, in squared 8-bit steps, from which on a window tells of the optics: below, noise is too near."""
MOST_CONTRAST = 0.05
"""Share of the windows, those with the most coarse energy, that tell in any case."""
CALM = 0.05
"""Share of the windows, those with the least coarse energy, whose fine energy is taken for noise."""
STEEPEST = 4.0
"""Times that noise may grow from a ring to the next lower one, as grain does; what grows faster is content."""
ROUNDING = 1 / 12
"""Energy that rounding to 8 bits adds at each frequency."""
KEPT, SMOOTH, LIFT = 10.0, 50.0, 5.0
"""How much is paid for a gain other than 1 in the lowest ring, since ratios tell of no level and no optics change it;
and for one that bends over the frequencies, and one above 1, as few lenses have it. The last two are divided by the
number of scenes: the fewer, the more of what they show is their own."""
SCENES = 100
"""From this number on, more of them are trusted no more."""
STEPS, RATE = 200, 0.05
TRIALS = 3
MIDDLES = [(ring + 0.5) / (2 * BANDS) for ring in range(BANDS + 1)]
"""Frequency in the middle of each ring, in cycles per pixel."""


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

    def measure(self, source: Tensor, real: Tensor, scenes: int) -> Tensor:
        """Become what makes sources as sharp as real images; both (N, C, H, W). Returns the gain of each ring.

        A window's spectrum is blurred, and steep within a ring, so what a gain does to it is first guessed, then tried.
        `scenes` is the number of images that the crops are from, of the side that has fewer.
        """
        gain, wanted = torch.ones(BANDS + 1), spectra(real)
        for _ in range(TRIALS):
            gain = measured_gain(spectra(self(source)), wanted, gain, scenes)
            self.kernel.copy_(kernel_of(gain, len(self.kernel)))
        return gain


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


def noise_level(real: Tensor) -> float:
    """Standard deviation of the noise of images (B, C, H, W) in [0, 1], in 8-bit steps, as far as calm windows tell."""
    noise = _noise(spectra(real.flatten(0, 1)[:, None])).cpu()
    coefficients = torch.bincount(_rings(WINDOW).flatten(), minlength=BANDS + 1)
    return float((noise * coefficients).sum() / coefficients.sum()) ** 0.5


def measured_gain(seen: Tensor, real: Tensor, gain: Tensor, scenes: int) -> Tensor:
    """The gain of each ring, (BANDS + 1,), that makes sources as sharp as real images.

    Noise that the real images have and the sources lack adds to what they show; it is measured in calm windows.

    Args:
        seen: `spectra` of the sources through the lens that is known so far, (N, BANDS + 1).
        real: those of the real images, (M, BANDS + 1).
        gain: of that lens.
        scenes: how many images of each side the windows are from.
    """
    seen, real, known = seen.double().cpu(), real.double().cpu(), gain.double().log()
    noise, wanted = _noise(real), _sharpness(real)
    told = (1 - noise / real[_contrasted(real)].quantile(SHARP[2], dim=0)).clamp(min=0.05)
    smooth, lift = SMOOTH / min(scenes, SCENES), LIFT / min(scenes, SCENES)
    found = known.clone().requires_grad_()
    optimizer = torch.optim.Adam([found], lr=RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, STEPS)
    with torch.enable_grad():
        for _ in range(STEPS):
            optimizer.zero_grad()
            shown = _sharpness(seen * torch.exp(2 * (found - known)) + noise)
            bend = found[2:] - 2 * found[1:-1] + found[:-2]
            loss = (told * (shown - wanted).abs()).mean() + smooth * bend.square().mean()
            loss = loss + lift * found.clamp(min=0).square().sum() + KEPT * found[0].square()
            loss.backward()
            optimizer.step()
            schedule.step()
    return found.detach().exp().float()


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


def _sharpness(energy: Tensor) -> Tensor:
    """Quantiles of each ring's energy beside the coarse ones', in nats: (len(SHARP), BANDS + 1)."""
    kept = energy[_contrasted(energy)]
    ratio = torch.log((kept + ROUNDING) / (kept[:, :COARSE].mean(1, keepdim=True) + ROUNDING))
    return ratio.quantile(torch.tensor(SHARP, dtype=ratio.dtype), dim=0)


def _contrasted(energy: Tensor) -> Tensor:
    coarse = energy[:, :COARSE].mean(1)
    return coarse >= coarse.quantile(1 - MOST_CONTRAST).clamp(max=CONTRAST)


def _noise(energy: Tensor) -> Tensor:
    """Energy of the noise in each ring, as far as calm windows tell: content lies in low frequencies, noise in all."""
    coarse = energy[:, :COARSE].mean(1)
    noise = energy[coarse <= coarse.quantile(CALM)].median(0).values
    for ring in reversed(range(BANDS)):
        noise[ring] = torch.minimum(noise[ring], STEEPEST * noise[ring + 1])
    return noise


def _rings(side: int) -> Tensor:
    return (_frequencies(side) * 2 * BANDS).long().clamp(max=BANDS)


def _frequencies(side: int) -> Tensor:
    """Cycles per pixel of each coefficient of an FFT of that side, whatever the direction: (side, side)."""
    axis = torch.fft.fftfreq(side)
    return torch.hypot(axis[:, None], axis)
