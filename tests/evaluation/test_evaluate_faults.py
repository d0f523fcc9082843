"""`evaluate` with bad images and files that cannot be written, and ground truth that is no multiple of the scale."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from program import run_program
from skimage.data import astronaut

from unpairaug.data.images import write_image
from unpairaug.errors import UserError
from unpairaug.evaluation.evaluate import evaluate
from unpairaug.evaluation.metrics import METRICS
from unpairaug.restoring.restore import Bicubic, restore_image

posix = pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE and names of 255 bytes are POSIX's")


@pytest.fixture
def pairs(tmp_path: Path) -> list[str]:
    """Options with folders of three degraded images, every second pixel of their ground truth."""
    for number, name in enumerate("abc"):
        image = astronaut()[40 * number :][:64, :80]
        write_image(tmp_path / "clean" / f"{name}.png", image)
        write_image(tmp_path / "degraded" / f"{name}.png", image[::2, ::2])
    return ["--degraded", str(tmp_path / "degraded"), "--clean", str(tmp_path / "clean")]


def run(options: list[str], *more: str | Path, blocks: int | None = None) -> subprocess.CompletedProcess[str]:
    done = run_program("evaluate", "bicubic", *options, *more, max_kib=blocks)
    assert "Traceback" not in done.stderr and done.stderr.count("error: ") <= 1, done.stderr
    return done


@posix
def test_what_cannot_be_written_is_named_and_the_rest_is_done(pairs: list[str], tmp_path: Path):
    (tmp_path / "scores.json").mkdir()
    (tmp_path / "sheets" / "a.png").mkdir(parents=True)
    wanted = ["--json", tmp_path / "scores.json", "--markdown", tmp_path / "scores.md", "--sheets", tmp_path / "sheets"]
    done = run(pairs, *wanted)
    assert done.returncode == 1
    assert "2 of 5 files not written; 3 written" in done.stderr
    assert "sheets/a.png: this file cannot be written" in done.stderr and "scores.json: this file" in done.stderr
    assert len(done.stdout.splitlines()) == 1 + 3 + 1 + 1, "the table is complete"
    assert (tmp_path / "scores.md").read_text().count("\n| ") == 4
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["a.png", "b.png", "c.png"]


@posix
def test_a_full_disk_leaves_no_part_of_a_file(pairs: list[str], tmp_path: Path):
    files = {"--json": tmp_path / "scores.json", "--markdown": tmp_path / "scores.md"}
    done = run(pairs, *(word for option in files.items() for word in option), blocks=0)
    assert done.returncode == 1 and "2 of 2 files not written" in done.stderr and "File too large" in done.stderr
    assert "mean" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean", "degraded"]


def test_a_folder_of_sheets_below_a_file_is_refused_before_any_work(pairs: list[str], tmp_path: Path):
    (tmp_path / "file").write_text("a file")
    done = run(pairs, "--sheets", tmp_path / "file" / "sheets")
    assert done.returncode == 1 and "file/sheets: this folder cannot be written (Not a directory)" in done.stderr
    assert not done.stdout


@posix
def test_files_with_the_longest_names_are_written_and_longer_ones_refused(pairs: list[str], tmp_path: Path):
    assert run(pairs, "--json", tmp_path / ("n" * 250 + ".json")).returncode == 0
    done = run(pairs, "--json", tmp_path / ("n" * 251 + ".json"))
    assert done.returncode == 1 and "choose a shorter name" in done.stderr and "mean" in done.stdout


def test_bad_images_are_named_and_the_others_measured(pairs: list[str], tmp_path: Path):
    whole = evaluate("bicubic", pairs[1], pairs[3])["images"]
    (tmp_path / "degraded" / "a.png").write_bytes(b"no image")  # the first one, of which the scale is read
    write_image(tmp_path / "degraded" / "c.png", np.zeros((9, 9, 3), np.uint8))
    done = run(pairs, "--json", tmp_path / "scores.json")
    assert done.returncode == 2
    assert "2 of 3 images not measured; the means are those of the other 1:" in done.stderr
    assert "degraded/a.png" in done.stderr and "degraded/c.png" in done.stderr
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["images"] == {"b": whole["b"]} and {name: found[name] for name in METRICS} == whole["b"]
    assert found["count"] == 1 and len(found["failed"]) == 2
    with pytest.raises(UserError, match=r"(?s)degraded/a\.png.*degraded/c\.png"):
        evaluate("bicubic", pairs[1], pairs[3])


def test_files_that_are_no_images_are_counted(pairs: list[str], tmp_path: Path):
    (tmp_path / "degraded" / "a.heic").touch()
    done = run(pairs)
    assert done.returncode == 0 and "degraded: skipped 1 .heic, which are not read as images" in done.stderr


def test_a_set_of_bad_images_alone_is_refused(pairs: list[str], tmp_path: Path):
    for path in (tmp_path / "degraded").iterdir():
        path.write_bytes(b"no image")
    done = run(pairs, "--scale", "2")
    assert done.returncode == 2 and not done.stdout and done.stderr.count("degraded/") == 3


def test_modcrop_measures_ground_truth_that_is_no_multiple_of_the_scale(tmp_path: Path):
    image = astronaut()[:101, :133]
    write_image(tmp_path / "clean" / "a.png", image)
    write_image(tmp_path / "degraded" / "a.png", image[:100:2, :132:2])
    options = ["--degraded", str(tmp_path / "degraded"), "--clean", str(tmp_path / "clean")]
    refused = run(options)
    assert refused.returncode == 2 and "--modcrop crops the ground truth to that size" in refused.stderr
    done = run(options, "--modcrop", "--json", tmp_path / "scores.json")
    assert done.returncode == 0, done.stderr
    write_image(tmp_path / "cropped" / "a.png", image[:100, :132])
    expected = evaluate("bicubic", options[1], str(tmp_path / "cropped"))
    assert json.loads((tmp_path / "scores.json").read_text())["images"] == expected["images"]


def test_modcrop_changes_no_ground_truth_that_fits(pairs: list[str]):
    assert evaluate("bicubic", pairs[1], pairs[3], modcrop=True) == evaluate("bicubic", pairs[1], pairs[3])


@posix
def test_control_characters_in_names_do_not_reach_the_terminal(pairs: list[str], tmp_path: Path):
    for side in ("clean", "degraded"):
        (tmp_path / side / "a.png").rename(tmp_path / side / "\x1b[2Ja.png")
    (tmp_path / "degraded" / "b.png").rename(tmp_path / "degraded" / "\x1b[31mb.png")
    (tmp_path / "clean" / "b.png").rename(tmp_path / "clean" / "\x1b[31mb.png")
    (tmp_path / "degraded" / "\x1b[31mb.png").write_bytes(b"no image")
    done = run(pairs, "--markdown", tmp_path / "scores\x1b[2J.md")
    assert done.returncode == 2 and "\\x1b[2Ja" in done.stdout and "\\x1b[31mb.png" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr + (tmp_path / "scores\x1b[2J.md").read_text()


def test_an_image_restored_elsewhere_that_is_broken_is_named(pairs: list[str], tmp_path: Path):
    for name in "abc":
        degraded = astronaut()[40 * "abc".index(name) :][:64:2, :80:2]
        write_image(tmp_path / "restored" / f"{name}.png", restore_image(Bicubic(2), degraded))
    (tmp_path / "restored" / "b.png").write_bytes(b"no image")
    results = evaluate(str(tmp_path / "restored"), pairs[1], pairs[3], on_bad="skip")
    assert [*results["images"]] == ["a", "c"] and "restored/b.png" in results["failed"][0]
