"""Damage that Pillow does not report: half a scan before the end marker, holes; and JPEGs of endless scans."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from PIL import Image

from unpairaug.data import damage
from unpairaug.data.decode import decode_image
from unpairaug.errors import UserError


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """Smooth shapes with some noise, 160×120."""
    rows, columns = np.mgrid[:120, :160]
    waves = np.stack([np.sin(rows / 9), np.cos(columns / 7), np.sin((rows + columns) / 11)], axis=2)
    noise = np.random.default_rng(0).normal(0, 6, waves.shape)
    return Image.fromarray((127 + 90 * waves + noise).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scan_of(data: bytes) -> int:
    """Where the first scan of a JPEG begins."""
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_half_a_jpeg_before_its_end_marker_is_refused(photograph, mode: str, progressive: bool):
    data = encode(photograph.convert(mode), "JPEG", quality=90, progressive=progressive)
    start, size = scan_of(data), len(data)
    middle = (start + size) // 2
    holes = {
        "second half gone": data[:middle] + b"\xff\xd9",
        "first half gone": data[:start] + data[middle:],
        "a hole of zeros": data[: start + 300] + bytes(size - start - 600) + data[size - 300 :],
        "a hole closed up": data[: start + 300] + data[size - 300 :],
    }
    assert decode_image(data, "whole.jpg").shape == (120, 160, 3)
    for what, damaged in holes.items():
        with pytest.raises(UserError, match=r"half\.jpg: this image cannot be read \(damaged or truncated: "):
            decode_image(damaged, "half.jpg")
            pytest.fail(what)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 2}])
def test_a_whole_jpeg_is_decoded_to_the_pixels_of_pillow(photograph, mode: str, options: dict):
    for width, height in ((160, 120), (33, 17), (1, 1)):
        data = encode(photograph.convert(mode).crop((0, 0, width, height)), "JPEG", quality=80, **options)
        with Image.open(io.BytesIO(data)) as expected:
            np.testing.assert_array_equal(decode_image(data, "a.jpg"), np.asarray(expected.convert("RGB")))


def test_a_warning_that_does_not_concern_the_pixels_is_no_damage(photograph):
    data = bytearray(encode(photograph, "JPEG"))
    data[11] = 2  # "unknown JFIF revision number 2.01"
    assert decode_image(bytes(data), "a.jpg").shape == (120, 160, 3)


def test_a_progressive_jpeg_of_endless_scans_is_refused_before_they_are_decoded(photograph, monkeypatch):
    data = encode(photograph, "JPEG", progressive=True)
    scans = data.count(b"\xff\xda")
    monkeypatch.setattr(damage, "MAX_SCAN_PIXELS", scans * 160 * 120)
    decode_image(data, "a.jpg")
    last = data.rindex(b"\xff\xda")
    with pytest.raises(UserError, match=rf"a\.jpg: .*{scans + 1} scans over 160×120 pixels take too long"):
        decode_image(data[:-2] + data[last:-2] + b"\xff\xd9", "a.jpg")


def test_a_changed_bit_in_the_pixels_of_a_png_changes_nothing_or_is_refused(photograph):
    data = encode(photograph, "PNG")
    start, end = data.index(b"IDAT") + 4, data.rindex(b"IEND") - 8
    refused = 0
    for at in np.random.default_rng(0).integers(start, end, 200):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        try:
            assert np.array_equal(decode_image(bytes(flipped), "a.png"), np.asarray(photograph))
        except UserError:
            refused += 1
    assert refused > 150


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_with_a_hole_is_refused(lossless: bool):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
    data = encode(noise, "WEBP", lossless=lossless, quality=95)
    assert len(data) > 12_000 and decode_image(data, "a.webp").shape == (120, 160, 3)
    with pytest.raises(UserError, match=r"a\.webp: .*damaged: 4096 zeros"):
        decode_image(data[:6000] + bytes(4200) + data[10_200:], "a.webp")
    with pytest.raises(UserError, match=r"a\.webp: .*cannot be read"):
        decode_image(data[:6000] + data[7000:], "a.webp")


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PPM"])
@pytest.mark.parametrize("cut", [lambda data: data[: len(data) // 2]])
def test_a_missing_end_is_found_in_formats_without_checksums(photograph, kind: str, cut: Callable[[bytes], bytes]):
    with pytest.raises(UserError, match="cannot be read"):
        decode_image(cut(encode(photograph, kind)), "half")


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 7}])
def test_a_tiff_with_too_few_strips_or_tiles_is_not_taken_for_black(options: dict):
    file = io.BytesIO()
    tifffile.imwrite(file, np.full((40, 30, 3), 200, np.uint8), photometric="rgb", metadata=None, **options)
    data = file.getvalue()
    assert decode_image(data, "a.tif").min() == 200
    height = struct.pack("<HHII", 257, 4, 1, 40)
    short = struct.pack("<HHIHH", 257, 3, 1, 40, 0)
    assert (height in data) != (short in data)
    taller = data.replace(height, struct.pack("<HHII", 257, 4, 1, 90)).replace(
        short, struct.pack("<HHIHH", 257, 3, 1, 90, 0)
    )
    with pytest.raises(UserError, match=r"a\.tif: .*(truncated|cannot be read)"):
        decode_image(taller, "a.tif")


def test_padding_of_cameras_in_a_jpeg_is_read_and_hides_no_damage(photograph):
    whole = encode(photograph, "JPEG", quality=90)
    table, start = whole.index(b"\xff\xdb"), scan_of(whole)
    padded = whole[:table] + b"\0\0" + whole[table:]
    for data in (padded, padded[:-2] + bytes(500) + padded[-2:]):
        assert np.array_equal(decode_image(data, "a.jpg"), decode_image(whole, "a.jpg"))
    middle = start + (len(padded) - start) // 2
    foreign = np.random.default_rng(0).integers(1, 255, 500, np.uint8).tobytes()
    for data in (padded[:middle] + b"\xff\xd9", padded[:-2] + foreign + padded[-2:], b"\xff\xd8\xff\0\xff"):
        with pytest.raises(UserError, match="this image cannot be read"):
            decode_image(data, "a.jpg")


def test_a_header_whose_segment_leads_beyond_the_end_is_left_as_it_is():
    data = b"\xff\xd8\xff\xe0\x7f\xff" + bytes(16)
    assert damage.remove_padding(data) == data  # and does not begin again, without end
