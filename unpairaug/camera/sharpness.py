"""How sharp the windows of images are: fine detail beside the coarse, where there is contrast enough to tell."""

from __future__ import annotations

import torch
from torch import Tensor

from unpairaug.camera.spectra import BANDS, Windows

SHARP = (0.8, 0.9, 0.95, 0.98, 0.99)
"""Quantiles, over the windows, of a ring's energy beside the coarse ones', in which the optics show."""
DULL = (0.02, 0.05, 0.1, 0.2)
"""Those in which noise does, over the windows of each class of `LIGHTS`."""
LIGHTS = 4
"""Classes of windows from dark to bright, as many in each: noise grows with the light."""
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


def sharpness(windows: Windows, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Quantiles of each ring's energy beside the coarse ones', in nats: those of `SHARP`, and by light those of `DULL`.

    `ends` part the light into its classes; the shapes are (len(SHARP), BANDS + 1) and (LIGHTS, len(DULL), BANDS + 1).
    """
    ratio = torch.log((windows.energy + ROUNDING) / (windows.coarse[:, None] + ROUNDING))
    classes = torch.bucketize(windows.light, ends)
    parts = [ratio[classes == light] for light in range(LIGHTS)]
    sharp, dull = (torch.tensor(quantiles, dtype=ratio.dtype) for quantiles in (SHARP, DULL))
    by_light = [(part if len(part) else ratio).quantile(dull, dim=0) for part in parts]
    return ratio.quantile(sharp, dim=0), torch.stack(by_light)


def light_ends(*windows: Windows) -> Tensor:
    """What parts the light of all these windows into classes of as many: (LIGHTS - 1,)."""
    light = torch.cat([some.light for some in windows])
    return light.quantile(torch.arange(1, LIGHTS, dtype=light.dtype) / LIGHTS)


def contrast_above(noise: Tensor) -> float:
    """Coarse energy from which on a window tells, with noise of that energy in each ring."""
    return max(CONTRAST, ABOVE_NOISE * float(noise[BANDS // 2 - 1 : BANDS // 2 + 1].mean()))


def contrasted(windows: Windows, contrast: float) -> Windows:
    coarse = windows.coarse.detach()
    return windows.at(coarse >= coarse.quantile(1 - MOST_CONTRAST).clamp(max=contrast))


def is_calm(windows: Windows) -> Tensor:
    return windows.coarse <= windows.coarse.quantile(CALM)


def calm_energy(windows: Windows) -> Tensor:
    """Energy of the noise in each ring, as far as calm windows tell: content lies in low frequencies, noise in all."""
    noise = windows.energy[is_calm(windows)].median(0).values
    for ring in reversed(range(BANDS)):
        noise[ring] = torch.minimum(noise[ring], STEEPEST * noise[ring + 1])
    return noise
