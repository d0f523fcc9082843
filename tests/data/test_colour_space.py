"""What the numbers of an image mean: named, kept when it is written again, and mixed spaces are reported."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from unpairaug.data.colour_space import name_colour_space
from unpairaug.data.photograph import insert_chunks, read_photograph, write_photograph

ADOBE = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
DISPLAY_P3 = bytes([12, 13, 0, 1])


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return insert_chunks(file.getvalue(), chunks)


def named(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        return name_colour_space(image, data)


def wide_gamut_profile() -> bytes:
    """An sRGB profile with the primaries of Display P3."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    primaries = {
        b"rXYZ": (0.5151, 0.2412, -0.0011),
        b"gXYZ": (0.2919, 0.6922, 0.0419),
        b"bXYZ": (0.1572, 0.0666, 0.7841),
    }
    for tag, xyz in primaries.items():
        at = struct.unpack(">I", profile[(entry := profile.index(tag) + 4) : entry + 4])[0] + 8
        profile = profile[:at] + struct.pack(">3i", *(round(value * 65536) for value in xyz)) + profile[at + 12 :]
    return profile


def test_a_colour_space_is_named(pixels):
    assert named(png(pixels)) == "sRGB"
    assert named(png(pixels, (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455)))) == "sRGB"
    assert named(png(pixels, (b"cICP", DISPLAY_P3))) == "Display P3"
    assert named(png(pixels, (b"cICP", bytes([9, 16, 0, 1])))) == "BT.2020 PQ"
    assert named(png(pixels, (b"gAMA", struct.pack(">I", 100000)))) == "gamma 1/1"
    assert named(png(pixels, (b"gAMA", struct.pack(">I", 45455)), (b"cHRM", ADOBE))) == "other primaries"
    assert named(png(pixels, (b"cICP", b"short"))) == "sRGB"


def test_a_profile_is_named_unless_it_is_one_of_srgb(pixels):
    def with_profile(profile: bytes) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", icc_profile=profile)
        return file.getvalue()

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert named(with_profile(srgb)) == "sRGB"
    assert named(with_profile(wide_gamut_profile())) not in ("sRGB", "an invalid profile")
    assert named(with_profile(srgb[:16] + b"RGB " + bytes(200))) == "an invalid profile"


def test_a_camera_s_mark_of_adobe_rgb_is_found(pixels):
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 65535, 0xA005: {1: "R03"}}
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif)
    assert named(file.getvalue()) == "Adobe RGB"


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_the_chunks_of_a_png_are_kept(pixels, depth: type, tmp_path: Path):
    chunks = ((b"cICP", DISPLAY_P3), (b"gAMA", struct.pack(">I", 50000)), (b"cHRM", ADOBE))
    (tmp_path / "a.png").write_bytes(png(pixels, *chunks))
    photograph = read_photograph(tmp_path / "a.png")
    assert photograph.colour == chunks
    deep = photograph.__class__(photograph.pixels.astype(depth), colour=photograph.colour)
    write_photograph(tmp_path / "b.png", deep)
    again = read_photograph(tmp_path / "b.png")
    assert again.colour == chunks and np.array_equal(again.pixels, deep.pixels) and again.pixels.dtype == depth


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_tiff_with_and_without_exif_is_read_without_a_warning(pixels, bigtiff: bool, tmp_path: Path, caplog):
    tifffile.imwrite(tmp_path / "bare.tif", pixels, photometric="rgb", bigtiff=bigtiff, metadata=None, software=False)
    tifffile.imwrite(tmp_path / "said.tif", pixels, photometric="rgb", bigtiff=bigtiff, software="a camera")
    read_photograph(tmp_path / "bare.tif")
    exif = Image.Exif()
    exif.load(read_photograph(tmp_path / "said.tif").exif or b"")
    assert exif[0x0131] == "a camera" and not caplog.records
