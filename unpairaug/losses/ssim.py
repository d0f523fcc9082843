"""Structural similarity as a loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpairaug.registry import register_loss

SIGMA = 1.5
"""Pixels; standard deviation of the Gaussian window."""
RADIUS = 5
"""Pixels from the window's centre to its edge."""
C1, C2 = 0.01**2, 0.03**2
"""The paper's (K L)², for values in [0, 1]."""


@register_loss("ssim")
class SSIM(nn.Module):
    """1 - SSIM of images (B, C, H, W) in [0, 1], the mean over channels (Wang et al., 2004): in [0, 2].

    Gaussian window of 11 px, only where it fits whole: on 8-bit images it is 1 less the metric `ssim_rgb`.
    """

    smallest_side = 2 * RADIUS + 1

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        with torch.autocast(restored.device.type, enabled=False):  # variances are small differences of large numbers
            x, y = restored.float(), clean.float()
            mean_x, mean_y, xx, yy, xy = _windowed(torch.cat([x, y, x * x, y * y, x * y])).chunk(5)
            variances, covariance = xx + yy - mean_x**2 - mean_y**2, xy - mean_x * mean_y
            luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
            structure = (2 * covariance + C2) / (variances + C2)
            return 1 - (luminance * structure).mean()


def _windowed(image: Tensor) -> Tensor:
    """The Gaussian mean around each pixel whose window fits: (B, C, H, W) -> (B, C, H - 10, W - 10)."""
    channels = image.shape[1]
    taps = torch.exp(-0.5 * (torch.arange(-RADIUS, RADIUS + 1, device=image.device) / SIGMA) ** 2)
    taps = taps / taps.sum()
    rows, columns = (taps.view(shape).expand(channels, 1, -1, -1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))
    # One group for each channel: such convolutions run in full precision on GPUs, too, never in TF32.
    return F.conv2d(F.conv2d(image, rows, groups=channels), columns, groups=channels)
