"""What translators minimise, as pure functions.

Images are (B, C, H, W) in [0, 1].
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

Losses = dict[str, Tensor]
"""Named, weighted loss terms: scalars that are summed once and logged under the same names."""


def gan_loss(logits: Tensor, is_real: bool) -> Tensor:
    """Least-squares GAN loss (Mao et al., 2017) on patch logits (B, 1, h, w)."""
    return (logits.float() - float(is_real)).square().mean()


def cycle_loss(reconstructed: Tensor, original: Tensor) -> Tensor:
    """L1 cycle consistency, |restore(degrade(x)) - x| (Zhu et al., 2017, eq. 2)."""
    return F.l1_loss(reconstructed, original)


def identity_loss(same: Tensor, original: Tensor) -> Tensor:
    """L1 identity mapping, |degrade(y) - y| for a y that is degraded already (Zhu et al., 2017, sec. 5.2)."""
    return F.l1_loss(same, original)


def zero_mean_loss(noise: Tensor) -> Tensor:
    """How far from zero the noise (B, C, H, W) is on average, over each image and channel of its own.

    C2N (Jang et al., 2021) averages over the batch, too; then an image's loss would depend on those beside it.
    """
    return noise.float().mean((2, 3)).abs().mean()
