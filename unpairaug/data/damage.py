"""Detect damaged image files that Pillow decodes without an error: missing data and holes.

JPEG, PNG and WebP files reveal damage, each in its own way. Uncompressed TIFF, BMP and PNM files reveal only missing
data: a changed byte within them cannot be detected.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, SAMPLEFORMAT, ImageFileDirectory_v2

MAX_SCAN_PIXELS = 4 * 10**9
"""Pixels times scans of a progressive JPEG, about one second of decoding: every scan passes over the whole image, and a
file of 100 KB can have hundreds of them. Encoders write 10 to 14."""

_HARMLESS = ("Warning: unknown JFIF", "Unknown Adobe color", "Invalid SOS parameters", "Corrupt JPEG data: bad ICC")
"""Beginnings of libjpeg's warnings that do not concern the pixels."""

_SCAN = 0xDA
"""The marker with which the compressed pixels of a JPEG begin."""

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step and row step of each pass of an interlaced PNG."""

_HOLE = bytes(4096)
"""Zeros of a block of a file system that was never written. Compressed pixels do not contain so many."""


def decode_jpeg(image: Image.Image, data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of an opened JPEG, (H, W, 3) RGB, equal to Pillow's; None where Pillow must decode them.

    Pillow hides the warnings of libjpeg, which finds missing and corrupt data and fills the rest with grey.

    Raises:
        ValueError: libjpeg warns of damage, or the file has too many scans (see `MAX_SCAN_PIXELS`).
    """
    import simplejpeg

    scans = data.count(b"\xff\xda")
    if scans * image.width * image.height > MAX_SCAN_PIXELS and image.info.get("progressive"):
        raise ValueError(f"{scans} scans over {image.width}×{image.height} pixels take too long to decode")
    space = "CMYK" if image.mode == "CMYK" else "RGB"
    try:
        try:
            pixels = simplejpeg.decode_jpeg(data, space)
        except ValueError as warning:
            if "extraneous bytes before marker" not in str(warning):
                raise
            pixels = simplejpeg.decode_jpeg(remove_padding(data), space)
    except ValueError as warning:
        if str(warning).startswith(_HARMLESS):
            return None
        raise ValueError(f"damaged or truncated: {warning}") from warning
    return None if image.mode == "CMYK" else pixels


def remove_padding(data: bytes) -> bytes:
    """A JPEG without the bytes that some cameras write between the segments of its header and in front of its end.

    In front of the end only a run of zeros or of 255 is removed: other bytes there are left over from damaged pixels.
    """
    kept, at = [data[:2]], 2
    while True:
        at = data.find(b"\xff", at)
        while at >= 0 and data[at + 1 : at + 2] == b"\xff":
            at += 1
        if at < 0 or at + 4 > len(data):
            return data
        if data[at + 1] == _SCAN:
            break
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big") if data[at + 1] else 0
        kept.append(data[at : at + length])
        at += max(2, length)
    end = data.rfind(b"\xff\xd9")
    scans = data[at:end] if end > at else data[at:]
    kept.append(scans.rstrip(scans[-1:]) if scans[-1:] in (b"\0", b"\xff") else scans)
    return b"".join([*kept, data[end:] if end > at else b""])


def check_png(image: Image.Image, data: bytes) -> None:
    """Raise for missing rows of a loaded PNG: Pillow accepts compressed data that end early, with zeros for the rest.

    Pillow itself finds all other damage by the checksum of the compressed pixels.
    """
    last = np.asarray(image.crop((0, max(0, image.height - 2), *image.size)))
    if all(row.any() for row in last):  # one of the two rows belongs to the last pass of an interlaced image
        return  # counting bytes takes as long as decoding, so it is done only where the last rows are zero
    width, height, depth, colours, interlaced = struct.unpack(">IIBB2xB", data[16:29])
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
    expected = sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 < rows)
    inflate, at, held = zlib.decompressobj(), 8, 0
    while at + 8 <= len(data) and held < expected:
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        rest = data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        while rest and held < expected:
            held += len(inflate.decompress(rest, 2**20))
            rest = inflate.unconsumed_tail
        at += 12 + length
    if held < expected:
        raise ValueError(f"truncated: {held} of {expected} bytes of pixels")


def check_tiff(image: Image.Image) -> None:
    """Raise for a TIFF, not loaded yet, whose strips or tiles do not cover the image: Pillow leaves the rest black."""
    tiles = getattr(image, "tile", [])
    covered = sum((right - left) * (bottom - top) for _, (left, top, right, bottom), *_ in tiles)
    if covered < image.width * image.height:
        raise ValueError(f"truncated: its strips or tiles have {covered} of {image.width * image.height} pixels")


def describe_float_samples(data: bytes) -> str | None:
    """What a TIFF says of floating-point samples, which Pillow does not decode in colour; None without them."""
    with suppress(Exception):  # a damaged directory says nothing
        file = BytesIO(data)
        directory = ImageFileDirectory_v2(file.read(8))
        file.seek(directory.next)
        directory.load(file)
        if 3 in directory[SAMPLEFORMAT]:
            return f"{directory[BITSPERSAMPLE][0]}-bit floating-point samples"
    return None


def check_webp(data: bytes) -> None:
    """Raise for a WebP with a hole of zeros in its compressed pixels.

    libwebp finds missing data itself. Other damage changes pixels without a trace, because the format has no checksum.
    """
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8 ", b"VP8L", b"ALPH", b"ANMF") and data.find(_HOLE, at + 8, at + 8 + size) >= 0:
            raise ValueError(f"damaged: {len(_HOLE)} zeros in a row within the compressed pixels")
        at += 8 + size + size % 2
