"""Images of more than 8 bits a channel: their depth by the header of the file, and their exact pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

_SAMPLE_FORMAT = 339
_UNSIGNED = {1, 4}
"""Values of TIFF's SampleFormat for unsigned integers; 4 is undefined, which writers use for plain bytes."""

UPRIGHT: dict[int, Callable[[NDArray], NDArray]] = {
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""The operation that makes an image upright, by EXIF orientation."""


def bit_depth(image: Image.Image, data: bytes) -> int:
    """Bits a channel of an image that was opened from `data` and is not loaded yet: 8 (or fewer), 12 or 16.

    The header decides, and not the values of the pixels.

    Raises:
        ValueError: samples are signed, floating-point, or of another depth.
    """
    if image.format == "PNG":
        return max(8, data[24])
    if image.format == "TIFF":
        return _tiff_bit_depth(image)
    if image.mode == "F":
        raise ValueError("floating-point samples; save it with unsigned samples of 8 or 16 bits")
    tile = getattr(image, "tile", [])
    if image.format == "PPM" and tile and tile[0][0].startswith("ppm"):
        return 16 if tile[0][3][1] > 255 else 8
    return 16 if image.mode.startswith("I") else 8


def read_grey(image: Image.Image, depth: int, is_negative: bool) -> NDArray[np.uint16]:
    """The pixels of a loaded grey image of 12 or 16 bits, (H, W), scaled to 16 bits; Pillow would clip them to 8."""
    values = np.asarray(image, dtype=np.uint32)
    white = 2**depth - 1 if image.format == "TIFF" else 65535  # Pillow scales the samples of a PGM itself
    values = white - values if is_negative else values
    return ((values * 65535 + white // 2) // white).astype(np.uint16)


def is_negative(image: Image.Image) -> bool:
    """Whether zero is white in a grey TIFF: Pillow inverts such files at 8 bits only."""
    return image.format == "TIFF" and image.tag_v2.get(Base.PhotometricInterpretation) == 0  # type: ignore[attr-defined]


def read_colour(image: Image.Image, data: bytes, orientation: int) -> NDArray[np.uint16]:
    """The pixels of a colour image of 16 bits a channel, (H, W, 3) or with alpha (H, W, 4), upright.

    Args:
        image: the loaded, upright image, of which Pillow has the upper 8 bits.
        data: the file.
        orientation: EXIF orientation of the file.

    Raises:
        ValueError: no decoder reads this arrangement of the samples exactly.
    """
    import cv2

    upper = np.asarray(image.convert("RGB"))
    exact = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if exact is not None and exact.dtype == np.uint16 and exact.ndim == 3 and exact.shape[2] >= 3:
        exact = exact[..., [2, 1, 0, 3][: exact.shape[2]]].astype(np.uint16)
        for upright in (exact, UPRIGHT.get(orientation, np.asarray)(exact)):  # OpenCV has already rotated a TIFF
            if np.array_equal(upright[..., :3] >> 8, upper):
                return upright
    raise ValueError("16 bits a channel in an arrangement other than interleaved RGB; save it as plain RGB")


def read_pixmap(data: bytes, size: tuple[int, int], offset: int, white: int) -> NDArray[np.uint16]:
    """The pixels of a raw PPM of more than 8 bits, (H, W, 3), scaled to 16 bits; Pillow would reduce them to 8.

    Args:
        data: the file.
        size: (width, height) in pixels.
        offset: where the samples begin.
        white: the largest sample.
    """
    samples = np.frombuffer(data, ">u2", count=3 * size[0] * size[1], offset=offset).astype(np.uint32)
    scaled = (np.minimum(samples, white) * 65535 + white // 2) // white
    return scaled.astype(np.uint16).reshape(size[1], size[0], 3)


def _tiff_bit_depth(image: Image.Image) -> int:
    tags = image.tag_v2  # type: ignore[attr-defined]
    if set(tags.get(_SAMPLE_FORMAT, (1,))) - _UNSIGNED:
        raise ValueError("signed or floating-point samples; save it with unsigned samples of 8 or 16 bits")
    depths = set(tags.get(Base.BitsPerSample, (1,)))
    if len(depths) > 1 or not depths <= {1, 2, 4, 8, 12, 16}:
        listed = ", ".join(map(str, sorted(depths)))
        raise ValueError(f"samples of {listed} bits; save it with unsigned samples of 8 or 16 bits")
    return max(8, *depths)
