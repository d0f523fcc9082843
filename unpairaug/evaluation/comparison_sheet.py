"""A PNG of input, restored image, ground truth and their difference, side by side."""

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
"""Difference in 8-bit steps at which the map is brightest; constant, so that sheets can be compared."""
FONT, LINE, GAP = 13, 18, 6
"""Font size, line height, and gap between panels, in pixels."""


def draw_comparison_sheet(
    pair: ImagePair, restored: Array, metrics: Mapping[str, float], scale: int, border: int
) -> Array:
    """Draw input, restored image, ground truth, and the error map: (H, W, 3) uint8.

    The input is enlarged by bicubic interpolation at scales above 1. The title of each panel has its PSNR and SSIM in
    RGB without the border; the restored panel also LPIPS and DISTS where they were measured.
    """
    enlarged = restore_image(Bicubic(scale), pair.degraded)
    quality = psnr(enlarged, pair.clean, border), ssim(enlarged, pair.clean, border)
    others = [f"{name} {metrics[name]:.4f}" for name in ("lpips", "dists", "cvvdp") if name in metrics]
    panels = {
        ("bicubic" if scale > 1 else "input", _format_quality(*quality)): enlarged,
        ("restored", ", ".join([_format_quality(metrics["psnr_rgb"], metrics["ssim_rgb"]), *others])): restored,
        ("ground truth", ""): pair.clean,
        ("|restored - ground truth|", f"black 0, yellow {REACH} of 255 or more"): difference_map(restored, pair.clean),
    }
    return _place_side_by_side(panels)


def difference_map(restored: Array, clean: Array) -> Array:
    """Mean absolute difference over channels in the inferno colour map: (H, W, 3) uint8 RGB."""
    difference = np.abs(restored.astype(np.float32) - clean).mean(axis=2)
    level = np.rint(np.minimum(difference / REACH, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def _format_quality(decibels: float, similarity: float) -> str:
    return f"{decibels:.2f} dB, SSIM {similarity:.4f}"


def _place_side_by_side(panels: Mapping[tuple[str, str], Array]) -> Array:
    """Panels below two lines of text each; a panel is at least as wide as its text."""
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
