"""What a file keeps of an image, with a gradient that passes straight through; and what wrote it, from its pixels."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LUMA = (0.299, 0.587, 0.114)
STEPS = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99
"""
"""Quantization steps of the luma of a JPEG of quality 50 (ITU-T T.81, table K.1), in 8-bit steps, row by row."""
QUALITIES = range(30, 97)
"""Those that are looked for; a finer file leaves too little behind."""
ROUNDING = 1 / 12
"""What rounding to 8 bits changes, in squared steps: where a quality changes less, it shows nothing."""
SMALLEST = 31
"""Side of the smallest images in which it is looked for: 3 x 3 whole blocks, wherever the grid lies. Fewer blocks show
qualities that are not there, as the best of 64 places is one by chance."""
MOST_TEXTURED = 64
"""Images in which a quality is looked for."""
CLEAR = 0.5
"""Share, of what a quality would change at a wrong place of the blocks, below which that at the right one shows it."""


def as_file(image: Tensor, quality: Tensor | None = None) -> Tensor:
    """The image (B, 3, H, W), within [0, 1] and on the 256 levels of a file; the gradient passes straight through.

    With a `quality` (B,) for each image, from 1 to 100, it is what a JPEG of that quality gives back. Of the gradient,
    too, only that passes which the file keeps: the waves of luma in each block that were not rounded to nothing. All of
    it would raise without end what the file takes away again.
    """
    seen = (image.detach().float().clamp(0, 1) * 255).round()
    if quality is not None:
        seen = torch.stack([_through_jpeg(one, round(q)) for one, q in zip(seen, quality.tolist(), strict=True)])
        image = cast("Tensor", _KeptGradient.apply(image, seen, quality))
    return image + (seen.to(image.dtype) / 255 - image.detach())


class _KeptGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, seen: Tensor, quality: Tensor) -> Tensor:
        steps = torch.stack([_steps(round(q)) for q in quality.tolist()]).to(seen)
        ctx.kept = _blocks(_luma(seen)).abs() > steps[:, :, None] / 2  # 0 is not quite 0 in 8 bits
        ctx.kept[:, 0] = True  # a block of middle grey has brightness, too
        return image.view_as(image)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = grad_outputs
        height, width = gradient.shape[-2:]
        of_luma = gradient.float().sum(1, keepdim=True)  # luma is in every channel
        waves = _blocks(of_luma) * ctx.kept
        back = F.fold(_basis(waves.device).T @ waves, _whole(of_luma).shape[-2:], 8, stride=8)[..., :height, :width]
        return (back * torch.tensor(LUMA, device=back.device)[:, None, None]).to(gradient), None, None


def _blocks(luma: Tensor) -> Tensor:
    """Cosine transform of the 8 x 8 blocks of images (N, 1, H, W), which end in part of one: (N, 64, blocks)."""
    return _basis(luma.device) @ F.unfold(_whole(luma), 8, stride=8)


def _whole(luma: Tensor) -> Tensor:
    return F.pad(luma, (0, -luma.shape[-1] % 8, 0, -luma.shape[-2] % 8), mode="replicate")


class JpegFile(nn.Module):
    """What a JPEG of one quality keeps of images (B, 3, H, W) in [0, 1]; without a quality it keeps all."""

    def __init__(self) -> None:
        super().__init__()
        self.quality = 0
        """From 1 to 100, or 0. A number of Python's, so that no step waits for a device to say it."""
        self.saved: Tensor
        self.register_buffer("saved", torch.zeros(()))

    def set(self, quality: int) -> None:
        self.quality = quality
        self.saved.fill_(quality)

    def forward(self, seen: Tensor) -> Tensor:
        return as_file(seen, torch.full((len(seen),), float(self.quality))) if self.quality else seen

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        super()._load_from_state_dict(*args, **options)
        self.quality = int(self.saved)


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    """One image (3, H, W) of whole numbers in [0, 255], RGB, after a JPEG with colours at half the size."""
    pixels = np.ascontiguousarray(image.byte().permute(1, 2, 0).cpu().numpy()[..., ::-1])
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert again is not None, "what was just encoded cannot be decoded"
    return torch.from_numpy(np.ascontiguousarray(again[..., ::-1])).permute(2, 0, 1).to(image)


def quality_of(images: Tensor) -> int | None:
    """The quality of the JPEG files that images (N, 3, h, w) were cut from; None without, or below `SMALLEST`.

    What a file has rounded, the same quality rounds no more: recompressed on the same grid of blocks, its pixels hardly
    change (Farid, "Exposing Digital Forgeries from JPEG Ghosts", 2009). A cut's grid may lie anywhere, so all 64 places
    are tried, and the best is compared with the one in the middle of their order. Knows libjpeg's scale of qualities.
    """
    if min(images.shape[-2:]) < SMALLEST:
        return None
    luma = _luma(255 * images.float())
    textured = luma.var((1, 2, 3)).argsort(descending=True)[:MOST_TEXTURED]
    waves = torch.stack([_waves(luma[textured], *place) for place in np.ndindex(8, 8)])
    clearest, quality = min((_change(waves, _steps(quality)), quality) for quality in QUALITIES)
    return quality if clearest < CLEAR else None


def _waves(luma: Tensor, top: int, left: int) -> Tensor:
    """Cosine transform of the 8 x 8 blocks from that pixel on, the same number for each: (N, 64, blocks)."""
    rows, columns = ((side - 7) // 8 * 8 for side in luma.shape[-2:])
    return _blocks(luma[..., top : top + rows, left : left + columns])


def _luma(images: Tensor) -> Tensor:
    """Of images (N, 3, H, W) in [0, 255], as JPEG has it: (N, 1, H, W), from -128 to 127."""
    return (images * torch.tensor(LUMA, device=images.device)[:, None, None]).sum(1, keepdim=True) - 128


def _basis(device: torch.device) -> Tensor:
    """The orthonormal cosine transform of 8 x 8 pixels: (64, 64)."""
    order = torch.arange(8, device=device)
    basis = torch.cos((2 * order + 1) * order[:, None] * torch.pi / 16) / 2
    basis[0] /= 2**0.5
    return torch.kron(basis, basis)


def _steps(quality: int) -> Tensor:
    """Quantization steps of the luma at that quality as libjpeg scales them: (64,)."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor([int(step) for step in STEPS.split()]) * scale + 50) // 100).clamp(1, 255)


def _change(waves: Tensor, steps: Tensor) -> float:
    """What rounding to the steps changes at the best place of the blocks, of what it does at the middle one.

    `waves` are (places, N, 64, blocks); the ratio is the median of the N images.
    """
    steps = steps.to(waves)[:, None]
    change = (waves - steps * (waves / steps).round()).square().mean((2, 3))
    return float(((change.amin(0) + ROUNDING) / (change.median(0).values + ROUNDING)).median())
