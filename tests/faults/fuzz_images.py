"""Read mutated image files as training, `check` and `restore` do.

python tests/faults/fuzz_images.py --count 20000 --seed 0
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

import numpy as np
import tifffile
from mutate import Case, Fault, main, mutate, run_cases
from PIL import Image, ImageCms, PngImagePlugin

from unpairaug.data.colour_space import name_colour_space
from unpairaug.data.decode import EncodedImage, decode_image
from unpairaug.data.photograph import convert_photograph

WIDTH, HEIGHT = 29, 23


def whole_files(seed: int) -> dict[str, bytes]:
    """Small images of every format and kind that is read, by name."""
    draw = np.random.default_rng(seed)
    noise = draw.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    smooth = np.linspace(0, 250, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)
    deep = draw.integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
    photograph, rgba = Image.fromarray(smooth), Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112], exif[0x0131], exif[0x8769] = 6, "a camera", {0xA001: 65535, 0x9003: "2020:01:01 00:00:00"}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    said = PngImagePlugin.PngInfo()
    said.add(b"cICP", bytes([12, 13, 0, 1]))
    files = {
        "jpeg": _save(photograph, "JPEG"),
        "jpeg_full": _save(photograph, "JPEG", exif=exif, icc_profile=profile, dpi=(300, 300)),
        "jpeg_progressive": _save(rgba.convert("RGB"), "JPEG", progressive=True, quality=95),
        "jpeg_grey": _save(photograph.convert("L"), "JPEG", restart_marker_blocks=1),
        "jpeg_cmyk": _save(photograph.convert("CMYK"), "JPEG"),
        "png": _save(photograph, "PNG"),
        "png_full": _save(rgba, "PNG", exif=exif, icc_profile=profile, pnginfo=said, dpi=(300, 300)),
        "png_palette": _save(photograph.quantize(16), "PNG", transparency=3),
        "png_16_grey": _save(Image.fromarray(deep[..., 0]), "PNG"),
        "png_1": _save(photograph.convert("1"), "PNG"),
        "webp": _save(photograph, "WEBP", exif=exif, icc_profile=profile),
        "webp_lossless": _save(rgba, "WEBP", lossless=True),
        "webp_animated": _save(photograph, "WEBP", save_all=True, append_images=[photograph.rotate(90)]),
        "tiff_old": _save(photograph, "TIFF", icc_profile=profile, description="a camera", dpi=(300, 300)),
        "tiff_lzw": _save(photograph, "TIFF", compression="tiff_lzw"),
        "tiff_jpeg": _save(photograph, "TIFF", compression="jpeg"),
        "tiff_cmyk": _save(photograph.convert("CMYK"), "TIFF"),
        "bmp": _save(photograph, "BMP"),
        "bmp_palette": _save(photograph.quantize(16), "BMP"),
        "ppm": _save(photograph, "PPM"),
        "ppm_16": f"P6 {WIDTH} {HEIGHT} 1023\n".encode() + (deep // 64).astype(">u2").tobytes(),
        "pgm_plain": f"P2 {WIDTH} {HEIGHT} 255\n".encode() + " ".join(map(str, smooth[..., 0].ravel())).encode(),
    }
    for name, options in {
        "deep": {},
        "deflate": {"compression": "zlib", "predictor": True},
        "big": {"bigtiff": True},
    }.items():
        files[f"tiff_{name}"] = _tiff(deep, **options)
    return files | {"tiff_tiled": _tiff(deep, tile=(16, 16)), "png_16": _png_of_16_bits(deep)}


def _save(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _tiff(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", **options)
    return file.getvalue()


def _png_of_16_bits(pixels: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".png", pixels)[1].tobytes()


def cases(count: int, seed: int) -> Iterator[Case]:
    """The whole files, then mutations of each in turn."""
    files, rng = whole_files(seed), random.Random(seed)
    yield from (Case(name, data) for name, data in files.items())
    names, others = list(files), list(files.values())
    for number in range(count - len(files)):
        name = names[number % len(names)]
        yield Case(name, mutate(files[name], others, rng))


def read(case: Case) -> None:
    """Decode for training and for restoring, and name the colour space, as `check` does."""
    pixels = decode_image(case.data, f"\x1b[31m{case.kind}\n")
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3, pixels.shape
    file = EncodedImage(case.data, lambda: case.kind)
    photograph = file.read(lambda image: convert_photograph(image, case.data, case.kind))
    assert photograph.pixels.shape[:2] == pixels.shape[:2], "training and restoring read the same size"
    EncodedImage(case.data, lambda: case.kind).read(lambda image: name_colour_space(image, case.data))


def run(count: int, seed: int) -> tuple[list[Fault], str]:
    return run_cases(cases(count, seed), read)


if __name__ == "__main__":
    main(__doc__ or "", 20_000, run)
