"""What a file keeps of an image, with a gradient that passes straight through."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def as_file(image: Tensor, quality: Tensor | None = None) -> Tensor:
    """The image (B, 3, H, W), within [0, 1] and on the 256 levels of a file; the gradient passes straight through.

    With a `quality` (B,) for each image, from 1 to 100, it is what a JPEG of that quality gives back.
    """
    seen = (image.detach().float().clamp(0, 1) * 255).round()
    if quality is not None:
        seen = torch.stack([_through_jpeg(one, round(q)) for one, q in zip(seen, quality.tolist(), strict=True)])
    return image + (seen.to(image.dtype) / 255 - image.detach())


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    """One image (3, H, W) of whole numbers in [0, 255], RGB, after a JPEG with colours at half the size."""
    pixels = np.ascontiguousarray(image.byte().permute(1, 2, 0).cpu().numpy()[..., ::-1])
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert again is not None, "what was just encoded cannot be decoded"
    return torch.from_numpy(np.ascontiguousarray(again[..., ::-1])).permute(2, 0, 1).to(image)
