"""The program `unpairaug` as a user types it: exit codes, what it prints, what it leaves behind."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image
from program import run_program

from unpairaug.bench.step import find_step
from unpairaug.errors import UserError
from unpairaug.registry import translators

COMMANDS = ["train", "check", "evaluate", "score", "restore", "export", "prepare", "arrange", "bench"]


def unpairaug(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_program(*arguments, cwd=cwd)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder in which `unpairaug train smoke` was typed."""
    folder = tmp_path_factory.mktemp("newcomer")
    result = unpairaug("train", "smoke", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_a_run_leaves_the_folder_that_the_readme_lists(trained):
    left = {path.name for path in (trained / "runs" / "smoke").iterdir() if not path.name.startswith(".")}
    files = {"recipe.yaml", "environment.json", "log.txt", "metrics.jsonl", "summary.json"}
    assert left == files | {"tensorboard", "samples", "checkpoints", "translator", "head", "best"}
    assert json.loads((trained / "runs/smoke/environment.json").read_text())["packages"]["torch"]
    with Image.open(trained / "runs/smoke/samples/step_000010.png") as sheet:
        assert sheet.size[0] > 6 * 32


def test_a_runs_recipe_runs_again_as_it_is(trained):
    result = unpairaug("train", "runs/smoke/recipe.yaml", "output_dir=runs/again", cwd=trained)
    assert result.returncode == 0, result.stderr
    heads = [trained / "runs" / name / "head" / "model.safetensors" for name in ("smoke", "again")]
    assert heads[0].read_bytes() == heads[1].read_bytes()


def test_half_precision_and_accumulation_train_to_the_end_too(trained):
    overrides = ["train.mixed_precision=bf16", "train.gradient_accumulation=2", "train.steps=4", "output_dir=runs/half"]
    result = unpairaug("train", "smoke", *overrides, cwd=trained)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (trained / "runs/half/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "train"] == [4]


def test_a_finished_run_has_nothing_left_to_do(trained):
    result = unpairaug("train", "smoke", cwd=trained)
    assert result.returncode == 0, result.stderr
    assert "completed 10 of 10 steps already" in result.stdout


def test_another_recipe_is_not_mixed_into_a_run(trained):
    result = unpairaug("train", "smoke", "train.seed=1", cwd=trained)
    assert result.returncode == 2
    assert "train.seed: 0 → 1" in result.stderr
    result = unpairaug("train", "smoke", "train.resume=never", cwd=trained)
    assert result.returncode == 2
    assert "holds a run already" in result.stderr


def test_two_runs_do_not_share_a_folder(trained):
    with FileLock(trained / "runs" / "smoke" / ".lock"):
        result = unpairaug("train", "smoke", "train.steps=20", cwd=trained)
    assert result.returncode == 2
    assert "another run is writing to runs/smoke" in result.stderr


def test_evaluate_and_restore_read_the_run(trained):
    result = unpairaug(
        "evaluate", "runs/smoke", "--degraded", "sample", "--clean", "sample", "--json", "scores.json", cwd=trained
    )
    assert result.returncode == 0, result.stderr
    scores = json.loads((trained / "scores.json").read_text())
    logged = [json.loads(line) for line in (trained / "runs/smoke/metrics.jsonl").read_text().splitlines()]
    measured_in_training = [line for line in logged if line["split"] == "val"][-1]
    for metric in ("psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y", "psnr_rgb_shift10"):
        assert scores[metric] == pytest.approx(measured_in_training[metric], abs=1e-6)

    (trained / "photographs").mkdir()
    Image.effect_noise((37, 23), 50).convert("RGB").save(trained / "photographs" / "one.jpg")
    result = unpairaug("restore", "runs/smoke", "photographs", "restored", cwd=trained)
    assert result.returncode == 0, result.stderr
    with Image.open(trained / "restored" / "one.png") as image:
        assert image.size == (74, 46)


def test_check_says_what_a_run_would_take_and_leaves_nothing(tmp_path):
    result = unpairaug("check", "smoke", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "has only" not in result.stdout, "the sample photographs are few on purpose"
    for words in ("5 images", "generator_degrade", "s a step", "peak memory", "10 steps in about"):
        assert words in result.stdout
    assert not list(tmp_path.iterdir())


def test_check_refuses_what_training_would_refuse(tmp_path):
    result = unpairaug("check", "smoke", "data.clean=nowhere", cwd=tmp_path)
    assert result.returncode == 2
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr


def test_bench_step_compares_with_the_reference_on_the_same_networks(tmp_path):
    result = unpairaug("bench", "step", "smoke", "--steps", "2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for words in ("joint step", "reference step", "× as fast", "peak memory", "GFLOP/s", "backward"):
        assert words in result.stdout


def test_bench_step_takes_any_recipe_and_the_step_of_a_file(tmp_path):
    code = "from unpairaug.bench.step import random_batch\n\n\ndef make(trainer, recipe):\n"
    code += (
        "    batch = random_batch(trainer, recipe)\n    return lambda: trainer.task(trainer.task.source(batch.clean))\n"
    )
    (tmp_path / "plain.py").write_text(code)
    options = ("translator=bicubic", "--steps", "1", "--against", "plain:make")
    result = unpairaug("bench", "step", "smoke", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "plain:make step" in result.stdout


@pytest.mark.parametrize(
    ("name", "said"), [("refrence", "did you mean 'reference'"), ("no_such_module:make", "cannot be loaded")]
)
def test_a_step_that_does_not_exist_is_named(name: str, said: str):
    with pytest.raises(UserError, match=said):
        find_step(name)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, tmp_path):
    result = unpairaug(command, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "Usage" in result.stdout


def test_bench_data_compares_each_reader_with_the_bare_decoder(tmp_path):
    options = ["--batches", "2", "--samples", "16"]
    result = unpairaug("bench", "data", "smoke", "data.batch_size=4", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for reader in ("bare decoder", "folder", "shards", "plain PyTorch loader"):
        assert re.search(rf"^{reader} +[\d.]+ crops/s +[\d.]+% of the bare decoder$", result.stdout, re.MULTILINE)
    assert re.search(r"^after +16 samples +[\d.]+ MiB$", result.stdout, re.MULTILINE)


def test_bench_augment_compares_a_translator_with_a_classic_degradation(tmp_path):
    translators.build({"type": "stochastic_cyclegan", "width": 4}).save_pretrained(tmp_path / "translator")
    result = unpairaug("bench", "augment", "translator", "--size", "32", "--rounds", "1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = re.findall(r"^batch +(\d+)  (\w+) .* [\d.]+ megapixels/s +([\d.]+) × ", result.stdout, re.MULTILINE)
    names = ("classic", "LearnedDegradation", "TranslatorAugment", "TranslatorAugment")  # the last one in bf16
    assert [row[:2] for row in rows] == [(batch, name) for batch in ("1", "32") for name in names]
    assert [ratio for _, name, ratio in rows if name == "classic"] == ["1.00", "1.00"]
