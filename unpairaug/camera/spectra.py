"""Energy of windows of an image in rings of frequencies, whatever the direction, and filters with a gain for each."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 32
"""Side in pixels of the windows whose spectra are compared, where images are as large."""
BANDS = 8
"""Rings between frequency 0 and half a cycle per pixel; the corners beyond are one more."""
COARSE = 2
"""The lowest rings, beside which the fine ones are measured."""
MIDDLES = [(ring + 0.5) / (2 * BANDS) for ring in range(BANDS + 1)]
"""Frequency in the middle of each ring, in cycles per pixel."""


class Windows(NamedTuple):
    """What N windows hold."""

    energy: Tensor
    """Mean of each ring, (N, BANDS + 1), in squared 8-bit steps at each frequency, of the mean of the channels."""
    light: Tensor
    """Mean of all pixels and channels, in [0, 1]: (N,)."""

    @property
    def coarse(self) -> Tensor:
        """Energy of the coarse rings, (N,)."""
        return self.energy[:, :COARSE].mean(1)

    def at(self, mask: Tensor) -> Windows:
        return Windows(self.energy[mask], self.light[mask])

    def precise(self) -> Windows:
        return Windows(self.energy.double().cpu(), self.light.double().cpu())


def windows_of(images: Tensor) -> Windows:
    """The windows of images (B, C, H, W), as many as lie side by side in them."""
    side = min(WINDOW, *images.shape[-2:])
    grey = 255 * images.float().mean(1, keepdim=True)
    windows = F.unfold(grey, side, stride=side).transpose(1, 2).reshape(-1, side, side)
    taper = torch.hann_window(side, device=images.device)
    taper = taper[:, None] * taper
    means = (windows * taper).sum((1, 2), keepdim=True) / taper.sum()
    energy = torch.fft.fft2((windows - means) * taper).abs().square() / taper.square().sum()
    rings = rings_of(side).to(images.device)
    energy = torch.stack([energy[:, rings == ring].mean(1) for ring in range(BANDS + 1)], dim=1)
    return Windows(energy, windows.mean((1, 2)) / 255)


def level(energy: Tensor) -> float:
    """Standard deviation, in 8-bit steps, of noise of that energy in each ring, (BANDS + 1,)."""
    coefficients = torch.bincount(rings_of(WINDOW).flatten(), minlength=BANDS + 1)
    return float((energy.cpu() * coefficients).sum() / coefficients.sum()) ** 0.5


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


def rings_of(side: int) -> Tensor:
    """The ring of each coefficient of an FFT of that side: (side, side)."""
    return (_frequencies(side) * 2 * BANDS).long().clamp(max=BANDS)


def _frequencies(side: int) -> Tensor:
    """Cycles per pixel of each coefficient of an FFT of that side, whatever the direction: (side, side)."""
    axis = torch.fft.fftfreq(side)
    return torch.hypot(axis[:, None], axis)
