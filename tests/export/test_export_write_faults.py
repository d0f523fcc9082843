"""`export` where the file cannot be written: one message, exit 1, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from program import run_program

from unpairaug.registry import tasks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE and names of 255 bytes are POSIX's")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    head = {"type": "dncnn", "depth": 3, "width": 32}
    tasks.build({"type": "denoise", "head": head}).save_pretrained(folder / "head")
    return folder


def export(model: Path, out: Path, format: str, blocks: int | None = None) -> subprocess.CompletedProcess[str]:
    done = run_program("export", model, out, "--format", format, max_kib=blocks)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def is_refused(done: subprocess.CompletedProcess[str], reason: str) -> bool:
    return done.returncode == 1 and done.stderr.count("error: ") == 1 and reason in done.stderr and not done.stdout


@pytest.mark.parametrize(
    ("format", "name"),
    [("safetensors", "a.safetensors"), ("spandrel", "a.pth"), ("onnx", "a.onnx"), ("ncnn", "a.param")],
)
def test_a_full_disk_leaves_nothing_behind(model: Path, tmp_path: Path, format: str, name: str):
    done = export(model, tmp_path / name, format, blocks=8)  # the head takes 40 KB
    assert is_refused(done, f"error: {tmp_path / name}: this file cannot be written (File too large); free"), done
    assert not list(tmp_path.iterdir())


def test_a_card_whose_name_would_be_too_long_is_refused_and_no_file_stays(model: Path, tmp_path: Path):
    longest = "n" * (255 - len(".safetensors.json")) + ".safetensors"
    assert export(model, tmp_path / longest, "safetensors").returncode == 0
    assert export(model, tmp_path / f"n{longest}", "safetensors").returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [longest, f"{longest}.json"]


def test_a_folder_that_is_a_file_or_too_long_is_the_users_error(model: Path, tmp_path: Path):
    (tmp_path / "file").write_text("a file")
    for folder in ("file", "n" * 300):
        done = export(model, tmp_path / folder / "a.safetensors", "safetensors")
        assert done.returncode == 2 and "there is no folder" in done.stderr


def test_control_characters_do_not_reach_the_terminal(model: Path, tmp_path: Path):
    done = export(model, tmp_path / "a\x1b[2J.safetensors", "safetensors")
    assert done.returncode == 0 and "a\\x1b[2J.safetensors: loaded back" in done.stdout and "\x1b" not in done.stdout
    again = export(model, tmp_path / "a\x1b[2J.safetensors", "safetensors")
    assert again.returncode == 2 and "already exists" in again.stderr and "\x1b" not in again.stderr
