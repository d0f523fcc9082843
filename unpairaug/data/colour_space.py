"""The colour space of an image file, by ICC profile, PNG chunks or EXIF; pixels are not converted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base

SRGB = "sRGB"
"""The colour space of files that name none."""

COLOUR_CHUNKS = (b"cICP", b"mDCV", b"cLLI", b"sRGB", b"gAMA", b"cHRM")
"""Chunks that say what the numbers of a PNG mean, besides an ICC profile (PNG specification, third edition, 11.3.2)."""

_PRIMARIES = {1: SRGB, 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
"""Names of the colour primaries of a cICP chunk (ITU-T H.273)."""
_TRANSFERS = {8: "linear", 16: "PQ", 18: "HLG"}
"""Names of its transfer functions that are far from sRGB's."""
_SRGB_CHROMATICITY = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
"""White, red, green and blue of sRGB in a cHRM chunk, in units of 1e-5."""
_PATCHES = np.array([[(180, 90, 90), (90, 180, 90), (90, 90, 180), (128, 128, 128), (40, 40, 40)]], np.uint8)
"""Colours inside of sRGB: where a profile leaves them unchanged, it is one of sRGB."""
_TOLERANCE = 4
"""8-bit steps."""


def name_colour_space(image: Image.Image, data: bytes) -> str:
    """The name of the colour space of an image that was opened from `data`, such as `sRGB` or `Display P3`.

    Grey and CMYK images count as sRGB: their profiles do not concern the RGB values that are decoded.
    """
    chunks = dict(colour_chunks(data)) if image.format == "PNG" else {}
    if len(chunks.get(b"cICP", b"")) == 4:
        return _name_code_points(*chunks[b"cICP"][:2])
    profile = image.info.get("icc_profile") or b""
    if profile[16:20] == b"RGB ":
        return _name_profile(profile)
    if b"sRGB" not in chunks and (b"gAMA" in chunks or b"cHRM" in chunks):
        return _name_png_space(chunks)
    return _name_exif_space(image)


def colour_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of each colour chunk before the pixels of a PNG."""
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IDAT":
            return
        if kind in COLOUR_CHUNKS:
            yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


@lru_cache(maxsize=64)
def _name_profile(profile: bytes) -> str:
    """`sRGB` for a profile that leaves sRGB colours unchanged, else the description in the profile."""
    try:
        found = ImageCms.ImageCmsProfile(BytesIO(profile))
        to_srgb = ImageCms.buildTransform(found, ImageCms.createProfile("sRGB"), "RGB", "RGB")
        patches = ImageCms.applyTransform(Image.fromarray(_PATCHES), to_srgb)
        if patches is not None and np.abs(np.asarray(patches).astype(int) - _PATCHES).max() <= _TOLERANCE:
            return SRGB
        return ImageCms.getProfileDescription(found).strip()[:60] or "a profile without a name"
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return "an invalid profile"


def _name_code_points(primaries: int, transfer: int) -> str:
    name = _PRIMARIES.get(primaries, f"primaries {primaries}")
    return f"{name} {_TRANSFERS[transfer]}" if transfer in _TRANSFERS else name


def _name_png_space(chunks: dict[bytes, bytes]) -> str:
    gamma = struct.unpack(">I", chunks[b"gAMA"])[0] if len(chunks.get(b"gAMA", b"")) == 4 else 45455
    points = struct.unpack(">8I", chunks[b"cHRM"]) if len(chunks.get(b"cHRM", b"")) == 32 else _SRGB_CHROMATICITY
    differs = max(abs(a - b) for a, b in zip(points, _SRGB_CHROMATICITY, strict=True)) > 500
    parts = ["other primaries"] if differs else []
    parts += [f"gamma 1/{100000 / max(gamma, 1):.2g}"] if abs(gamma - 45455) > 1500 else []
    return " with ".join(parts) or SRGB


def _name_exif_space(image: Image.Image) -> str:
    """Cameras mark Adobe RGB by the interoperability index R03 (Exif 2.32, 4.6.8)."""
    try:
        exif = image.getexif()
        if exif.get_ifd(IFD.Exif).get(Base.ColorSpace) == 65535 and exif.get_ifd(IFD.Interop).get(1) == "R03":
            return "Adobe RGB"
    except Exception:  # Pillow raises nearly any type for broken EXIF
        return SRGB
    return SRGB
