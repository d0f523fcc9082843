"""Read and write images with bit depth, grey, alpha, colour profile, EXIF and resolution preserved."""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import IFD, Base

from unpairaug.data.colour_space import colour_chunks
from unpairaug.data.decode import EncodedImage, decode_exact_pixels
from unpairaug.data.files import write_file
from unpairaug.data.remote_files import read_image_bytes
from unpairaug.errors import escape

log = logging.getLogger("unpairaug")

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_LAYOUT_TAGS = frozenset(
    [*range(254, 267), *range(273, 282), 284, *range(317, 348), *range(512, 533), 700, 33723, 34377, 34675]
)
"""TIFF tags that describe the pixel layout of the source file, or embed other metadata: XMP, IPTC, a profile."""
_SIZES = (Base.ExifImageWidth, Base.ExifImageHeight)


@dataclass(frozen=True)
class Photograph:
    """The upright pixels of an image, and the metadata of its file."""

    pixels: Pixels
    """(H, W, 3) RGB, or (H, W) grey."""
    alpha: Pixels | None = None
    """(H, W) opacity at the bit depth of the pixels; None without alpha."""
    profile: bytes | None = None
    """ICC profile of the pixels."""
    exif: bytes | None = None
    """EXIF without orientation and image size."""
    dpi: tuple[float, float] | None = None
    """Resolution in pixels per inch, horizontal and vertical."""
    colour: tuple[tuple[bytes, bytes], ...] = ()
    """(kind, content) of the PNG chunks that say what the numbers mean, besides the profile (see `colour_chunks`)."""


Colour = tuple[bytes | None, tuple[tuple[bytes, bytes], ...]]
"""An ICC profile, and the colour chunks of a PNG by their kinds."""


def read_photograph(path: str | os.PathLike[str]) -> Photograph:
    """Read an image file at its own bit depth, with its metadata; palette and CMYK images become RGB.

    Raises:
        UserError: as `read_image` does.
    """
    data = read_image_bytes(path)
    return EncodedImage(data, lambda: os.fspath(path)).read(lambda image: convert_photograph(image, data, escape(path)))


def write_photograph(path: Path, photograph: Photograph) -> None:
    """Write a photograph as PNG with all its metadata, atomically."""
    encode = _encode_png_16_bit if photograph.pixels.dtype == np.uint16 else _encode_png_8_bit
    write_file(path, encode(photograph))


def convert_photograph(image: Image.Image, data: bytes, where: str) -> Photograph:
    exif = _upright_exif(image, where)
    is_grey = image.mode in ("1", "L", "LA", "La") or (image.format == "PNG" and data[25] in (0, 4))
    pixels = decode_exact_pixels(image, data)  # also applies the orientation to `image`
    is_deep, alpha = pixels.dtype == np.uint16, None
    if is_deep and pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels, alpha = pixels[..., :3], pixels[..., 3]
    elif is_deep and pixels.ndim == 2 and "transparency" in image.info:
        alpha = np.where(pixels == image.info["transparency"], 0, 65535).astype(np.uint16)
    elif not is_deep and image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    if is_grey and pixels.ndim == 3:
        pixels = pixels[..., 0]
    colour = tuple(colour_chunks(data)) if image.format == "PNG" else ()
    profile = icc_profile(image, pixels.ndim == 2)
    return Photograph(pixels, alpha, profile, exif, _resolution(image), colour)  # type: ignore[arg-type]


def read_colour(data: bytes) -> Colour:
    """What an image file says about the meaning of its RGB values: its ICC profile, and the colour chunks of a PNG."""
    with Image.open(BytesIO(data)) as image:
        return icc_profile(image, is_grey=False), tuple(colour_chunks(data)) if image.format == "PNG" else ()


def icc_profile(image: Image.Image, is_grey: bool) -> bytes | None:
    """The ICC profile of the file, unless it is for another colour space than the pixels, such as CMYK."""
    profile = image.info.get("icc_profile") or b""
    return profile if profile[16:20] == (b"GRAY" if is_grey else b"RGB ") else None


def _resolution(image: Image.Image) -> tuple[float, float] | None:
    across, down = image.info.get("dpi") or (0, 0)
    return (float(across), float(down)) if 0 < across < 1e6 and 0 < down < 1e6 else None


def _upright_exif(image: Image.Image, where: str) -> bytes | None:
    """The EXIF of the file, for an upright image of any size."""
    try:
        exif = _copy_exif(image.getexif())  # reading the pixels needs the orientation of the original
        for tag in _LAYOUT_TAGS & exif.keys():
            del exif[tag]
        for tag in _SIZES:
            exif.get_ifd(IFD.Exif).pop(tag, None)
        if not exif:
            return None
        exif[Base.Orientation] = 1
        return exif.tobytes()
    except Exception as broken:  # Pillow raises nearly any type for broken EXIF
        log.warning(f"{where}: its EXIF cannot be kept ({type(broken).__name__}: {broken})")
        return None


def _copy_exif(source: Image.Exif) -> Image.Exif:
    exif = Image.Exif()
    if getattr(source, "bigtiff", False):  # its bytes would be those of a BigTIFF, which is no EXIF
        for tag, value in source.items():
            exif[tag] = source.get_ifd(tag) if tag in (IFD.Exif, IFD.GPSInfo) else value
    else:
        exif.load(source.tobytes())
    return exif


def _encode_png_8_bit(photograph: Photograph) -> bytes:
    alpha = photograph.alpha
    image = photograph.pixels if alpha is None else np.dstack([photograph.pixels, alpha])
    kept: dict[str, Any] = {"icc_profile": photograph.profile, "exif": photograph.exif, "dpi": photograph.dpi}
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG", **{name: value for name, value in kept.items() if value is not None})
    return insert_chunks(file.getvalue(), photograph.colour)


def _encode_png_16_bit(photograph: Photograph) -> bytes:
    """Encode with OpenCV, because Pillow cannot write 16-bit colour; metadata are inserted after the PNG header.

    Grey with alpha becomes colour with alpha, because OpenCV cannot write it.
    """
    import cv2

    image, alpha = photograph.pixels, photograph.alpha
    if alpha is not None:
        image = np.dstack([image if image.ndim == 3 else np.dstack([image] * 3), alpha])
    if image.ndim == 3:
        image = image[..., [2, 1, 0, 3][: image.shape[2]]]
    written, encoded = cv2.imencode(".png", np.ascontiguousarray(image))
    assert written, f"OpenCV wrote no PNG of {image.shape}"
    return insert_chunks(encoded.tobytes(), [*photograph.colour, *_metadata_chunks(photograph)])


def insert_chunks(data: bytes, chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A PNG with further chunks of (kind, content) after its header."""
    header = len(b"\x89PNG\r\n\x1a\n") + 12 + 13
    return data[:header] + b"".join(_encode_chunk(*chunk) for chunk in chunks) + data[header:]


def _metadata_chunks(photograph: Photograph) -> list[tuple[bytes, bytes]]:
    """The PNG chunks of the metadata (PNG specification, third edition, 11.3)."""
    chunks = []
    if photograph.profile is not None:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(photograph.profile)))
    if photograph.dpi is not None:
        across, down = (round(dots / 0.0254) for dots in photograph.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))  # pixels a metre
    if photograph.exif is not None:
        chunks.append((b"eXIf", photograph.exif.removeprefix(b"Exif\0\0")))
    return chunks


def _encode_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
