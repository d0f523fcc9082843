"""A run with real processes: two equal one, a resumed run equals an uninterrupted one, mistakes end in a message."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from program import run_program
from safetensors.torch import load_file, save_file

from unpairaug.sharing.manifest import write_manifest

PATCH = "{type: patch, ndf: 4, n_layers: 1, norm: none}"
CYCLEGAN = f"translator={{type: cyclegan, ngf: 4, n_blocks: 1, norm: none, pool_size: 8, discriminator: {PATCH}}}"


def run(*arguments: str, cwd: Path, launcher: tuple[str, ...] = ("-m",)) -> subprocess.CompletedProcess[str]:
    if launcher == ("-m",):
        return run_program(*arguments, cwd=cwd, module="unpairaug.run", HOME=str(cwd))
    command = [sys.executable, *launcher, "unpairaug.run", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(cwd), capture_output=True, text=True, timeout=300)


def environment(cwd: Path) -> dict[str, str]:
    checkout = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": checkout, "ACCELERATE_USE_CPU": "true", "HOME": str(cwd)}


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    files = sorted((folder / "checkpoints" / f"step_{step}").glob("*.safetensors"))
    return {f"{file.stem}/{key}": value for file in files for key, value in load_file(file).items()}


def metrics(folder: Path, split: str) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["split"] == split]


def test_two_processes_with_half_the_batch_end_where_one_does(tmp_path):
    adamw = "optimizer.head={type: adamw, lr_schedule: cosine}"  # beside adam for the others
    gan = "task.loss.gan={weight: 0.01, discriminator: {type: srgan, ndf: 4, norm: none}}"
    options = ["smoke", CYCLEGAN, gan, "train.steps=6", "schedule={}", adamw]
    one = run(*options, "data.batch_size=4", "output_dir=one", cwd=tmp_path)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    two = run(*options, "data.batch_size=2", "output_dir=two", cwd=tmp_path, launcher=torchrun)
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    a, b = weights(tmp_path / "one", 6), weights(tmp_path / "two", 6)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.allclose(a[name].float(), b[name].float(), rtol=1e-3, atol=2e-5), name
    for name in ("train", "val", "selection", "guards"):
        (x,), (y,) = (metrics(tmp_path / folder, name)[-1:] for folder in ("one", "two"))
        for key in x.keys() - {"split", "steps_per_second"}:
            assert x[key] == pytest.approx(y[key], rel=1e-3), key


def test_killed_and_started_again_ends_where_the_uninterrupted_run_does(tmp_path):
    options = ["smoke", "train.steps=30", "train.checkpoint_every=4", "train.log_every=2"]
    whole = run(*options, "output_dir=whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr

    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "unpairaug.run", *options, "output_dir=killed"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (killed / "checkpoints" / "step_4").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "checkpoints" / "step_30").exists(), "the run was over before it was killed"
    assert (killed / "head" / "model.safetensors").is_file(), "parts are there from the first checkpoint on"

    with (killed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "spl')  # a line that the kill cut short
    resumed = run(*options, "output_dir=killed", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(r"resumed from killed/checkpoints/step_\d+", resumed.stdout)
    a, b = weights(tmp_path / "whole", 30), weights(killed, 30)
    assert all(torch.equal(a[name], b[name]) for name in a)
    steps = [line["step"] for line in metrics(killed, "train")]
    assert steps == list(range(2, 31, 2)), "each step is reported once"


def test_a_checkpoint_of_another_version_is_one_clear_message(tmp_path):
    options = ["smoke", "train.steps=4", "train.checkpoint_every=4"]
    assert run(*options, cwd=tmp_path).returncode == 0
    file = tmp_path / "runs" / "smoke" / "checkpoints" / "step_4" / "translator.safetensors"
    held = load_file(file)
    save_file({f"{name}_once": tensor for name, tensor in held.items()}, file)
    (file.parent / "manifest.json").unlink()
    write_manifest(file.parent)
    again = run(*options, cwd=tmp_path)
    assert again.returncode == 2 and "Traceback" not in again.stderr
    assert "step_4 was saved by unpairaug" in again.stderr


def test_asked_to_stop_a_run_leaves_a_checkpoint_and_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "unpairaug.run", "smoke", "train.steps=100000", "train.log_every=1"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.PIPE, text=True)
    log = tmp_path / "runs" / "smoke" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and '"train"' in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in said
    stopped = r"stopped by SIGTERM after step (\d+), and saved a checkpoint; the same command resumes"
    step = int(re.search(stopped, said)[1])
    assert (tmp_path / "runs" / "smoke" / "checkpoints" / f"step_{step}" / "state.json").is_file()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """A folder with one photograph, an empty folder, one with a broken file, one with a small one."""
    root = tmp_path_factory.mktemp("photographs")
    for name in ("clean", "degraded", "empty", "corrupt", "small", "two_clean"):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8))
    for name in ("clean", "degraded", "corrupt", "two_clean"):
        image.save(root / name / "one.png")
    image.transpose(Image.Transpose.ROTATE_180).save(root / "two_clean" / "two.png")
    whole = (root / "corrupt" / "one.png").read_bytes()
    (root / "corrupt" / "two.png").write_bytes(whole[: len(whole) // 2])
    image.resize((16, 16)).save(root / "small" / "tiny.png")
    return root


def test_own_photographs_without_pairs_train_by_the_overrides_of_the_readme(photographs, tmp_path):
    own = [f"data.clean={photographs}/clean", f"data.degraded={photographs}/degraded"]
    without_pairs = ["data.val_clean=null", "data.val_degraded=null"]
    result = run("cyclesr_sr", *own, *without_pairs, "train.steps=2", "output_dir=mine", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "warning: " in result.stdout, "the two folders hold the same scene"
    assert (tmp_path / "mine" / "head" / "model.safetensors").is_file()

    more = [own[0].replace("/clean", "/two_clean"), own[1]]
    again = run("cyclesr_sr", *more, *without_pairs, "train.steps=3", "output_dir=mine", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "clean: 1 images" in again.stdout and "→ 2 images" in again.stdout, "other images, another order: it says so"


MISTAKES = {
    "missing folder": (["data.clean=nowhere"], ["nowhere", "no such folder"]),
    "empty folder": (["data.degraded={}/empty"], ["empty", "no image", ".png"]),
    "image smaller than the crop": (["data.clean={}/small"], ["tiny.png", "16×16", "32"]),
    "corrupt image": (["data.clean={}/corrupt"], ["two.png", "cannot be read"]),
    "unknown key": (["train.stepz=5"], ["train.stepz", "did you mean", "steps"]),
    "wrong type": (["train.steps=many"], ["train.steps", "'many'"]),
    "scale that pairs contradict": (
        ["data.val_clean={}/clean", "data.val_degraded={}/degraded"],
        ["one.png", "64×64", "task.scale"],
    ),
    "crop too small for the translator": (
        ["translator.discriminator.n_layers=3"],
        ["data.crop 32", "16 px", "needs 24"],
    ),
    "crop too small for a loss": (
        ["task.loss.ssim=0.1", "translator=bicubic", "data.crop=10"],
        ["data.crop 10", "task.loss.ssim", "needs 11"],
    ),
    "head that makes another shape": (
        ["task.head=heads_of_mine:Grey"],
        ["(1, 1, 32, 32)", "(1, 3, 32, 32)", "scale 2"],
    ),
    "weights that are not there": (["task.loss.perceptual.weights=nowhere.pth"], ["no file 'nowhere.pth'", "hub"]),
    "unknown translator": (["translator.type=cyclegam"], ["cyclegam", "cyclegan"]),
    "no such recipe": ([], ["no recipe", "smoke"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_message_and_exit_code_2(mistake, photographs, tmp_path):
    overrides, words = MISTAKES[mistake]
    (tmp_path / "heads_of_mine.py").write_text(
        "from torch import nn\n"
        "class Grey(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body = nn.Conv2d(3, 1, 1)\n"
        "    def forward(self, image):\n"
        "        return nn.functional.interpolate(self.body(image), scale_factor=2)\n"
    )
    recipe = "smok" if mistake == "no such recipe" else "smoke"
    result = run(recipe, *(text.format(photographs) for text in overrides), cwd=tmp_path)
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert not (tmp_path / "runs").exists(), "nothing was trained"
