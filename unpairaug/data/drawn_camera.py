"""Randomly drawn cameras, `sample:drawn-1` and so on: they test a recipe on degradations it was not tuned for."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unpairaug.data.cameras import (
    CAMERAS,
    Camera,
    correlate_noise,
    jpeg_roundtrip,
    noise_std,
    optics,
    random_from_name,
    to_uint8,
)

DRAWN = re.compile(r"drawn-(\d{1,6})")


@dataclass(frozen=True)
class DrawnCamera:
    """Blur, noise and JPEG compression; each may be absent, but not all of them."""

    blur: tuple[float, float] | None
    """Standard deviations along the blur's axes, in pixels of the degraded image."""
    angle: float
    """Degrees from the horizontal to the blur's long axis."""
    noise: tuple[float, float] | None
    """Standard deviation of the noise in black and in middle grey, in 8-bit steps."""
    grain: bool
    """Whether the noise is correlated between neighbours and channels."""
    quality: int | None
    """JPEG quality, from 1 to 100."""

    def __call__(self, clean: NDArray[np.uint8], scale: int, name: str) -> NDArray[np.uint8]:
        """Degrade a clean image (H, W, 3): returns (H / scale, W / scale, 3), 8 bits."""
        # A blur far below a pixel leaves the bicubic reduction alone.
        light = optics((clean / 255).astype(np.float32), scale, self.blur or (0.05, 0.05), self.angle)
        seen = to_uint8(light if self.noise is None else light + self._noise(light, name))
        return seen if self.quality is None else jpeg_roundtrip(seen, self.quality)

    def _noise(self, light: NDArray[np.float32], name: str) -> NDArray[np.float64]:
        black, middle = (steps / 255 for steps in self.noise or (0, 0))
        white = random_from_name(name).standard_normal(light.shape)
        return noise_std(light, black, middle) * (correlate_noise(white) if self.grain else white)


def draw_camera(seed: int) -> DrawnCamera:
    """Draw the camera of a seed: blur, noise and JPEG are each present with a probability of their own."""
    random = np.random.RandomState(seed)
    draw = random.uniform
    long, angle, middle = draw(0.4, 1.4), draw(0, 180), draw(2, 10)
    camera = DrawnCamera(
        blur=(long, long * draw(0.4, 1)) if draw() < 0.8 else None,
        angle=angle,
        noise=(middle * draw(0.2, 1), middle) if draw() < 0.8 else None,
        grain=bool(draw() < 0.5),
        quality=int(draw(50, 96)) if draw() < 0.5 else None,
    )
    return camera if camera.blur or camera.noise or camera.quality else draw_camera(seed + 1_000_003)


def find_camera(name: str) -> Camera | None:
    """The camera of that name, one of `CAMERAS` or `drawn-SEED`; None for an unknown name."""
    drawn = DRAWN.fullmatch(name)
    return draw_camera(int(drawn[1])) if drawn else CAMERAS.get(name)
