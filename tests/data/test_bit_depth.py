"""The header decides how deep an image is, and not the values of its pixels."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from unpairaug.data.bit_depth import bit_depth
from unpairaug.data.decode import EncodedImage, decode_exact_pixels, decode_image
from unpairaug.errors import UserError


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """All grey levels of 8 bits, (16, 16)."""
    return np.arange(256).reshape(16, 16)


def tiff(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def tiff_of_bits(samples: np.ndarray, bits: int) -> bytes:
    """A grey TIFF of any depth; rows fill whole bytes."""
    binary = samples[..., None] >> np.arange(bits)[::-1] & 1
    packed = np.packbits(binary.astype(np.uint8)).tobytes()
    height, width = samples.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: height}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in {**tags, 279: len(packed)}.items())
    return b"II*\0" + struct.pack("<IH", 8, 9) + entries + bytes(4) + packed


def exact(data: bytes) -> np.ndarray:
    return EncodedImage(data, lambda: "a").read(lambda image: decode_exact_pixels(image, data))


def test_12_bits_are_scaled_so_that_4095_is_white(values):
    data = tiff_of_bits(np.round(values / 255 * 4095).astype(int), 12)
    pixels = exact(data)
    assert pixels.dtype == np.uint16 and pixels.max() == 65535 and pixels.min() == 0
    assert np.abs(pixels.astype(int) - values * 257).max() <= 8
    np.testing.assert_array_equal(decode_image(data, "a.tif")[..., 0], values)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int16, np.int8, np.float32, np.float64])
def test_other_types_are_refused_even_where_their_values_would_fit(values, dtype):
    few = (values % 128).astype(dtype)
    with pytest.raises(UserError, match=r"a\.tif: .* with unsigned samples of 8 or 16 bits|a\.tif: .*cannot be read"):
        decode_image(tiff(few, photometric="minisblack"), "a.tif")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_scaled_to_white(bits: int):
    samples = np.arange(2**bits).repeat(8)[None]
    expected = samples[0] * 255 // (2**bits - 1)
    np.testing.assert_array_equal(decode_image(tiff_of_bits(samples, bits), "a.tif")[0, :, 0], expected)


@pytest.mark.parametrize("white", [255, 1023, 65535])
@pytest.mark.parametrize("kind", [b"P5", b"P6"])
def test_a_pixmap_is_scaled_by_its_largest_sample(kind: bytes, white: int):
    samples = np.linspace(0, white, 3 * 3 * 2).round().astype(">u2" if white > 255 else np.uint8)
    width = 3 if kind == b"P6" else 9
    data = kind + f" {width} 2 {white}\n".encode() + samples.tobytes()
    pixels = exact(data)
    expected = samples.astype(float) / white
    assert pixels.dtype == (np.uint16 if white > 255 else np.uint8)
    largest = 65535 if white > 255 else 255
    shown = pixels if pixels.ndim == 2 else pixels[..., 0] if kind == b"P5" else pixels
    assert np.abs(shown.ravel() / largest - expected).max() <= 0.51 / largest


def test_plain_pixmaps_of_more_than_8_bits_and_of_floats_are_refused():
    with pytest.raises(UserError, match="other than interleaved RGB"):
        decode_image(b"P3 1 1 1023\n0 511 1023", "a.ppm")
    with pytest.raises(UserError, match="floating-point samples"):
        decode_image(b"Pf 1 1 -1.0\n" + np.float32(1).tobytes(), "a.pfm")


def test_the_depth_is_known_before_the_pixels_are_read():
    for pixels, depth in ((np.zeros((4, 4), np.uint8), 8), (np.zeros((4, 4, 3), np.uint16), 16)):
        data = tiff(pixels, photometric="minisblack" if pixels.ndim == 2 else "rgb")
        with Image.open(io.BytesIO(data)) as image:
            assert bit_depth(image, data) == depth
