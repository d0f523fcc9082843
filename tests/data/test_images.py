"""Reading and writing photographs: every format becomes RGB in 8 bits, every broken file is named."""

import errno
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unpairaug.data.files import write_file
from unpairaug.data.image_cache import ImageCache
from unpairaug.data.images import FolderImages, find_images, list_images, read_image, write_image
from unpairaug.data.sources import check_output_dir
from unpairaug.errors import UserError


@pytest.fixture
def photograph() -> np.ndarray:
    """(20, 30, 3) in 8 bits: smooth, so that JPEG keeps it nearly."""
    rows, columns = np.mgrid[0:20, 0:30]
    return np.stack([rows * 6, columns * 5, rows + columns], axis=2).astype(np.uint8) + 60


def bomb(path: Path) -> None:
    """A PNG of a few bytes that claims 60 000 × 60 000 pixels."""
    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", size), (b"IDAT", zlib.compress(bytes(100))))
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def test_a_folder_is_searched_to_any_depth_in_an_order_that_the_names_decide(tmp_path, photograph):
    for name in ("b.png", "a/z.JPG", "a/b/c.webp", "B.PPM", "a.tif"):
        write_image(tmp_path / name.lower(), photograph)
        (tmp_path / name.lower()).rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._b.png").write_bytes(b"macOS keeps this beside b.png")
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["B.PPM", "a.tif", "a/b/c.webp", "a/z.JPG", "b.png"]
    assert FolderImages(tmp_path).names == found


@pytest.mark.parametrize("extension", ["jfif", "jpe", "JPG", "pgm", "pnm", "pbm"])
def test_less_common_extensions_are_images_too(tmp_path, photograph, extension):
    kind = "PPM" if extension.startswith("p") else "JPEG"
    Image.fromarray(photograph).save(tmp_path / f"a.{extension}", kind)
    (path,) = list_images(tmp_path)
    assert read_image(path).shape == photograph.shape


def test_files_that_are_no_images_are_counted_by_extension(tmp_path, photograph):
    write_image(tmp_path / "a.png", photograph)
    for name in ("1.HEIC", "sub/2.heic", "3.dng", "README", ".hidden.txt", "manifest.jsonl", "s.index.json"):
        write_file(tmp_path / name, b"")
    expected = f"{tmp_path}: skipped 2 .heic, 1 .dng, 1 no extension, which are not read as images"
    assert find_images(tmp_path)[1] == expected and FolderImages(tmp_path).remarks == [expected]
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"no image .* looked for \.png .*, found 2 \.heic, 1 \.dng"):
        list_images(tmp_path)
    for i in range(9):
        write_file(tmp_path / f"x.{i}", b"")
    with pytest.raises(UserError, match=r"2 \.heic, .*, 6 others"):
        list_images(tmp_path)


def test_a_folder_of_images_alone_has_no_remark(tmp_path, photograph):
    write_image(tmp_path / "a.png", photograph)
    assert find_images(tmp_path)[1] is None and FolderImages(tmp_path).remarks == []


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_a_link_to_a_folder_is_followed_and_a_loop_ends(tmp_path, photograph):
    write_image(tmp_path / "elsewhere" / "a.png", photograph)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "set")
    assert [path.name for path in list_images(tmp_path / "set")] == ["a.png"]


def test_a_folder_that_is_missing_a_file_or_empty_is_refused_with_what_was_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"nowhere: there is no such folder"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"did you mean '.*empty'\?"):
        list_images(tmp_path / "emty")
    with pytest.raises(UserError, match=r"file\.png: this is a file; expected the folder"):
        list_images(tmp_path / "file.png")
    with pytest.raises(UserError, match=r"empty: no image .* looked for \.png \.jpg"):
        list_images(tmp_path / "empty")


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "1", "I;16"])
def test_every_kind_of_pixel_becomes_rgb_in_8_bits(tmp_path, photograph, mode):
    grey = np.repeat(photograph[..., :1], 3, axis=2)
    if mode == "I;16":
        image = Image.fromarray(grey[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).quantize(256) if mode == "P" else Image.fromarray(grey).convert(mode)
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(path)
    read = read_image(path)
    assert read.shape == (20, 30, 3) and read.dtype == np.uint8
    if mode != "1":
        np.testing.assert_allclose(read.astype(int), grey, atol=3)  # a palette of greys is coarse


def test_the_rotation_that_a_camera_noted_is_applied(tmp_path, photograph):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me clockwise"
    Image.fromarray(photograph).save(tmp_path / "upright.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "upright.png"), np.rot90(photograph, -1))


HOSTILE = {
    "missing.png": (None, "there is no such image file"),
    "zero.png": (lambda path, _: path.write_bytes(b""), "0 bytes"),
    "text.jpg": (lambda path, _: path.write_text("I am no image"), "no known image format"),
    "magic.png": (lambda path, _: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)), "cannot be read"),
    "half.png": (lambda path, whole: path.write_bytes(whole["png"][: len(whole["png"]) // 2]), "cannot be read"),
    "half.jpg": (lambda path, whole: path.write_bytes(whole["jpg"][: len(whole["jpg"]) // 2]), "cannot be read"),
    "half.tif": (lambda path, whole: path.write_bytes(whole["tif"][: len(whole["tif"]) // 2]), "cannot be read"),
    "bomb.png": (lambda path, _: bomb(path), "more than 178956970 pixels"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_broken_file_is_named_with_what_is_wrong_and_nothing_else_is_raised(tmp_path, photograph, name):
    whole = {}
    for extension in ("png", "jpg", "tif"):
        write_image(tmp_path / f"whole.{extension}", np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
        whole[extension] = (tmp_path / f"whole.{extension}").read_bytes()
    make, message = HOSTILE[name]
    if make is not None:
        make(tmp_path / name, whole)
    with pytest.raises(UserError, match=f"{name}: .*{message}"):
        read_image(tmp_path / name)


def test_floating_point_pixels_are_refused_rather_than_clipped(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match=r"float\.tif: .*signed or floating-point samples"):
        read_image(tmp_path / "float.tif")
    entries = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 32), (262, 3, 1, 2), (273, 4, 1, 8), (277, 3, 1, 3)]
    entries += [(279, 4, 1, 12), (339, 3, 1, 3)]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    header = struct.pack("<2sHI", b"II", 42, 20) + bytes(12)
    (tmp_path / "colour.tif").write_bytes(header + struct.pack("<H", len(entries)) + directory + bytes(4))
    with pytest.raises(UserError, match=r"32-bit floating-point samples; save it with 8 or 16 bits"):
        read_image(tmp_path / "colour.tif")


def test_what_is_written_reads_back_and_a_failed_write_leaves_the_old_image(tmp_path, photograph):
    path = tmp_path / "new" / "a.png"
    write_image(path, photograph)
    np.testing.assert_array_equal(read_image(path), photograph)
    with pytest.raises(TypeError):
        write_image(path, np.zeros((4, 4, 7), np.uint8))
    np.testing.assert_array_equal(read_image(path), photograph)
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]
    with pytest.raises(UserError, match=r"unknown extension '\.gifx'"):
        write_image(tmp_path / "a.gifx", photograph)


def test_decoded_images_are_kept_within_the_bound_and_the_first_stay(tmp_path, photograph):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        write_image(path, photograph)
    kept = ImageCache(limit=2 * photograph.nbytes)
    first, second, third = (kept.read(path) for path in paths)
    assert kept.cached_bytes == 2 * photograph.nbytes
    assert kept.read(paths[0]) is first and kept.read(paths[1]) is second, "the second read costs no decoding"
    assert kept.read(paths[2]) is not third
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0


@pytest.mark.parametrize("limit", [0, 2**20])
def test_a_window_is_the_same_whether_its_image_is_kept_or_not(tmp_path, photograph, limit, monkeypatch):
    write_image(tmp_path / "a.png", photograph)
    kept = ImageCache(limit)
    monkeypatch.setattr("unpairaug.data.images.IMAGE_CACHE", kept)
    window = FolderImages(tmp_path).read_window(0, lambda width, height: (3, 2, width - 1, height - 4))
    np.testing.assert_array_equal(window, photograph[2:-4, 3:-1])
    assert kept.cached_bytes == (photograph.nbytes if limit else 0)


def test_a_file_that_changed_is_decoded_again(tmp_path, photograph):
    kept = ImageCache(limit=2**20)
    write_image(tmp_path / "a.png", photograph)
    kept.read(tmp_path / "a.png")
    write_image(tmp_path / "a.png", photograph[:10])
    assert kept.read(tmp_path / "a.png").shape == (10, 30, 3)
    kept.clear()
    assert kept.cached_bytes == 0


def test_reading_an_image_does_not_import_torch(checkout):
    code = "import sys; from unpairaug.data import read_image, open_images; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=checkout)


@pytest.mark.parametrize(
    ("output", "source"),
    [
        *(("data", "data"), ("data/run", "data"), (".", "data"), ("run", "run/clean"), ("run", "run/s-{0..3}.tar")),
        *(("run", {"other": 1.0, "run/a": 2.0}), ("data/../data/run", "data"), ("linked/run", "data")),
    ],
)
def test_a_run_and_its_data_do_not_lie_in_each_other(tmp_path, monkeypatch, output: str, source):
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "other", "run/clean", "run/a"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "data")
    with pytest.raises(UserError, match="give another output_dir"):
        check_output_dir(output, [None, "sample", source])
    check_output_dir("elsewhere/run", [None, "sample", source, "s3://bucket/x"])
    check_output_dir("other/run", ["other/s-{0..3}.tar"])  # only the shards are read, whatever lies beside them


def test_a_folder_that_cannot_be_listed_is_named_and_may_be_passed_over(tmp_path, monkeypatch):
    for name in ("a.png", "closed/b.png"):
        write_image(tmp_path / name, np.zeros((2, 2, 3), np.uint8))
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    unlistable = list[str]()
    assert find_images(tmp_path, unlistable)[0] == [tmp_path / "a.png"]
    assert len(unlistable) == 1 and "closed: this folder cannot be listed (Permission denied)" in unlistable[0]
    with pytest.raises(UserError, match="closed: this folder cannot be listed"):
        find_images(tmp_path)


def test_a_folder_of_too_long_a_name_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        find_images(tmp_path / ("n" * 300))
