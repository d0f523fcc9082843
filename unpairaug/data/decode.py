"""Decode the bytes of an image file to upright 8-bit RGB, or raise an error that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from unpairaug.data.damage import check_png, check_webp, decode_jpeg
from unpairaug.errors import UserError, escape

Array = NDArray[np.uint8]
"""An image: (H, W, 3) RGB, 8 bits."""

T = TypeVar("T")
Depth = TypeVar("Depth", np.uint8, np.uint16)
Place = Callable[[int, int], tuple[int, int, int, int]]
"""Maps (width, height) of an upright image to (left, top, right, bottom) of a window, all in pixels."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM")
"""The formats that are decoded, whatever the extension. Pillow's other decoders are not used: some start programs."""

MAX_PIXELS = 178_956_970
"""Larger images are refused before decoding: a file of some kilobytes can claim gigabytes. (Pillow's own limit.)"""

_TURNS: dict[int, Callable[[NDArray], NDArray]] = {
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""The operation that makes an image upright, by EXIF orientation."""


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
        with self._name_errors():
            self._image = Image.open(BytesIO(data), formats=FORMATS)
            width, height = self._image.size
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
        pixels = self.read(lambda image: _to_8_bit_rgb(decode_exact_pixels(image, self.data, place)))
        pixels.setflags(write=False)
        return pixels

    def read(self, read: Callable[[Image.Image], T]) -> T:
        """The result of `read` on the opened image. Call it once.

        Raises:
            UserError: `read` fails.
        """
        with self._name_errors(), self._image as image:
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
            reason = _format_reason(broken)
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
    deep = image.format == "TIFF" and 16 in image.tag_v2.get(Base.BitsPerSample, ())  # type: ignore[attr-defined]
    deep |= image.format == "PNG" and data[24] == 16
    negative = image.mode.startswith("I;16") and _is_negative(image)
    orientation = image.getexif().get(Base.Orientation, 1)
    if image.format in ("JPEG", "MPO") and (pixels := decode_jpeg(image, data)) is not None:
        upright = _TURNS.get(orientation, np.asarray)(pixels)
        return upright if place is None else crop_image(upright, place(upright.shape[1], upright.shape[0]))
    if image.format == "WEBP":
        check_webp(data)
    image.load()
    if image.format == "PNG":
        check_png(image, data)
    if orientation == 1 and image.mode == "RGB" and not deep:
        return np.asarray(image if place is None else image.crop(place(*image.size)))
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        whole = _grey_16_bit(image, negative)
    else:
        rgb = np.asarray(image.convert("RGB"))
        whole = _colour_16_bit(rgb, data, orientation) if deep else rgb
    return whole if place is None else crop_image(whole, place(whole.shape[1], whole.shape[0]))


def _is_negative(image: Image.Image) -> bool:
    """Whether zero is white in a 16-bit grey TIFF: Pillow inverts such files at 8 bits only."""
    return image.format == "TIFF" and image.tag_v2.get(Base.PhotometricInterpretation) == 0  # type: ignore[attr-defined]


def _to_8_bit_rgb(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Array:
    """The result of `decode_exact_pixels` as 8-bit RGB, rounded, without alpha."""
    if pixels.dtype == np.uint8:
        return pixels  # type: ignore[return-value]  # pyright does not narrow by dtype
    colour = pixels[..., :3] if pixels.ndim == 3 else pixels
    rounded = ((colour.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rounded if rounded.ndim == 3 else np.repeat(rounded[..., None], 3, axis=2)


def _grey_16_bit(image: Image.Image, negative: bool) -> NDArray[np.uint16]:
    """The pixels of a 16-bit grey image, which Pillow would clip to 8 bits."""
    if image.mode == "F" or (values := np.asarray(image, dtype=np.int64)).max(initial=0) > 65535 or values.min() < 0:
        raise ValueError(f"pixels of mode {image.mode!r}; expected 8 or 16 bits a channel")
    return (65535 - values if negative else values).astype(np.uint16)


def _colour_16_bit(rgb: Array, data: bytes, orientation: int) -> NDArray[np.uint16]:
    """The pixels of a colour image of 16 bits a channel, with alpha; Pillow keeps only the upper 8 bits, `rgb`."""
    import cv2

    exact = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if exact is not None and exact.dtype == np.uint16 and exact.ndim == 3 and exact.shape[2] >= 3:
        exact = exact[..., [2, 1, 0, 3][: exact.shape[2]]].astype(np.uint16)
        for upright in (exact, _TURNS.get(orientation, np.asarray)(exact)):  # OpenCV has already rotated a TIFF
            if np.array_equal(upright[..., :3] >> 8, rgb):
                return upright
    raise ValueError("16 bits a channel in an arrangement other than interleaved RGB; save it as plain RGB")


def _format_reason(broken: Exception) -> str:
    """The decoder's message on one line, without the path, which the message already names."""
    if isinstance(broken, Image.UnidentifiedImageError):
        return f"no known image format; known are {', '.join(FORMATS)}"
    return escape(str(broken).split("\n")[0]) or type(broken).__name__
