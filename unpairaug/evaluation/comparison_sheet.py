"""A pair and what was restored of it, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unpairaug.data.decode import Array
from unpairaug.data.pairs import ImagePair
from unpairaug.evaluation.metrics import psnr, ssim
from unpairaug.restoring.restore import Bicubic, restore_image

REACH = 32
"""8-bit steps of difference at which the map is brightest: the same in every sheet, so that sheets can be compared."""
FONT, LINE, GAP = 13, 18, 6
"""Pixels: the height of letters, of a line, and between panels."""


def comparison_sheet(pair: ImagePair, restored: Array, metrics: Mapping[str, float], scale: int, border: int) -> Array:
    """Degraded enlarged by bicubic interpolation, restored, clean, and where the last two differ: (H, W, 3) uint8.

    Above each panel stands what it is, and how near it comes to the clean image: PSNR and SSIM in RGB without the
    border, then whatever else was measured of the restored one.
    """
    before = restore_image(Bicubic(scale), pair.degraded)
    own = psnr(before, pair.clean, border), ssim(before, pair.clean, border)
    others = [f"{name} {metrics[name]:.4f}" for name in ("lpips", "dists") if name in metrics]
    panels = {
        ("bicubic" if scale > 1 else "degraded", _told(*own)): before,
        ("restored", ", ".join([_told(metrics["psnr_rgb"], metrics["ssim_rgb"]), *others])): restored,
        ("clean", ""): pair.clean,
        ("|restored - clean|", f"black 0, yellow {REACH} of 255 or more"): difference_map(restored, pair.clean),
    }
    return _beside_each_other(panels)


def difference_map(restored: Array, clean: Array) -> Array:
    """Mean absolute difference of the channels as colours, dark where there is none: (H, W, 3) uint8 RGB."""
    difference = np.abs(restored.astype(np.float32) - clean).mean(axis=2)
    level = np.rint(np.minimum(difference / REACH, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def _told(decibels: float, similarity: float) -> str:
    return f"{decibels:.2f} dB, SSIM {similarity:.4f}"


def _beside_each_other(panels: Mapping[tuple[str, str], Array]) -> Array:
    """Panels under two lines of text each; a panel has as much room as the longer of its lines takes."""
    font = ImageFont.load_default(FONT)
    widths = [
        max(image.shape[1], *(int(font.getlength(line)) + 1 for line in lines)) for lines, image in panels.items()
    ]
    height = 2 * LINE + max(image.shape[0] for image in panels.values())
    canvas = Image.new("RGB", (sum(widths) + GAP * (len(panels) - 1), height), "white")
    draw, left = ImageDraw.Draw(canvas), 0
    for (lines, image), width in zip(panels.items(), widths, strict=True):
        for row, line in enumerate(lines):
            draw.text((left, row * LINE), line, fill="black", font=font)
        canvas.paste(Image.fromarray(image), (left, 2 * LINE))
        left += width + GAP
    return np.asarray(canvas)
