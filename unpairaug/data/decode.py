"""Decode the bytes of an image file to upright 8-bit RGB, or raise an error that says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from unpairaug.data.bit_depth import UPRIGHT, bit_depth, is_negative, read_colour, read_grey, read_pixmap
from unpairaug.data.damage import check_png, check_tiff, check_webp, decode_jpeg, describe_float_samples
from unpairaug.data.plain_jpeg import decode_plain_jpeg, read_plain_size
from unpairaug.errors import UserError, escape

Array = NDArray[np.uint8]
"""An image: (H, W, 3) RGB, 8 bits."""

T = TypeVar("T")
Depth = TypeVar("Depth", np.uint8, np.uint16)
Place = Callable[[int, int], tuple[int, int, int, int]]
"""Maps (width, height) of an upright image to (left, top, right, bottom) of a window, all in pixels."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM")
"""The formats that are decoded, whatever the extension. Pillow's other decoders are not used: some start programs."""

_STARTS = {
    "PNG": rb"\x89PNG",
    "JPEG": rb"\xff\xd8\xff",
    "WEBP": b"RIFF....WEBP",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "BMP": b"BM",
}
"""How files of these formats begin, as regular expressions."""

MAX_PIXELS = 178_956_970
"""Larger images are refused before decoding: a file of some kilobytes can claim gigabytes. (Pillow's own limit.)"""


class EncodedImage:
    """The bytes of an image file, of which only the header is parsed; `decode` returns the pixels.

    `decode` applies the EXIF orientation, converts grey, palette and CMYK to RGB, drops alpha, rounds 16 bits to 8 and
    takes the first of several frames. It does not apply colour profiles.
    """

    def __init__(self, data: bytes, where: Callable[[], str]) -> None:
        """Parse the header.

        Args:
            data: the whole file.
            where: returns the name of the file for error messages; called only for these.

        Raises:
            UserError: the bytes are no image, or claim more than `MAX_PIXELS`.
        """
        self.data, self.where = data, where
        if not data:
            raise UserError(f"{escape(where())}: the file is empty (0 bytes); remove it or copy it again")
        self._plain_size = read_plain_size(data)
        with self._name_errors():
            # Pillow takes longer for the header of a small JPEG than libjpeg-turbo for its pixels.
            self._image = None if self._plain_size else Image.open(BytesIO(data), formats=FORMATS)
            width, height = self._plain_size or self._image.size  # type: ignore[union-attr]
            if width * height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{width}×{height} pixels")
        self.nbytes = 3 * width * height
        """Bytes of the decoded pixels, as 8-bit RGB."""

    def decode(self, place: Place | None = None) -> Array:
        """The upright pixels, (H, W, 3) RGB, 8 bits, read-only. Call it once.

        Args:
            place: chooses a window; without it, all pixels are returned. The whole file is decoded and checked in
                either case, but only the window becomes an array.

        Raises:
            UserError: the file is truncated, or its pixels cannot be read exactly.
        """
        plain = decode_plain_jpeg(self.data, self._plain_size) if self._plain_size else None
        if plain is None:
            pixels = self.read(lambda image: _to_8_bit_rgb(decode_exact_pixels(image, self.data, place)))
        else:
            pixels = _crop(plain, place)
        pixels.setflags(write=False)
        return pixels

    def read(self, read: Callable[[Image.Image], T]) -> T:
        """The result of `read` on the opened image. Call it once.

        Raises:
            UserError: `read` fails.
        """
        with self._name_errors(), self._image or Image.open(BytesIO(self.data), formats=FORMATS) as image:
            return read(image)

    @contextmanager
    def _name_errors(self) -> Iterator[None]:
        """Turn any exception of a decoder into one `UserError` that names the file."""
        try:
            yield
        except UserError:  # raised by `place`
            raise
        except Image.DecompressionBombError as bomb:
            raise UserError(
                f"{escape(self.where())}: more than {MAX_PIXELS} pixels ({bomb}); cut it into smaller images"
            ) from bomb
        except Exception as broken:  # Pillow's decoders raise nearly any type for broken bytes
            reason = _format_reason(broken, self.data)
            raise UserError(
                f"{escape(self.where())}: this image cannot be read ({reason}); remove it or copy it again"
            ) from broken


def decode_image(data: bytes, where: str) -> Array:
    """The upright image in the bytes of a file, (H, W, 3) RGB, 8 bits, read-only. See `EncodedImage`.

    Raises:
        UserError: the bytes are no image, are truncated, claim more than `MAX_PIXELS`, or hold pixels that cannot be
            read exactly.
    """
    return EncodedImage(data, lambda: where).decode()


def crop_image(image: NDArray[Depth], edges: Sequence[int]) -> NDArray[Depth]:
    """The window (left, top, right, bottom) of an image (H, W, …), as a view."""
    left, top, right, bottom = edges
    return image[top:bottom, left:right]


def decode_exact_pixels(
    image: Image.Image, data: bytes, place: Place | None = None
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The upright pixels of an image that was opened from `data`, at the bit depth of the file.

    (H, W, 3) RGB in 8 bits; of a file with 16 bits a channel (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGB with alpha.
    With `place`, the pixels of that window.

    Raises:
        Exception: of nearly any type: pixels are missing, or cannot be read exactly.
    """
    depth, negative = bit_depth(image, data), is_negative(image)
    tile = getattr(image, "tile", [])[:1]
    orientation = image.getexif().get(Base.Orientation, 1)
    if image.format in ("JPEG", "MPO") and (pixels := decode_jpeg(image, data)) is not None:
        return _crop(UPRIGHT.get(orientation, np.asarray)(pixels), place)
    if image.format == "WEBP":
        check_webp(data)
    if image.format == "TIFF":
        check_tiff(image)
    image.load()
    if image.format == "PNG":
        check_png(image, data)
    if orientation == 1 and image.mode == "RGB" and depth == 8:
        return np.asarray(image if place is None else image.crop(place(*image.size)))
    ImageOps.exif_transpose(image, in_place=True)
    if depth == 8:
        return _crop(np.asarray(image.convert("RGB")), place)
    if image.mode.startswith("I"):
        return _crop(read_grey(image, depth, negative), place)
    if tile and tile[0][0] == "ppm":
        return _crop(read_pixmap(data, image.size, tile[0][2], tile[0][3][1]), place)
    return _crop(read_colour(image, data, orientation), place)


def _crop(image: NDArray[Depth], place: Place | None) -> NDArray[Depth]:
    return image if place is None else crop_image(image, place(image.shape[1], image.shape[0]))


def _to_8_bit_rgb(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Array:
    """The result of `decode_exact_pixels` as 8-bit RGB, rounded, without alpha."""
    if pixels.dtype == np.uint8:
        return pixels  # type: ignore[return-value]  # pyright does not narrow by dtype
    colour = pixels[..., :3] if pixels.ndim == 3 else pixels
    rounded = ((colour.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rounded if rounded.ndim == 3 else np.repeat(rounded[..., None], 3, axis=2)


def _format_reason(broken: Exception, data: bytes) -> str:
    """The decoder's message on one line, without the path, which the message already names."""
    if isinstance(broken, Image.UnidentifiedImageError):
        known = next((name for name, start in _STARTS.items() if re.match(start, data, re.DOTALL)), None)
        if known == "TIFF" and (samples := describe_float_samples(data)):
            return f"{samples}; save it with 8 or 16 bits"
        if known is not None:
            return f"a damaged {known} file, or pixels of a kind that cannot be read"
        return f"no known image format; known are {', '.join(FORMATS)}"
    return escape(str(broken).split("\n")[0]) or type(broken).__name__
