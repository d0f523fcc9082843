"""Shrinkage of cosine coefficients, with learnt thresholds."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpairaug.heads.same_size import keeps_the_size
from unpairaug.registry import register_head

OPPONENT = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (0.5, -1.0, 0.5))
"""Grey and two colour differences of red, green and blue, before each is scaled to length 1."""
HARD, SOFT = 2.7, 1.0
"""Thresholds in standard deviations of the noise: that of the first stage, as BM3D has it, and that of the second."""
START = 5 / 255
"""Standard deviation of the noise that the thresholds start at."""
RATE = 20.0
"""A weight changed by 1 changes the logarithm of its threshold by this: a network's learning rate is small for them."""
KNOTS = 8
"""Frequencies at which a threshold is learnt, evenly from 0 to half a cycle per pixel."""
TINY = 1e-20


def cosine_basis(side: int) -> Tensor:
    """The orthonormal cosine transform of `side` values, (side, side): a row for each frequency, from 0 up."""
    order = torch.arange(side)
    basis = torch.cos((2 * order + 1) * order[:, None] * torch.pi / (2 * side)) * (2 / side) ** 0.5
    basis[0] /= 2**0.5
    return basis


def interpolate_knots(side: int) -> Tensor:
    """Weights that interpolate `KNOTS` values to each frequency of a window, (KNOTS, side * side), linearly."""
    axis = torch.arange(side) / side
    place = (torch.hypot(axis[:, None], axis).clamp(max=1) * (KNOTS - 1)).flatten()
    return (1 - (place - torch.arange(KNOTS)[:, None]).abs()).clamp(min=0)


@register_head("dct")
class DCTShrinkage(nn.Module):
    """Cosine transform of overlapping windows, whose small coefficients are shrunk; the thresholds are learnt.

    (B, 3, H, W) in [0, 1] -> the same shape. The windows of `window` x `window` pixels overlap by three quarters. Grey
    and two colour differences are shrunk separately (Yu and Sapiro, "DCT Image Denoising", 2011). A first stage removes
    small coefficients; a second one weighs each by the energy that the first left of it (Wiener, as in BM3D, Dabov et
    al., 2007). Windows with few coefficients count more. Both stages learn a threshold for grey and one for colours at
    8 frequencies, and interpolate it between them: 32 parameters. The thresholds do not depend on the image, so the
    mean of a window, and noise that is stronger than that of the training images, stay.
    """

    def __init__(self, scale: Annotated[int, keeps_the_size("dct")] = 1, window: Literal[8, 16] = 16) -> None:
        super().__init__()
        self.window, self.tile_step = window, window // 4
        self.receptive_margin = 2 * (window - 1)
        colours = torch.tensor(OPPONENT)
        self.colours: Tensor
        self.register_buffer("colours", colours / colours.norm(dim=1, keepdim=True), persistent=False)
        self.basis: Tensor
        self.register_buffer("basis", cosine_basis(window), persistent=False)
        self.shrunk: Tensor
        self.register_buffer("shrunk", torch.ones(window, window), persistent=False)
        """1 for coefficients that are shrunk, 0 for the mean of a window."""
        self.shrunk[0, 0] = 0
        self.between: Tensor
        self.register_buffer("between", interpolate_knots(window), persistent=False)
        self.hard = nn.Parameter(torch.zeros(2, KNOTS))
        self.soft = nn.Parameter(torch.zeros(2, KNOTS))

    def forward(self, degraded: Tensor) -> Tensor:
        height, width = degraded.shape[-2:]
        before, after = self.window - self.tile_step, self.window - 1
        with torch.autocast(degraded.device.type, enabled=False):  # half precision has fewer digits than the image
            channels = torch.einsum("dc,bchw->bdhw", self.colours, degraded.float())
            padded = F.pad(channels, (before, after, before, after), mode="replicate")
            noisy = self._transform(padded)
            first = self._merge(noisy, self._gains(noisy.square().square(), HARD, self.hard, 4), padded)
            pilot = self._transform(first)
            second = self._merge(noisy, self._gains(pilot.square(), SOFT, self.soft, 2), padded)
            cropped = second[..., before : before + height, before : before + width]
            return torch.einsum("dc,bdhw->bchw", self.colours, cropped)

    def _transform(self, image: Tensor) -> Tensor:
        """The coefficients of each window: (B, 3, rows, columns, window, window)."""
        windows = image.unfold(2, self.window, self.tile_step).unfold(3, self.window, self.tile_step)
        return self.basis @ windows @ self.basis.T

    def _gains(self, energy: Tensor, deviations: float, learnt: Tensor, power: int) -> Tensor:
        """What is kept of each coefficient, whose magnitude has that energy at that power: from 0 to 1."""
        of_frequency = torch.exp(RATE * learnt[[0, 1, 1]] @ self.between).view(3, self.window, self.window)
        threshold = ((deviations * START * of_frequency * self.shrunk) ** power)[:, None, None]
        return 1 - threshold / (energy + threshold + TINY)

    def _merge(self, coefficients: Tensor, gains: Tensor, image: Tensor) -> Tensor:
        """The weighted mean of the windows, each with its gains: the size of the image that they were cut from."""
        weight = 1 / (1 + gains.square().sum((-2, -1), keepdim=True))
        windows = self.basis.T @ (weight * gains * coefficients) @ self.basis
        whole = self._fold(windows, image)
        return whole / self._fold(weight.expand_as(windows), image).clamp(min=TINY)

    def _fold(self, windows: Tensor, image: Tensor) -> Tensor:
        """The sum of windows at their places."""
        columns = windows.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)
        return F.fold(columns, image.shape[-2:], self.window, stride=self.tile_step)
