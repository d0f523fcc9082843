"""The `sample` data: free photographs that the scikit-image wheel carries, and a camera that training never sees.

Nothing is downloaded. Images are split by scene: those of the clean side never meet the degraded side, and neither is
used for validation. The degraded side is made by `camera`, which is fixed: tests and results depend on it.

Credits, all in the public domain, under CC0, or with no known copyright restriction (docstrings of `skimage.data`):
astronaut: NASA. brick: CC0Textures, Bricks25. camera: Lav Varshney. chelsea: Stefan van der Walt. coffee: Rachel
Michetti. coins: Brooklyn Museum. grass: linolafett. gravel: CC0Textures, Gravel04. hubble_deep_field: NASA.
ihc: Center for Microscopy and Molecular Imaging. retina: Mikael Häggström. rocket: SpaceX. The wheel's stereo pair
`motorcycle` and `moon` state no licence and stay out.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unpairaug.errors import UserError

Part = Literal["clean", "degraded", "val_clean", "val_degraded", "ceiling_clean"]
"""The sets that a recipe's `data` section names; `ceiling_clean` holds the clean twins of `degraded`."""

CLEAN = ("astronaut.png", "coffee.png", "coins.png", "gravel.png", "hubble_deep_field.jpg")
DEGRADED = ("brick.png", "camera.png", "grass.png", "ihc.png", "retina.jpg")
VAL = ("chelsea.png", "rocket.jpg")

WINDOWS = {"retina.jpg": (slice(300, 1100), slice(300, 1100))}
"""Rows and columns that are kept of an image: the retina without its black surround."""

SIDE_MULTIPLE = 12
"""Sides are cut to a multiple of every scale from 1 to 4."""

SCALES = (1, 2, 3, 4)

BLUR_SIGMA = (1.0, 0.6)
"""Standard deviations of the blur along its axes, in pixels of the degraded image."""
BLUR_ANGLE = 30.0
"""Degrees from the horizontal to the blur's long axis."""
NOISE_READ = 2.0 / 255
"""Standard deviation of the noise in black, in units of the range [0, 1]."""
NOISE_MIDDLE = 6.0 / 255
"""The same in middle grey; the variance grows linearly with the light."""


@cache
def sample_images(part: Part, scale: int) -> dict[str, NDArray[np.uint8]]:
    """The images of one part by name, each (H, W, 3) RGB in 8 bits; degraded ones have sides 1/scale as long.

    Raises:
        UserError: the scale is not one of 1, 2, 3, 4, or the installed scikit-image lacks an image.
    """
    if scale not in SCALES:
        raise UserError(f"the `sample` data exist at scale 1, 2, 3 and 4, not {scale}; give folders of your own images")
    names = {"clean": CLEAN, "ceiling_clean": DEGRADED, "degraded": DEGRADED}.get(part, VAL)
    images = {Path(name).stem + ".png": _photograph(name) for name in names}
    if part.endswith("degraded"):
        return {name: camera(image, scale, name) for name, image in images.items()}
    return images


def camera(clean: NDArray[np.uint8], scale: int, name: str) -> NDArray[np.uint8]:
    """What the hidden camera sees of a clean image (H, W, 3): (H / scale, W / scale, 3), in 8 bits.

    Its optics, then noise that grows with the light and depends on the image's name alone.
    """
    light = optics((clean / 255).astype(np.float32), scale)
    slope = (NOISE_MIDDLE**2 - NOISE_READ**2) / 0.5
    # RandomState's numbers are frozen for ever (NumPy's NEP 19); those of default_rng may change between releases.
    noise = np.random.RandomState(crc32(name.encode())).standard_normal(light.shape)
    seen = light + np.sqrt(slope * light + NOISE_READ**2) * noise
    return (seen * 255).round().clip(0, 255).astype(np.uint8)


def optics(clean: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """The light on the sensor, (H / scale, W / scale, 3) in [0, 1], from a clean image (H, W, 3) in [0, 1].

    An oblique blur and an antialiased bicubic reduction. The blur is symmetric about its centre, so the pixel grid is
    that of the bicubic reduction: no shift, which unpaired data could not reveal.
    """
    return _reduce(_blur(clean, blur_kernel(scale)), scale).clip(0, 1)


def blur_kernel(scale: int) -> NDArray[np.float64]:
    """The camera's blur on the clean grid: (K, K), K odd, sum 1, symmetric about its central pixel."""
    long, short = (sigma * scale for sigma in BLUR_SIGMA)
    radius = math.ceil(4 * long)
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    angle = math.radians(BLUR_ANGLE)
    along = columns * math.cos(angle) + rows * math.sin(angle)
    across = rows * math.cos(angle) - columns * math.sin(angle)
    kernel = np.exp(-0.5 * ((along / long) ** 2 + (across / short) ** 2))
    return kernel / kernel.sum()


def _blur(image: NDArray[np.float32], kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    """The image convolved with the kernel, its borders mirrored."""
    margin = kernel.shape[0] // 2
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    height, width = padded.shape[:2]
    spread = np.zeros((height, width))
    spread[: 2 * margin + 1, : 2 * margin + 1] = kernel
    transfer = np.fft.rfft2(np.roll(spread, (-margin, -margin), axis=(0, 1)))  # the kernel's centre at the origin
    # The transform's wrapping round reaches no further than the margin, which is cut off.
    blurred = np.fft.irfft2(np.fft.rfft2(padded, axes=(0, 1)) * transfer[:, :, None], (height, width), axes=(0, 1))
    return blurred[margin : height - margin, margin : width - margin].astype(np.float32)


def _reduce(image: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Antialiased bicubic at 1/scale, cell centres on cell centres; no rounding on the way."""
    target = (image.shape[1] // scale, image.shape[0] // scale)
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(image, 2, 0)]
    return np.stack([np.asarray(plane.resize(target, Image.Resampling.BICUBIC)) for plane in planes], axis=2)


def _photograph(name: str) -> NDArray[np.uint8]:
    found = find_spec("skimage")
    path = Path(*(found.submodule_search_locations or [] if found else []), "data", name)
    if not path.is_file():
        raise UserError(f"the installed scikit-image does not carry {name}; `pip install -U scikit-image` brings it")
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))[WINDOWS.get(name, (slice(None), slice(None)))]
    height, width = (side - side % SIDE_MULTIPLE for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])
