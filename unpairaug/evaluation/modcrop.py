"""Ground truth whose sides are no multiple of the scale, cropped as in super-resolution papers (MATLAB's `modcrop`)."""

from __future__ import annotations

from unpairaug.data.decode import Array
from unpairaug.data.images import ImageSet
from unpairaug.data.pairs import ImagePair, ValidationPairs
from unpairaug.errors import UserError


class ModcropImages(ImageSet):
    """Images of another set, cropped at right and bottom to multiples of the scale."""

    def __init__(self, images: ImageSet, scale: int) -> None:
        self.images, self.scale = images, scale
        self.source, self.names, self.shard_sizes = images.source, images.names, images.shard_sizes
        self.remarks = images.remarks

    def __getitem__(self, i: int) -> Array:
        image = self.images[i]
        height, width = (side // self.scale * self.scale for side in image.shape[:2])
        return image[:height, :width]

    def read_bytes(self, i: int) -> bytes:
        return self.images.read_bytes(i)

    def location(self, i: int) -> str:
        return self.images.location(i)

    def stem(self, i: int) -> str:
        return self.images.stem(i)


class EvaluationPairs(ValidationPairs):
    """Pairs whose error names `--modcrop` where cropping the ground truth makes their sizes fit the scale."""

    def __getitem__(self, i: int) -> ImagePair:  # type: ignore[override]  # no slices
        try:
            return super().__getitem__(i)
        except UserError as error:
            if not self._fits_cropped(i):
                raise
            raise UserError(f"{error}; --modcrop crops the ground truth to that size") from error

    def _fits_cropped(self, i: int) -> bool:
        clean, degraded = self.matches[i]
        try:
            sides = zip(self.clean[clean].shape[:2], self.degraded[degraded].shape[:2], strict=True)
        except UserError:
            return False
        return all(large // self.scale == small for large, small in sides)
