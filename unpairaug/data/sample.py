"""The `sample` data: free photographs from the scikit-image wheel, degraded by simulated cameras.

Nothing is downloaded. Images are split by scene: no scene is on both the clean and the degraded side, and validation
uses other scenes. A simulated camera (`find_camera`) produces the degraded side. The cameras are fixed: tests and
published results depend on them.

Credits, all in the public domain, under CC0, or with no known copyright restriction (docstrings of `skimage.data`):
astronaut: NASA. brick: CC0Textures, Bricks25. camera: Lav Varshney. chelsea: Stefan van der Walt. coffee: Rachel
Michetti. coins: Brooklyn Museum. grass: linolafett. gravel: CC0Textures, Gravel04. hubble_deep_field: NASA.
ihc: Center for Microscopy and Molecular Imaging. retina: Mikael Häggström. rocket: SpaceX. The wheel's stereo pair
`motorcycle` and `moon` state no licence and stay out.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unpairaug.data.drawn_camera import find_camera
from unpairaug.errors import UserError

Part = Literal["clean", "degraded", "val_clean", "val_degraded", "ceiling_clean", "pairs_clean", "pairs_degraded"]
"""The image sets in a recipe's `data` section; `ceiling_clean` is the ground truth of `degraded`."""

CLEAN = ("astronaut.png", "coffee.png", "coins.png", "gravel.png", "hubble_deep_field.jpg")
DEGRADED = ("brick.png", "camera.png", "grass.png", "ihc.png", "retina.jpg")
VAL = ("chelsea.png", "rocket.jpg")

WINDOWS = {"retina.jpg": (slice(300, 1100), slice(300, 1100))}
"""Rows and columns that are used of an image: the retina without its black border."""

SIDE_MULTIPLE = 12
"""Sides are cropped to a multiple of every scale from 1 to 4."""

SCALES = (1, 2, 3, 4)


@cache
def sample_images(part: Part, scale: int, camera: str = "lens") -> dict[str, NDArray[np.uint8]]:
    """The images of one part by name, each (H, W, 3) RGB, 8 bits; degraded sides are 1/scale as long.

    Args:
        part: the image set.
        scale: side length of the ground truth divided by that of the degraded image.
        camera: the simulated camera of the degraded images, see `find_camera`.

    Raises:
        UserError: the scale is not one of 1, 2, 3, 4, or the installed scikit-image lacks an image.
    """
    if scale not in SCALES:
        raise UserError(f"the `sample` data exist at scale 1, 2, 3 and 4, not {scale}; give folders of your own images")
    names = VAL if part.startswith("val_") else CLEAN if part == "clean" else DEGRADED
    images = {Path(name).stem + ".png": _load_photograph(name) for name in names}
    if part.endswith("degraded"):
        seen_by = find_camera(camera)
        assert seen_by is not None, f"no camera {camera!r}"
        return {name: seen_by(image, scale, name) for name, image in images.items()}
    return images


def _load_photograph(name: str) -> NDArray[np.uint8]:
    found = find_spec("skimage")
    path = Path(*(found.submodule_search_locations or [] if found else []), "data", name)
    if not path.is_file():
        raise UserError(f"the installed scikit-image does not carry {name}; `pip install -U scikit-image` brings it")
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))[WINDOWS.get(name, (slice(None), slice(None)))]
    height, width = (side - side % SIDE_MULTIPLE for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])
