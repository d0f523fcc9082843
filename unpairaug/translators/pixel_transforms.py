"""The transforms of albumentations that change pixels and leave them in their places, by name."""

from __future__ import annotations

import os
from typing import Any

import cv2
from numpy.typing import NDArray

from unpairaug.registry.albumentations_package import check_licence

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network for a newer version
import albumentations

check_licence()


class Downscale(albumentations.Downscale):
    """albumentations' own, with a small image that covers the large one: (H, W, C) of any type -> the same.

    That of albumentations 2.0.8 rounds the small size but not the scale, so the two differ in what they cover by up to
    half a small pixel; what a head learns from such an image is shifted.
    """

    def apply(self, img: NDArray[Any], scale: float, **params: Any) -> NDArray[Any]:
        height, width = img.shape[:2]
        small = max(1, round(scale * width)), max(1, round(scale * height))
        shrunk = cv2.resize(img, small, interpolation=self.interpolation_pair["downscale"])
        enlarged = cv2.resize(shrunk, (width, height), interpolation=self.interpolation_pair["upscale"])
        return enlarged.reshape(img.shape)


TRANSFORMS: dict[str, type[Any]] = {
    name: kind
    for name, kind in {**vars(albumentations), "Downscale": Downscale}.items()
    if isinstance(kind, type) and issubclass(kind, albumentations.ImageOnlyTransform) and name != "ImageOnlyTransform"
}
