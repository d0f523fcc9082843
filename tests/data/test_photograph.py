"""Image files read and written with all that is kept of them; what is written is judged by other readers."""

import io
import logging
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.ExifTags import GPS, IFD, Base

from unpairaug.data.images import read_image
from unpairaug.data.photograph import Photograph, read_photograph, write_photograph
from unpairaug.errors import UserError

DEPTHS = pytest.mark.parametrize("depth", [np.uint8, np.uint16])
RGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = RGB_PROFILE[:16] + b"GRAY" + RGB_PROFILE[20:]
CMYK_PROFILE = RGB_PROFILE[:16] + b"CMYK" + RGB_PROFILE[20:]


def noise(depth: type, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(depth).max, shape, depth, endpoint=True)


def of_a_camera(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Orientation], exif[Base.ImageWidth] = "Toy", orientation, 7
    exif.get_ifd(IFD.Exif).update({Base.ExposureTime: 0.25, Base.ExifImageWidth: 7, Base.MakerNote: b"secret"})
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitudeRef] = "N"
    return exif


def chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG, whose checksums must be right; names that come twice are refused but for pixels."""
    found, at = {}, 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length :][:4]) == (zlib.crc32(kind + body),)
        assert kind == b"IDAT" or kind not in found
        found[kind] = body
        at += 12 + length
    first, *_, last = found
    assert (first, last) == (b"IHDR", b"IEND")
    return found


@DEPTHS
@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_what_is_written_is_read_again_to_the_bit(depth: type, channels: tuple, with_alpha: bool, tmp_path: Path):
    given = Photograph(
        noise(depth, 5, 7, *channels),
        noise(depth, 5, 7) if with_alpha else None,
        RGB_PROFILE if channels else None if with_alpha and depth == np.uint16 else GREY_PROFILE,
        of_a_camera().tobytes(),
        (300.0, 150.0),
    )
    write_photograph(tmp_path / "a.png", given)
    found = read_photograph(tmp_path / "a.png")
    alike = given.pixels
    if depth == np.uint16 and with_alpha and not channels:
        alike = np.dstack([alike] * 3)  # OpenCV writes no grey with alpha
    assert found.pixels.dtype == depth and np.array_equal(found.pixels, alike)
    assert (found.alpha is None) == (not with_alpha)
    if found.alpha is not None:
        assert found.alpha.dtype == depth and np.array_equal(found.alpha, given.alpha)
    assert found.profile == given.profile
    assert found.dpi == pytest.approx(given.dpi, abs=0.02)
    assert "Toy" in Image.open(tmp_path / "a.png").getexif().values()
    chunks((tmp_path / "a.png").read_bytes())


def test_opencv_and_pillow_read_what_is_written_in_16_bits(tmp_path: Path):
    pixels, alpha = noise(np.uint16, 6, 5, 3), noise(np.uint16, 6, 5)
    write_photograph(tmp_path / "a.png", Photograph(pixels, alpha, RGB_PROFILE, of_a_camera().tobytes(), (72, 72)))
    theirs = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert theirs is not None and np.array_equal(theirs, np.dstack([pixels[..., ::-1], alpha]))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(image, np.dstack([pixels, alpha]) >> 8)
        assert image.info["icc_profile"] == RGB_PROFILE
        assert image.getexif().get_ifd(IFD.GPSInfo)[GPS.GPSLatitudeRef] == "N"


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"compression": "zlib", "predictor": True}])
def test_a_tiff_of_16_bits_is_read_at_its_depth(options: dict, tmp_path: Path):
    for shape, extra in [((5, 7, 3), {"photometric": "rgb"}), ((5, 7), {"photometric": "minisblack"})]:
        pixels = noise(np.uint16, *shape)
        profile = RGB_PROFILE if len(shape) == 3 else GREY_PROFILE
        tifffile.imwrite(tmp_path / "a.tif", pixels, iccprofile=profile, **extra, **options)
        found = read_photograph(tmp_path / "a.tif")
        assert np.array_equal(found.pixels, pixels) and found.pixels.dtype == np.uint16
        assert found.profile == profile
    with_alpha = noise(np.uint16, 5, 7, 4)
    tifffile.imwrite(tmp_path / "a.tif", with_alpha, photometric="rgb", extrasamples=["unassalpha"], **options)
    found = read_photograph(tmp_path / "a.tif")
    assert found.alpha is not None and np.array_equal(np.dstack([found.pixels, found.alpha]), with_alpha)


KINDS = {
    "png": ["1", "L", "LA", "P", "RGB", "RGBA"],
    "jpg": ["L", "RGB", "CMYK"],
    "webp": ["RGB", "RGBA"],
    "tif": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"],
    "bmp": ["1", "L", "P", "RGB"],
    "ppm": ["1", "L", "RGB"],
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in KINDS.items() for mode in modes])
def test_every_kind_of_8_bits_has_the_colours_that_training_reads_and_what_else_it_has(
    kind: str, mode: str, tmp_path: Path
):
    path = tmp_path / f"a.{kind}"
    given = Image.fromarray(noise(np.uint8, 9, 8, 3)).convert(mode)
    if mode.endswith("A"):
        given.putalpha(Image.fromarray(noise(np.uint8, 9, 8)))
    given.save(path, **({"lossless": True, "exact": True} if kind == "webp" else {}))
    found, trained_on, is_grey = read_photograph(path), read_image(path), mode in ("1", "L", "LA")
    assert found.pixels.ndim == (2 if is_grey else 3)
    assert np.array_equal(np.dstack([found.pixels] * 3) if is_grey else found.pixels, trained_on)
    assert (found.alpha is not None) == mode.endswith("A")
    assert found.alpha is None or np.array_equal(found.alpha, noise(np.uint8, 9, 8))


def test_a_transparent_colour_becomes_alpha(tmp_path: Path):
    pixels = noise(np.uint8, 5, 7, 3)
    Image.fromarray(pixels).save(tmp_path / "rgb.png", transparency=tuple(pixels[2, 3].tolist()))
    palette = Image.fromarray(pixels).quantize(8)
    palette.save(tmp_path / "palette.png", transparency=3)
    grey = noise(np.uint16, 5, 7)
    encoded = cv2.imencode(".png", grey)[1].tobytes()
    body = b"tRNS" + int(grey[2, 3]).to_bytes(2, "big")
    transparency = struct.pack(">I", 2) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "grey.png").write_bytes(encoded[:33] + transparency + encoded[33:])
    for name, clear, depth in [
        ("rgb.png", (pixels == pixels[2, 3]).all(2), 255),
        ("palette.png", np.asarray(palette) == 3, 255),
        ("grey.png", grey == grey[2, 3], 65535),
    ]:
        found = read_photograph(tmp_path / name)
        assert found.alpha is not None and np.array_equal(found.alpha, np.where(clear, 0, depth)), name
        assert (found.pixels.ndim == 2) == (name == "grey.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_upright_and_exif_no_longer_says_to_turn_them(kind: str, orientation: int, tmp_path: Path):
    exif = of_a_camera(orientation)
    Image.fromarray(noise(np.uint8, 5, 7, 3)).save(tmp_path / "a", kind, exif=exif.tobytes())
    found = read_photograph(tmp_path / "a")
    assert found.pixels.shape[:2] == ((5, 7) if orientation < 5 else (7, 5))
    write_photograph(tmp_path / "b.png", found)
    assert np.array_equal(read_image(tmp_path / "b.png"), read_image(tmp_path / "a"))
    with Image.open(tmp_path / "b.png") as image:
        kept = image.getexif()
        details = kept.get_ifd(IFD.Exif)
        assert kept[Base.Orientation] == 1 and kept[Base.Make] == "Toy"
        assert details[Base.ExposureTime] == 0.25 and details[Base.MakerNote] == b"secret"
        assert kept.get_ifd(IFD.GPSInfo)[GPS.GPSLatitudeRef] == "N"
        assert not {Base.ImageWidth, Base.StripOffsets, Base.Compression} & kept.keys()
        assert Base.ExifImageWidth not in details


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bits_with_alpha_are_turned_together(orientation: int, tmp_path: Path):
    pixels, alpha = noise(np.uint16, 5, 7, 3), noise(np.uint16, 5, 7)
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    write_photograph(tmp_path / "a.png", Photograph(pixels, alpha, exif=exif.tobytes()))
    found = read_photograph(tmp_path / "a.png")
    assert found.alpha is not None
    upright = np.rint(np.dstack([found.pixels, found.alpha]) / 257)
    assert np.array_equal(upright[..., :3], read_image(tmp_path / "a.png"))
    corner = np.rint(alpha / 257)
    assert sorted(upright[..., 3].ravel()) == sorted(corner.ravel())
    row, column = np.argwhere((found.pixels == pixels[1, 2]).all(2))[0]
    assert found.alpha[row, column] == alpha[1, 2]


def test_a_profile_of_other_colours_than_those_that_are_read_is_left_out(tmp_path: Path):
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg", icc_profile=CMYK_PROFILE)
    assert read_photograph(tmp_path / "a.jpg").profile is None
    Image.new("L", (8, 8)).save(tmp_path / "a.jpg", icc_profile=GREY_PROFILE)
    assert read_photograph(tmp_path / "a.jpg").profile == GREY_PROFILE
    Image.new("L", (8, 8)).save(tmp_path / "a.jpg", icc_profile=RGB_PROFILE)
    assert read_photograph(tmp_path / "a.jpg").profile is None


def test_an_image_without_exif_profile_and_resolution_gets_none(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    found = read_photograph(tmp_path / "a.png")
    assert (found.exif, found.profile, found.dpi, found.alpha) == (None, None, None, None)
    write_photograph(tmp_path / "b.png", found)
    assert chunks((tmp_path / "b.png").read_bytes()).keys() == {b"IHDR", b"IDAT", b"IEND"}


def test_exif_that_cannot_be_kept_is_said_and_the_image_read(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    # The camera's name as a fraction, which Pillow reads and cannot write.
    broken = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHII", Base.Make, 5, 1, 8) + bytes(4)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=broken)
    with caplog.at_level(logging.WARNING):
        found = read_photograph(tmp_path / "a.jpg")
    assert found.pixels.shape == (8, 8, 3)
    assert found.exif is None
    (said,) = (record.getMessage() for record in caplog.records)
    assert "a.jpg: its EXIF cannot be kept" in said


def test_a_file_that_is_no_image_is_refused_as_everywhere(tmp_path: Path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(UserError, match=r"a\.png: this image cannot be read"):
        read_photograph(tmp_path / "a.png")
    file = io.BytesIO()
    Image.fromarray(noise(np.uint8, 50, 50, 3)).save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue()[:3000])
    with pytest.raises(UserError, match="truncated"):
        read_photograph(tmp_path / "a.png")
