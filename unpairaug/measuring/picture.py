"""The figures of a measured camera as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from unpairaug.camera.spectra import MIDDLES
from unpairaug.measuring.measurement import Measurement

WIDTH, HEIGHT, MARGIN = 460, 320, 56
"""Size in pixels of a panel, and of the room for its labels."""
INK, GRID, LINE, BAND = "#222222", "#dddddd", "#1f5fa8", "#c9dcf2"
Point = tuple[float, float]


def write_picture(found: Measurement, path: str | PathLike[str]) -> None:
    """Draw the gain by frequency and the noise by light into a PNG file."""
    draw(found).save(Path(path), format="PNG")


def draw(found: Measurement) -> Image.Image:
    """Panels side by side: gain of the optics by frequency, noise by light; the band spans the two halves' figures."""
    panels = []
    if found.report.gain is not None:
        gains = [report.gain for report in (found.report, *found.halves) if report.gain is not None]
        curves = [[(f, float(g)) for f, g in zip(MIDDLES, gain, strict=True)] for gain in gains]
        panels.append(_panel("gain of the optics", "cycles per pixel", curves, (0.0, 0.55), most=1.2))
    lights = torch.linspace(0, 1, 33).tolist()
    noises = [report.noise for report in (found.report, *found.halves)]
    curves = [[(light, max(noise.variance(light), 0.0) ** 0.5) for light in lights] for noise in noises]
    panels.append(_panel("noise, 8-bit steps", "light", curves, (0.0, 1.0), most=2.0))
    picture = Image.new("RGB", (WIDTH * len(panels), HEIGHT), "white")
    for i, panel in enumerate(panels):
        picture.paste(panel, (i * WIDTH, 0))
    return picture


def _panel(title: str, axis: str, curves: Sequence[Sequence[Point]], span: Point, most: float) -> Image.Image:
    """One panel; the first curve is drawn as a line, the other two bound the band."""
    panel = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen, font = ImageDraw.Draw(panel), ImageFont.load_default(13)
    top = max(most, *(y for curve in curves for _, y in curve)) * 1.05

    def place(point: Point) -> Point:
        x = MARGIN + (point[0] - span[0]) / (span[1] - span[0]) * (WIDTH - MARGIN - 16)
        return x, HEIGHT - MARGIN - point[1] / top * (HEIGHT - MARGIN - 40)

    for tick in range(5):
        value = top * tick / 4
        pen.line([place((span[0], value)), place((span[1], value))], fill=GRID)
        pen.text((place((span[0], value))[0] - 36, place((span[0], value))[1] - 8), f"{value:.2g}", fill=INK, font=font)
        at = span[0] + (span[1] - span[0]) * tick / 4
        pen.text((place((at, 0))[0] - 12, HEIGHT - MARGIN + 8), f"{at:.2g}", fill=INK, font=font)
    line, one, other = ([place(point) for point in curve] for curve in curves)
    pen.polygon([*one, *reversed(other)], fill=BAND)
    pen.line(line, fill=LINE, width=3)
    pen.text((MARGIN, 12), title, fill=INK, font=ImageFont.load_default(16))
    pen.text((WIDTH // 2, HEIGHT - 24), axis, fill=INK, font=font)
    return panel
