"""Decoding: each pixel is right or the file is refused, also where decoders by themselves are silently wrong."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from unpairaug.data.decode import EncodedImage, decode_image
from unpairaug.errors import UserError, escape

UPRIGHT = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}


def rounded(pixels: np.ndarray) -> np.ndarray:
    """16 bits to 8, to the nearest."""
    return np.round(pixels / 257).astype(np.uint8)


@pytest.fixture
def deep() -> np.ndarray:
    """(5, 7, 3) in 16 bits, of all values."""
    return np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)


def png(pixels: np.ndarray, colours: int, extra: bytes = b"", rows: int | None = None) -> bytes:
    """A PNG of an (H, W, C) array of 8 or 16 bits, written by hand; with `rows`, its data end after so many."""
    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, pixels.itemsize * 8, colours, 0, 0, 0)
    data = b"".join(b"\0" + row.astype(pixels.dtype.newbyteorder(">")).tobytes() for row in pixels[:rows])
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def jpeg(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


@pytest.fixture
def noisy_jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return jpeg(Image.fromarray(noise), quality=90)


@pytest.mark.parametrize("alpha", [False, True])
def test_16_bits_of_colour_are_rounded_and_not_cut_off(deep, alpha):
    given = np.concatenate([deep, deep[..., :1]], axis=2) if alpha else deep
    np.testing.assert_array_equal(decode_image(png(given, 6 if alpha else 2), "a.png"), rounded(deep))
    for options in ({}, {"byteorder": ">"}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}):
        extra = {"extrasamples": ["unassalpha"]} if alpha else {}
        data = tiff(given, photometric="rgb", **extra, **options)
        np.testing.assert_array_equal(decode_image(data, "a.tif"), rounded(deep))


def test_16_bits_of_grey_are_rounded_and_a_negative_is_turned_positive(deep):
    grey = np.repeat(rounded(deep[..., :1]), 3, axis=2)
    np.testing.assert_array_equal(decode_image(png(deep[..., :2], 4), "grey_and_alpha.png"), grey)
    np.testing.assert_array_equal(decode_image(png(deep[..., :1], 0), "grey.png"), grey)
    np.testing.assert_array_equal(decode_image(tiff(deep[..., 0], photometric="minisblack"), "grey.tif"), grey)
    negative = tiff(65535 - deep[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(decode_image(negative, "negative.tif"), grey)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_is_turned_upright_at_every_depth(deep, orientation, compression):
    turn = UPRIGHT[orientation]
    tags = [(274, 3, 1, orientation, True)]
    for pixels, expected in (
        (deep, rounded(deep)),
        (rounded(deep), rounded(deep)),
        (deep[..., 0], np.repeat(rounded(deep[..., :1]), 3, axis=2)),
        (rounded(deep)[..., 0], np.repeat(rounded(deep[..., :1]), 3, axis=2)),
    ):
        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        data = tiff(pixels, photometric=photometric, compression=compression, extratags=tags)
        np.testing.assert_array_equal(decode_image(data, "a.tif"), turn(expected))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_png_and_a_jpeg_are_turned_upright(deep, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = UPRIGHT[orientation](rounded(deep))
    note = chunk(b"eXIf", exif.tobytes()[6:])
    np.testing.assert_array_equal(decode_image(png(deep, 2, note), "deep.png"), expected)
    np.testing.assert_array_equal(decode_image(png(rounded(deep), 2, note), "a.png"), expected)
    flat = Image.new("RGB", (16, 8))
    flat.paste((200, 200, 200), (0, 0, 8, 8))
    read = decode_image(jpeg(flat, exif=exif, quality=100), "a.jpg")
    np.testing.assert_allclose(read.astype(int), UPRIGHT[orientation](np.asarray(flat)), atol=3)


def test_16_bits_in_an_arrangement_that_decoders_get_wrong_are_refused(deep):
    planes = tiff(np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate")
    with pytest.raises(UserError, match=r"planes\.tif: .*other than interleaved RGB"):
        decode_image(planes, "planes.tif")


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_a_png_whose_data_end_early_is_not_taken_for_black(deep, rows):
    with pytest.raises(UserError, match=r"short\.png: .*truncated"):
        decode_image(png(rounded(deep) | 1, 2, rows=rows), "short.png")


def test_a_png_that_is_black_below_is_no_truncated_one(deep):
    pixels = rounded(deep)
    pixels[2:] = 0
    np.testing.assert_array_equal(decode_image(png(pixels, 2), "night.png"), pixels)
    palette = io.BytesIO()
    Image.new("P", (9, 9)).save(palette, "PNG", bits=1)
    assert not decode_image(palette.getvalue(), "black.png").any()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_jpeg_whose_rest_is_missing_or_zeros_is_not_taken_for_grey(noisy_jpeg, share):
    kept = noisy_jpeg[: int(share * len(noisy_jpeg))]
    for data in (kept, kept.ljust(len(noisy_jpeg), b"\0")):
        with pytest.raises(UserError, match=r"half\.jpg: .*truncated"):
            decode_image(data, "half.jpg")


def test_the_end_of_a_preview_is_not_the_end_of_a_jpeg(noisy_jpeg):
    preview = jpeg(Image.new("RGB", (8, 8)))
    header = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(preview) + 8) + b"Exif\0\0" + preview
    decode_image(header + noisy_jpeg[2:], "whole.jpg")
    with pytest.raises(UserError, match="truncated"):
        decode_image((header + noisy_jpeg[2:2000]).ljust(9000, b"\0"), "half.jpg")
    with pytest.raises(UserError, match="cannot be read"):
        decode_image(header, "preview.jpg")


def test_what_follows_the_end_of_a_jpeg_does_no_harm(noisy_jpeg):
    expected = decode_image(noisy_jpeg, "a.jpg")
    np.testing.assert_array_equal(decode_image(noisy_jpeg + bytes(100), "a.jpg"), expected)
    progressive = jpeg(Image.fromarray(expected), progressive=True)
    assert decode_image(progressive, "a.jpg").shape == expected.shape


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "I;16"])
def test_a_window_is_cut_from_the_upright_image_whatever_its_kind(deep, mode, orientation):
    pixels = deep[..., 0] if mode == "I;16" else rounded(deep)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image = Image.fromarray(pixels)
    (image if mode == "I;16" else image.convert(mode)).save(file, "PNG", exif=exif)
    whole = decode_image(file.getvalue(), "a.png")
    window = EncodedImage(file.getvalue(), lambda: "a.png").decode(lambda width, height: (1, 2, width - 1, height))
    np.testing.assert_array_equal(window, whole[2:, 1:-1])


def test_a_window_of_the_rows_that_are_there_is_no_reason_to_read_a_truncated_file(deep, noisy_jpeg):
    for data in (png(rounded(deep) | 1, 2, rows=4), noisy_jpeg[: len(noisy_jpeg) * 9 // 10]):
        with pytest.raises(UserError, match="truncated"):
            EncodedImage(data, lambda: "short").decode(lambda *_: (0, 0, 2, 2))


def test_a_format_that_is_not_listed_is_refused_whatever_the_file_is_called():
    file = io.BytesIO()
    Image.new("P", (4, 4)).save(file, "GIF")
    with pytest.raises(UserError, match=r"no known image format; known are PNG, JPEG"):
        decode_image(file.getvalue(), "a.png")


def test_a_message_stays_on_one_line_whatever_the_file_is_called():
    with pytest.raises(UserError) as error:
        decode_image(b"", "a\nb\x1b[2J\udcff.png")
    assert str(error.value).startswith(r"a\nb\x1b[2J\udcff.png: ")
    assert str(error.value).encode() and "\n" not in str(error.value)
    assert escape("naïve 写真.png") == "naïve 写真.png"
