"""Checkpoint selection: what the score measures, that it changes nothing of a run, and that it survives a resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from test_run import CYCLEGAN, metrics, run, weights
from test_trainer import STOCHASTIC, make_batch, make_trainer
from torch import Tensor

from unpairaug.data import UnpairedBatch
from unpairaug.networks.filters import low_pass
from unpairaug.rng import Rng, normal
from unpairaug.task import Task
from unpairaug.training.checkpoint_selection import MAX_SAMPLES, MIN_SAMPLES, PIXELS, CheckpointSelection, sample_count
from unpairaug.translators.bicubic import Bicubic

TERMS = ("translation", "restoration", "consistency")


class Grain(Bicubic):
    """Adds white noise of a strength in 8-bit steps."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def degrade(self, source: Tensor, rng: Rng = None) -> Tensor:
        return source + self.strength / 255 * normal(source.shape, source, rng)


def make_selection(grain: float = 0.0, tint: float = 0.0, real_grain: float = 10.0) -> CheckpointSelection:
    """Of a head that enlarges and adds a tint, behind a translator that adds grain; real images have some, too."""
    trainer = make_trainer({"type": "bicubic"})
    trainer.ema_translator = Grain(grain)
    for parameter in trainer.ema_task.parameters():  # VDSR is plain enlargement where its convolutions are 0
        torch.nn.init.zeros_(parameter)
    if tint:
        trainer.ema_task.register_forward_hook(lambda _, __, restored: restored + tint / 255)
    generator = torch.Generator().manual_seed(0)
    clean = 0.25 + low_pass(torch.rand(16, 3, 64, 64, generator=generator), 3.0) / 2
    real = 0.25 + low_pass(torch.rand(16, 3, 64, 64, generator=generator), 3.0)[..., ::2, ::2] / 2
    real = real + real_grain / 255 * torch.randn(real.shape, generator=generator)
    return CheckpointSelection(trainer, UnpairedBatch(clean, real.clamp(0, 1), torch.arange(16)), seed=0)


def test_the_score_is_the_sum_of_its_terms_and_repeats():
    selection = make_selection(grain=5.0)
    values = selection.measure()
    assert values["score"] == sum(values[name] for name in TERMS)
    assert selection.measure() == values


def test_a_translator_closer_to_the_camera_translates_better():
    found = [make_selection(grain).measure()["translation"] for grain in (0.0, 4.0, 10.0, 25.0)]
    assert found[0] > found[1] > found[2] < found[3]


def test_a_head_that_errs_more_restores_worse_and_is_less_consistent():
    found = [make_selection(grain=10.0, tint=tint).measure() for tint in (0.0, 4.0, 16.0)]
    for name in ("restoration", "consistency"):
        assert found[0][name] < found[1][name] < found[2][name], name
    assert found[0]["translation"] == found[2]["translation"]


def test_what_is_restored_and_degraded_as_it_was_is_consistent_whatever_the_noise():
    assert make_selection(grain=0.0, real_grain=0.0).measure()["consistency"] < 0.5
    noisy = make_selection(grain=10.0).measure()
    assert noisy["consistency"] < noisy["restoration"] - 3


def test_what_is_not_finite_is_never_the_best():
    selection = make_selection()
    assert not selection.is_best({"score": float("nan")})
    selection.keep({"step": 1, "score": 2.0}, {})
    assert selection.is_best({"score": 1.0}) and not selection.is_best({"score": 2.0})


def test_the_best_stays_as_it_was_and_goes_through_a_checkpoint():
    trainer = make_trainer(STOCHASTIC)
    selection = CheckpointSelection(trainer, make_batch(), 0)
    assert selection.state() == ({}, None)
    selection.keep({"step": 0, "score": 1.0}, {"steps": 0})
    before = {name: tensor.clone() for name, tensor in selection.state()[0].items()}
    trainer.train_step([make_batch()], 50)
    other = CheckpointSelection(make_trainer(STOCHASTIC), make_batch(), 0)
    other.trainer.train_step([make_batch(4)], 50)
    other.load_state(*selection.state())
    found, state = other.state()
    assert state == selection.state()[1]
    assert before.keys() == found.keys()
    assert all(torch.equal(before[name], found[name]) for name in before)
    moved = other.trainer.ema_task.state_dict()
    assert any(not torch.equal(moved[name], found[f"task.{name}"]) for name in moved), (
        "the trainer's own weights are not changed"
    )


def test_measuring_changes_no_network_and_no_random_state():
    watched, alone = (make_trainer(STOCHASTIC) for _ in "ab")
    selection = CheckpointSelection(watched, make_batch(), 0)
    for step in range(3):
        for trainer in (watched, alone):
            torch.manual_seed(step)
            trainer.train_step([make_batch(4 * step)], step)
        drawn = torch.random.get_rng_state()
        selection.keep({"step": step, **selection.measure()}, {})
        assert torch.equal(drawn, torch.random.get_rng_state())
    expected, found = (trainer.state()[0] for trainer in (alone, watched))
    for file in expected:
        assert all(torch.equal(expected[file][key], found[file][key]) for key in expected[file]), file


@pytest.mark.parametrize("crop", [8, 64, 96, 256, 1024])
def test_the_samples_are_few_where_crops_are_large(crop: int):
    assert MIN_SAMPLES <= sample_count(crop) <= MAX_SAMPLES
    assert sample_count(crop) == MIN_SAMPLES or sample_count(crop) * crop**2 <= PIXELS


OPTIONS = ["smoke", CYCLEGAN, "train.steps=8", "train.validate_every=2", "train.checkpoint_every=4"]


@pytest.fixture(scope="module")
def selected(tmp_path_factory) -> Path:
    """A folder with a run `whole` that selected its best step."""
    folder = tmp_path_factory.mktemp("selected")
    result = run(*OPTIONS, "output_dir=whole", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def best_of(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in (folder / "best").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.name != "README.md"}


def test_a_run_keeps_the_step_of_the_best_score_as_a_model(selected):
    logged = metrics(selected / "whole", "selection")
    assert [line["step"] for line in logged] == [4, 6, 8], "not before the warm-ups are over"
    best = json.loads((selected / "whole" / "best" / "selection.json").read_text())
    assert best == {k: v for k, v in min(logged, key=lambda line: line["score"]).items() if k != "split"}
    assert Task.from_pretrained(selected / "whole" / "best").trained["steps"] == best["step"]


def test_a_run_without_selection_ends_bit_for_bit_where_one_with_it_does(selected):
    result = run(*OPTIONS, "output_dir=plain", "train.select_checkpoint=false", cwd=selected)
    assert result.returncode == 0, result.stderr
    assert not (selected / "plain" / "best").exists()
    a, b = weights(selected / "plain", 8), weights(selected / "whole", 8)
    assert a.keys() == {name for name in b if not name.startswith("best/")}
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_resumed_run_selects_the_step_that_an_uninterrupted_one_selects(selected):
    shutil.copytree(selected / "whole", selected / "again")
    shutil.rmtree(selected / "again" / "checkpoints" / "step_8")
    (selected / "again" / "best" / "selection.json").write_text(
        '{"step": 7, "score": -1000}'
    )  # of steps that will be taken again
    result = run(*OPTIONS, "output_dir=again", cwd=selected)
    assert result.returncode == 0, result.stderr
    assert best_of(selected / "again") == best_of(selected / "whole")
    assert metrics(selected / "again", "selection") == metrics(selected / "whole", "selection")
    assert (selected / "again/checkpoints/step_8/best.safetensors").read_bytes() == (
        selected / "whole/checkpoints/step_8/best.safetensors"
    ).read_bytes()
