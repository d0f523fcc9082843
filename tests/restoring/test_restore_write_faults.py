"""`restore` where files cannot be written: one message, exit 1, and the rest of the folder is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from program import run_program

from unpairaug.data.images import read_image, write_image

posix = pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE and names of 255 bytes are POSIX's")


def restore(source: Path, target: Path, blocks: int | None = None) -> subprocess.CompletedProcess[str]:
    """The command on noise, with files of at most so many KiB; the caller looks at what it left."""
    return run_program("restore", "bicubic", source, target, "--scale", 2, max_kib=blocks)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one message of a run that ended with 1."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("error: ") == 1
    return done.stderr.partition("error: ")[2]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two small images and a large one, by name between them."""
    rng = np.random.default_rng(0)
    for name, side in (("a", 16), ("m", 128), ("z", 16)):
        write_image(tmp_path / "album" / f"{name}.png", rng.integers(0, 256, (side, side, 3), np.uint8))
    return tmp_path / "album"


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@posix
def test_a_file_beyond_the_limit_is_named_and_the_others_are_written(album: Path, tmp_path: Path):
    said = error_of(restore(album, tmp_path / "out", blocks=20))
    assert "1 of 3 files not written; 2 written" in said
    assert "m.png: this file cannot be written (File too large); free disk space" in said
    assert names_in(tmp_path / "out") == [".restore.jsonl", "a.png", "z.png"], "no part of a file is left"
    assert read_image(tmp_path / "out" / "z.png").shape == (32, 32, 3)


def test_a_folder_in_place_of_an_output_is_named_and_the_others_are_written(album: Path, tmp_path: Path):
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    said = error_of(restore(album, tmp_path / "out"))
    assert "1 of 3 files not written; 2 written" in said and "move the file or folder that is in the way" in said
    assert names_in(tmp_path / "out") == [".restore.jsonl", "m.png", "z.png"]


def test_a_folder_below_a_file_is_refused_before_any_work(album: Path, tmp_path: Path):
    (tmp_path / "file").write_text("a file")
    said = error_of(restore(album, tmp_path / "file" / "out"))
    assert "file/out: this folder cannot be written (Not a directory)" in said
    assert (tmp_path / "file").read_text() == "a file"


@posix
def test_names_of_the_largest_length_are_restored(album: Path, tmp_path: Path):
    long = "n" * 246 + ".png"
    (album / "m.png").rename(album / long)
    done = restore(album, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert names_in(tmp_path / "out") == ["a.png", long, "z.png"]
    assert f"3 images restored to {tmp_path / 'out'}" in done.stdout


@posix
def test_names_that_are_too_long_are_refused_in_one_message(album: Path, tmp_path: Path):
    assert "choose a shorter name" in error_of(restore(album, tmp_path / ("n" * 300)))
    done = restore(album / ("n" * 300), tmp_path / "out")
    assert done.returncode == 2 and "there is no file or folder" in done.stderr and "Traceback" not in done.stderr


@posix
def test_control_characters_in_names_do_not_reach_the_terminal(album: Path, tmp_path: Path):
    (album / "m.png").rename(album / "m\x1b[31m.png")
    target = tmp_path / "out\x1b[2J"
    (target / "a.png").mkdir(parents=True)
    done = restore(album, target)
    assert error_of(done) and "\x1b" not in done.stdout + done.stderr and "out\\x1b[2J/a.png" in done.stderr
    assert names_in(target) == [".restore.jsonl", "m\x1b[31m.png", "z.png"]
    assert "\x1b" not in restore(album, tmp_path / "other\x1b[2J").stdout
