"""Decode the plain JPEGs that most data sets consist of by libjpeg-turbo alone, without Pillow's parsing of the header.

Plain is a baseline JPEG in grey or three channels, without EXIF and XMP, so that its pixels are upright as stored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_START, _SCAN, _APP1 = b"\xff\xd8\xff", 0xDA, 0xE1
_BASELINE = (0xC0, 0xC1)
"""Frame headers of Huffman-coded JPEGs of one scan for each channel at most: baseline and extended sequential."""
_SEGMENTS = frozenset([*_BASELINE, 0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE]) - {_APP1}
"""Segments of the header of a plain JPEG: frame, Huffman and quantisation tables, restart interval, APPn, comment."""


def read_plain_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels of a plain JPEG by its header; None where Pillow must look at the file."""
    if not data.startswith(_START):
        return None
    at, size = 2, None
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SCAN:
            return size
        if marker not in _SEGMENTS:
            return None
        if marker in _BASELINE:
            depth, height, width, channels = data[at + 4], *_pair(data[at + 5 : at + 9]), data[at + 9]
            if size is not None or depth != 8 or channels not in (1, 3):
                return None
            size = (width, height) if width and height else None
        at += 2 + length
    return None


def decode_plain_jpeg(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """The pixels of a plain JPEG of this (width, height), (H, W, 3) RGB, as Pillow gives; None where libjpeg warns."""
    import simplejpeg

    try:
        pixels = simplejpeg.decode_jpeg(data)
    except ValueError:  # damage, or padding: `damage.decode_jpeg` tells them apart
        return None
    return pixels if pixels.shape == (size[1], size[0], 3) else None


def _pair(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big")
