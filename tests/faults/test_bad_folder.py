"""A folder with broken files of every kind among good ones: the good are done, the broken named, exit code 2."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from degrade_model import save_run
from PIL import Image
from program import run_program
from skimage.data import astronaut

from unpairaug.data.files import MAX_BYTES
from unpairaug.errors import escape

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and such names are POSIX's")
SIZE = 64
"""Side in pixels of a good image."""


def encoded(kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(astronaut()[:SIZE, :SIZE]).save(file, kind, **options)
    return file.getvalue()


def huge_png() -> bytes:
    """A header that claims 10 gigapixels, and no more."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk


def half_jpeg() -> bytes:
    data = encoded("JPEG", quality=95)
    return data[: len(data) // 2] + b"\xff\xd9"


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


def write(data: Callable[[], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data())


BROKEN: dict[str, dict[str, Callable[[Path], object]]] = {
    "contents": {
        "empty.png": write(bytes),
        "text.jpg": write(lambda: b"no image at all"),
        "half a png.png": write(lambda: encoded("PNG")[: len(encoded("PNG")) // 2]),
        "half a jpeg.jpg": write(half_jpeg),
        "half a webp.webp": write(lambda: encoded("WEBP")[:200]),
        "zeros.bmp": write(lambda: bytes(5000)),
        "claims too much.png": write(huge_png),
        "floats.tif": lambda path: tifffile.imwrite(path, np.full((SIZE, SIZE, 3), 0.5, np.float32), photometric="rgb"),
    },
    "files": {
        "pipe.png": os.mkfifo,
        "link to nothing.png": lambda path: path.symlink_to("nothing"),
        "link to itself.png": lambda path: path.symlink_to(path.name),
        "device.png": lambda path: path.symlink_to("/dev/zero"),
        "larger than any image.bmp": sparse,
        "\x1b[2J\x07control.png": write(bytes),
        "n" * 251 + ".png": write(bytes),
        os.fsdecode(b"not utf-8 \xff.png"): write(bytes),
    },
}
GOOD = {
    "a.png": {},
    "m.jpg": {"kind": "JPEG", "quality": 90},
    "below/é x.png": {},
    "o" * 250 + ".png": {},
    os.fsdecode(b"\xfe good.png"): {},
}


def save_good(folder: Path) -> list[Path]:
    paths = [folder / name for name in GOOD]
    for path, options in zip(paths, GOOD.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(**{"kind": "PNG", **options}))
    return paths


def files_in(folder: Path) -> dict[str, bytes]:
    """Every image below a folder."""
    paths = (path for path in folder.rglob("*") if path.suffix == ".png" and path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return run_program(*words)


@pytest.fixture(params=BROKEN)
def broken(request: pytest.FixtureRequest) -> dict[str, Callable[[Path], object]]:
    return BROKEN[request.param]


@pytest.fixture
def mixed(tmp_path: Path, broken: dict[str, Callable[[Path], object]]) -> Path:
    save_good(tmp_path / "mixed")
    (tmp_path / "mixed" / "a folder.png").mkdir()
    for name, make in broken.items():
        make(tmp_path / "mixed" / name)
    return tmp_path / "mixed"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    save_good(tmp_path / "good")
    return tmp_path / "good"


def check_named(done: subprocess.CompletedProcess[str], broken: dict[str, Callable[[Path], object]]) -> None:
    """Whether one message names each broken file, in printable text."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("error: ") == 1
    message = done.stderr.partition("error: ")[2]
    assert [name for name in broken if escape(name)[:100] not in message] == []
    assert (done.stdout + message).replace("\n", "").isprintable()


def test_restore(mixed: Path, good: Path, broken, tmp_path: Path):
    done = run("restore", "bicubic", mixed, tmp_path / "out", "--scale", "2")
    check_named(done, broken)
    assert f"{len(broken)} of {len(GOOD) + len(broken)} images not restored; {len(GOOD)} restored" in done.stderr
    assert run("restore", "bicubic", good, tmp_path / "expected", "--scale", "2").returncode == 0
    assert len(files_in(tmp_path / "expected")) == len(GOOD)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "expected")


def test_degrade(mixed: Path, good: Path, broken, tmp_path: Path):
    save_run(tmp_path / "run")
    done = run("degrade", tmp_path / "run", mixed, tmp_path / "out")
    check_named(done, broken)
    assert f"{len(broken)} images not read; {len(GOOD)} images of {len(GOOD)} images in" in done.stderr
    assert run("degrade", tmp_path / "run", good, tmp_path / "expected").returncode == 0
    assert len(files_in(tmp_path / "expected")) == len(GOOD)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "expected")


@pytest.mark.parametrize("side", ["degraded", "clean"])
def test_evaluate(mixed: Path, good: Path, broken, side: str, tmp_path: Path):
    other = Path(shutil.copytree(good, tmp_path / "other"))
    for name in broken:
        (other / name).with_suffix(".png").write_bytes(encoded("PNG"))
    sides = {"degraded": other, "clean": other, side: mixed}
    options = [word for name, folder in sides.items() for word in (f"--{name}", folder)]
    done = run("evaluate", "bicubic", *options, "--scale", "1", "--json", tmp_path / "scores.json")
    check_named(done, broken)
    assert f"{len(broken)} of {len(GOOD) + len(broken)} images not measured" in done.stderr
    assert len(done.stdout.splitlines()) == 1 + len(GOOD) + 1 + 1
    assert (tmp_path / "scores.json").read_text().count('"ssim_y"') == len(GOOD) + 1
