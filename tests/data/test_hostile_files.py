"""A thousand hostile files: each is decoded to the right pixels or named in one line; nothing hangs or strays."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from unpairaug.batch.executor import IN_PROCESS
from unpairaug.data.images import list_images, read_image
from unpairaug.errors import UserError
from unpairaug.prepare.cut import Cut
from unpairaug.prepare.run import Preparation

Case = tuple[str, bytes, np.ndarray | None, int]
"""Extension, bytes, the right pixels (None: it must be named), and how far they may be off."""

COUNT = 1000
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
TURNED = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}
WRITABLE = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "ppm": "PPM"}


def pixels(draw: np.random.Generator) -> np.ndarray:
    """A small image without a black row, smooth enough for JPEG."""
    height, width = draw.integers(9, 40, 2)
    rows, columns = np.mgrid[0:height, 0:width]
    slopes, base = draw.uniform(0, 1.5, (2, 3)), draw.uniform(20, 120, 3)
    image = base + rows[..., None] * slopes[0] + columns[..., None] * slopes[1] + draw.normal(0, 2, (height, width, 3))
    return image.clip(1, 255).astype(np.uint8)


def saved(image: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[..., :1], 3, axis=2)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(header: tuple[int, int, int, int, int], data: bytes, extra: bytes = b"") -> bytes:
    """A PNG of (width, height, depth, colours, interlace) and uncompressed data."""
    width, height, depth, colours, interlaced = header
    head = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, interlaced)
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def lines(image: np.ndarray) -> bytes:
    kind = image.dtype.newbyteorder(">")
    return b"".join(b"\0" + row.astype(kind).tobytes() for row in image if row.size)


def whole(draw: np.random.Generator) -> Case:
    image, ext = pixels(draw), str(draw.choice(list(WRITABLE)))
    options = {"quality": 100, "subsampling": 0} if ext == "jpg" else {"lossless": True} if ext == "webp" else {}
    return ext, saved(image, WRITABLE[ext], **options), image, 4 if ext == "jpg" else 0


def truncated(draw: np.random.Generator) -> Case:
    """Cut anywhere but in what follows the pixels."""
    ext, data, _, _ = whole(draw)
    spare = {"png": 20, "jpg": 2, "tif": 200, "webp": 8}.get(ext, 0)
    kept = data[: int(draw.integers(1, len(data) - spare))]
    return ext, kept.ljust(len(data), b"\0") if ext == "jpg" and draw.random() < 0.5 else kept, None, 0


def wrong_magic(draw: np.random.Generator) -> Case:
    _, data, _, _ = whole(draw)
    return str(draw.choice(list(WRITABLE))), draw.bytes(16) + data[16:], None, 0


def empty(draw: np.random.Generator) -> Case:
    return str(draw.choice(list(WRITABLE))), b"", None, 0


def wrong_extension(draw: np.random.Generator) -> Case:
    _, data, image, off = whole(draw)
    return str(draw.choice(list(WRITABLE))), data, image, off


def not_listed(draw: np.random.Generator) -> Case:
    return "png", saved(pixels(draw), str(draw.choice(["GIF", "JPEG2000", "PCX", "TGA"]))), None, 0


def single_pixel(draw: np.random.Generator) -> Case:
    image = pixels(draw)[:1, :1]
    return "png", saved(image, "PNG"), image, 0


def wide_header(draw: np.random.Generator) -> Case:
    """60 000 pixels wide: whole if it is one row, else a lie or a bomb."""
    height = int(draw.choice([1, 2, 30, 60_000]))
    image = np.full((1, 60_000, 3), int(draw.integers(1, 256)), np.uint8)
    data = png((60_000, height, 8, 2, 0), lines(image))
    return "png", data, image if height == 1 else None, 0


def short_png(draw: np.random.Generator) -> Case:
    image = pixels(draw)
    height, width, _ = image.shape
    return "png", png((width, height, 8, 2, 0), lines(image[: int(draw.integers(0, height))])), None, 0


def palette(draw: np.random.Generator) -> Case:
    image = Image.fromarray(pixels(draw)).quantize(int(draw.integers(2, 17)))
    options = {"transparency": 0} if draw.random() < 0.5 else {}
    return "png", saved(image, "PNG", **options), np.asarray(image.convert("RGB")), 0


def deep(draw: np.random.Generator) -> Case:
    """16 bits: grey, grey with alpha, RGB, RGBA; PNG or TIFF."""
    image = draw.integers(1, 65536, (*draw.integers(3, 20, 2), 4), dtype=np.uint16)
    colours, planes, kept = ((0, 1, 1), (4, 2, 1), (2, 3, 3), (6, 4, 3))[int(draw.integers(4))]
    right = np.round(image[..., :kept] / 257).astype(np.uint8)
    if draw.random() < 0.5 and planes in (1, 3):
        file = io.BytesIO()
        options = {"photometric": "rgb"} if planes == 3 else {"photometric": "minisblack"}
        tifffile.imwrite(file, image[..., 0] if planes == 1 else image[..., :3], **options)
        data, ext = file.getvalue(), "tif"
    else:
        data, ext = png((image.shape[1], image.shape[0], 16, colours, 0), lines(image[..., :planes])), "png"
    return ext, data, right if kept == 3 else grey(right), 0


def alpha(draw: np.random.Generator) -> Case:
    image = pixels(draw)
    see_through = np.concatenate([image, draw.integers(0, 256, (*image.shape[:2], 1), dtype=np.uint8)], axis=2)
    kind = str(draw.choice(["png", "tif", "grey"]))
    if kind == "grey":
        return "png", saved(see_through[..., [0, 3]], "PNG"), grey(image), 0
    return kind, saved(see_through, WRITABLE[kind]), image, 0


def few_bits(draw: np.random.Generator) -> Case:
    depth = int(draw.choice([1, 2, 4]))
    levels = draw.integers(0, 2**depth, (9, 16))
    bits = (levels[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    packed = np.packbits(bits.reshape(9, -1).astype(np.uint8), axis=1)
    right = (levels * (255 // (2**depth - 1))).astype(np.uint8)
    return "png", png((16, 9, depth, 0, 0), lines(packed)), grey(right[..., None]), 0


def cmyk(draw: np.random.Generator) -> Case:
    image = Image.fromarray(pixels(draw)).convert("CMYK")
    ext = str(draw.choice(["jpg", "tif"]))
    options = {"quality": 100} if ext == "jpg" else {}
    return ext, saved(image, WRITABLE[ext], **options), np.asarray(image.convert("RGB")), 6


def ycck(draw: np.random.Generator) -> Case:
    """A CMYK JPEG whose first three channels are YCbCr: what photo editors write."""
    image = pixels(draw)
    channels = np.asarray(Image.fromarray(255 - image).convert("YCbCr"))  # what is luma there is that of the inks
    # Pillow inverts what it writes as CMYK; these three shall be stored as they are.
    data = saved(Image.fromarray(np.dstack([255 - channels, np.zeros(image.shape[:2], np.uint8)]), "CMYK"), "JPEG",
                 quality=100)  # fmt: skip
    at = data.index(b"Adobe") + 11
    return "jpg", data[:at] + b"\x02" + data[at + 1 :], image, 8


def rotated(draw: np.random.Generator) -> Case:
    image, orientation, ext = pixels(draw), int(draw.integers(1, 9)), str(draw.choice(["png", "webp", "tif"]))
    note = Image.Exif()
    note[0x0112] = orientation
    options = {"lossless": True} if ext == "webp" else {}
    return ext, saved(image, WRITABLE[ext], exif=note, **options), TURNED[orientation](image), 0


def interlaced(draw: np.random.Generator) -> Case:
    image = pixels(draw)
    data = b"".join(lines(image[y::dy, x::dx]) for x, y, dx, dy in ADAM7)
    cut = int(draw.integers(2)) * int(draw.integers(1, len(data) // 2))
    height, width, _ = image.shape
    return "png", png((width, height, 8, 2, 1), data[: len(data) - cut]), None if cut else image, 0


def animated(draw: np.random.Generator) -> Case:
    frames = [Image.fromarray(np.roll(image, i, axis=1)) for image in [pixels(draw)] for i in range(3)]
    ext = str(draw.choice(["png", "webp", "tif"]))
    options = {"lossless": True} if ext == "webp" else {}
    data = saved(frames[0], WRITABLE[ext], save_all=True, append_images=frames[1:], **options)
    return ext, data, np.asarray(frames[0]), 0


def talkative(draw: np.random.Generator) -> Case:
    """A huge colour profile, or a text that unpacks to megabytes: read in spite of it, or named."""
    image = pixels(draw)
    if draw.random() < 0.5:
        return "jpg", saved(image, "JPEG", quality=100, subsampling=0, icc_profile=bytes(300_000)), image, 4
    notes = PngImagePlugin.PngInfo()
    notes.add_text("note", "x" * 3_000_000, zip=True)
    return "png", saved(image, "PNG", pnginfo=notes), None, 0


def floating(draw: np.random.Generator) -> Case:
    file = io.BytesIO()
    tifffile.imwrite(file, draw.normal(size=(8, 8)).astype(np.float32))
    return "tif", file.getvalue(), None, 0


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

KINDS: list[Callable[[np.random.Generator], Case]] = [
    whole, truncated, truncated, truncated, wrong_magic, empty, wrong_extension, not_listed, single_pixel, wide_header,
    short_png, palette, deep, alpha, few_bits, cmyk, ycck, rotated, interlaced, animated, talkative, floating,
]  # fmt: skip
STEMS = [
    "plain",
    "new\nline",
    "tab\tand\x1b[2Jescape",
    "写真",
    "é\u202e",
    "-dash",
    "__meta__",
    "a.b.c",
    " space ",
    "x" * 200,
]


def cases() -> Iterator[tuple[str, Case]]:
    """A thousand names and what is in them, the same on every run."""
    for i in range(COUNT):
        draw = np.random.default_rng(i)
        case = KINDS[i % len(KINDS)](draw)
        yield f"{STEMS[int(draw.integers(len(STEMS)))]}{i}.{case[0]}", case


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Case]]:
    """The folder, and what each of its files holds."""
    folder = tmp_path_factory.mktemp("hostile") / "photographs"
    folder.mkdir()
    known = {}
    for name, case in cases():
        (folder / name).write_bytes(case[1])
        known[name] = case
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "loop").symlink_to(folder)
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "nothing.png").symlink_to("nowhere.png")
    with (folder / "sparse.png").open("wb") as sparse:
        sparse.truncate(2**40)
    undecodable = os.fsdecode(b"not utf-8 \xff.png")
    (folder / undecodable).write_bytes(b"")
    for name in ("pipe.png", "itself.png", "nothing.png", "sparse.png", undecodable):
        known[name] = ("png", b"", None, 0)
    return folder, known


def test_each_of_a_thousand_hostile_files_is_decoded_right_or_named_in_one_line(hostile):
    folder, known = hostile
    wrong = []
    assert {path.name for path in list_images(folder)} == known.keys()
    for name, (_, _, right, off) in known.items():
        try:
            read = read_image(folder / name)
        except UserError as error:
            assert str(error).isprintable() and name.removesuffix(".png")[:3].strip("\n\t\x1b")[:1] in str(error)
            if right is not None:
                wrong.append(str(error))
            continue
        if right is None:
            wrong.append(f"{name!r}: read as {read.shape}, though it is broken")
        elif read.shape != right.shape or np.abs(read.astype(int) - right).max() > off:
            wrong.append(f"{name!r}: other pixels")
    assert not wrong, f"{len(wrong)} of {len(known)}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("shard_bytes", [None, 500_000])
def test_prepare_takes_a_thousand_hostile_files_and_writes_nothing_outside_its_folder(hostile, tmp_path, shard_bytes):
    folder, known = hostile
    (tmp_path / "bystander").write_text("as it was")
    before = sorted(os.listdir(folder))
    preparation = Preparation(folder, tmp_path / "out", Cut(1000, 500), shard_bytes=shard_bytes, max_bad=1.0)
    with preparation.lock_target():
        assert sum(1 for _ in preparation.cut_photographs(IN_PROCESS)) == len(known)
        result = preparation.finish("skip")
    assert len(result.bad) == sum(right is None for _, _, right, _ in known.values())
    assert sorted(os.listdir(folder)) == before and sorted(os.listdir(tmp_path)) == ["bystander", "out"]
    lines = (tmp_path / "out" / "bad.txt").read_text().splitlines()
    assert len(lines) == len(result.bad) and all(line.isprintable() for line in lines)
    for path in (tmp_path / "out").rglob("*"):
        assert path.name.isprintable() and not path.is_symlink()
    rows = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert {row["source"] for row in rows} == {name for name, (_, _, right, _) in known.items() if right is not None}


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_what_may_not_be_read_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(UserError, match=r"a\.png: this file cannot be opened \(Permission denied\)"):
        read_image(tmp_path / "a.png")
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(UserError, match=r"closed: this folder cannot be listed"):
        list_images(tmp_path)
