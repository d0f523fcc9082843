"""The `sample` data: free photographs that the scikit-image wheel carries, and cameras that training never sees.

Nothing is downloaded. Images are split by scene: those of the clean side never meet the degraded side, and neither is
used for validation. The degraded side is made by a camera (`find_camera`), each of which is fixed: tests and
results depend on them.

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


@cache
def sample_images(part: Part, scale: int, camera: str = "lens") -> dict[str, NDArray[np.uint8]]:
    """The images of one part by name, each (H, W, 3) RGB in 8 bits; degraded ones have sides 1/scale as long.

    Args:
        part: which of the sets.
        scale: side of a clean image over the side of its degraded twin.
        camera: which took the degraded ones, see `find_camera`.

    Raises:
        UserError: the scale is not one of 1, 2, 3, 4, or the installed scikit-image lacks an image.
    """
    if scale not in SCALES:
        raise UserError(f"the `sample` data exist at scale 1, 2, 3 and 4, not {scale}; give folders of your own images")
    names = {"clean": CLEAN, "ceiling_clean": DEGRADED, "degraded": DEGRADED}.get(part, VAL)
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
