"""Plain JPEGs are decoded without Pillow, to the same pixels; every other file is left to Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from unpairaug.data import decode
from unpairaug.data.decode import decode_image
from unpairaug.data.plain_jpeg import read_plain_size


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((33, 17), Image.Resampling.BICUBIC)


def encode(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def insert(data: bytes, marker: int, content: bytes) -> bytes:
    """The JPEG with one more segment in front of the others."""
    return data[:2] + bytes([0xFF, marker]) + (2 + len(content)).to_bytes(2, "big") + content + data[2:]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"keep_rgb": True}, {"restart_marker_blocks": 1}])
def test_a_plain_jpeg_has_the_pixels_of_pillow_without_pillow(photograph, monkeypatch, mode: str, options: dict):
    data = encode(photograph.convert(mode), **options, comment=b"\xff\xda\xff\xe1", icc_profile=b"\xff\xd9" * 40)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(opened.convert("RGB"))
    assert read_plain_size(data) == (33, 17)
    monkeypatch.setattr(decode.Image, "open", lambda *_, **__: pytest.fail("Pillow parses the header"))
    np.testing.assert_array_equal(decode_image(data, "a.jpg"), expected)


def test_an_orientation_behind_a_segment_that_holds_the_marker_of_a_scan_is_found(photograph):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = insert(encode(photograph, exif=exif), 0xED, b"Photoshop 3.0\0 \xff\xda\0\x08 a thumbnail")
    assert read_plain_size(data) is None
    assert decode_image(data, "a.jpg").shape == (33, 17, 3)


def test_other_files_are_left_to_pillow(photograph):
    plain = encode(photograph)
    others = [encode(photograph, progressive=True), encode(photograph.convert("CMYK")), insert(plain, 0xE1, b"http")]
    frame = plain.index(b"\xff\xc0")
    others += [plain[:2], b"\x89PNG", plain[: frame + 9], plain[:frame] + plain[frame : frame + 19] + plain[frame:]]
    assert [read_plain_size(data) for data in others] == [None] * len(others)
    assert read_plain_size(plain) == (33, 17)
