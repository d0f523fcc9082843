"""A blur whose kernel is drawn for each image, and which shrinks the image on the grid of antialiased bicubic."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unpairaug.rng import Rng, normal


class RandomBlur(nn.Module):
    """(B, C, H, W) in [0, 1] -> (B, C, H / scale, W / scale), each image by a kernel of its own.

    After PDM (Luo et al., 2022), whose kernels may have any shape and place. A small network turns a latent into
    weights that are positive, sum to 1 and are symmetric about the middle of a cell: so the result keeps brightness
    and colour, and is not shifted. At the start, every kernel is the positive part of antialiased bicubic. Where sides
    are no multiples of the scale, what is over at right and bottom is left out.
    """

    FAINT = 0.2
    """What all the weights would be together, were each as small as the least at the start, in units of the largest:
    enough for each to learn, and little blur."""

    def __init__(self, scale: int = 1, kernel: int = 13, latent: int = 8, width: int = 64) -> None:
        """Build the network.

        Args:
            scale: side of the image over that of the result.
            kernel: side in pixels of what is learnt; one more where the scale asks for it, as an even cell's centre
                lies between pixels.
            latent: numbers drawn for each image.
            width: features of the network's hidden layers.
        """
        super().__init__()
        self.scale, self.latent = scale, latent
        self.side = kernel + (kernel - scale) % 2
        last = nn.Linear(width, self.side**2)
        nn.init.zeros_(last.weight)
        start = positive_bicubic(offsets(self.side) / scale)
        with torch.no_grad():
            last.bias.copy_(torch.outer(start, start).flatten().clamp(min=self.FAINT / self.side**2).log())
        hidden = [nn.Linear(latent, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)]
        self.logits = nn.Sequential(*hidden, last)

    def forward(self, image: Tensor, rng: Rng = None) -> Tensor:
        # In full precision: half precision would round the weights, and with them the centroid.
        with torch.autocast(image.device.type, enabled=False):
            kernels = self.kernels(normal((len(image), self.latent), image, rng))
            return shrink_by(kernels, image.float(), self.scale)

    def kernels(self, latent: Tensor) -> Tensor:
        """The kernels (B, side, side) of latents (B, n)."""
        weights = self.logits(latent).softmax(1).unflatten(1, (self.side, self.side))
        return symmetric(weights)


def shrink_by(kernels: Tensor, image: Tensor, scale: int) -> Tensor:
    """Images (B, C, H, W), each under its kernel (B, K, K) at the cells' centres: (B, C, H / scale, W / scale).

    K is even where the scale is, and at least as large. Edges are repeated.
    """
    margin = (kernels.shape[-1] - scale) // 2
    padded = F.pad(image, (margin,) * 4, mode="replicate").transpose(0, 1)  # a group for each image
    return F.conv2d(padded, kernels[:, None], stride=scale, groups=len(image)).transpose(0, 1)


def symmetric(weights: Tensor) -> Tensor:
    """Weights (B, k, k), each the mean of two that lie opposite about the middle.

    Unpaired data cannot reveal a shift, and a shift ruins the head. To centre a kernel is not enough: a lopsided one
    whose centroid is in the middle still shifts fine detail against coarse, and what is learnt does drift there. One
    that is its own mirror image shifts no frequency, whatever is learnt. The price: a hand's curved path is beyond it.
    """
    return (weights + weights.flip(1, 2)) / 2


def offsets(side: int) -> Tensor:
    """Where the pixels of a row lie, from its middle: (side,), in pixels; halves where the side is even."""
    return torch.arange(side) - (side - 1) / 2


def positive_bicubic(distance: Tensor) -> Tensor:
    """The middle lobe of the bicubic kernel (Keys, 1981, a = -0.5) at distances in cells, and 0 beyond it."""
    r = distance.abs()
    return (1.5 * r**3 - 2.5 * r**2 + 1).clamp(min=0) * (r < 1)
