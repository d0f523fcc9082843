"""Experiment trackers: chosen in the recipe, refused where their package is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unpairaug.errors import UserError
from unpairaug.recipe import load_recipe
from unpairaug.training.run_recipe import run_recipe

SMALL = ["data.val_clean=null", "data.val_degraded=null", "train.steps=2", "train.select_checkpoint=false"]


def test_a_tracker_that_is_not_installed_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    missing = "trackio"
    monkeypatch.setitem(sys.modules, missing, None)  # as where it is not installed
    recipe = load_recipe("smoke", [f"train.trackers=[tensorboard, {missing}]", f"output_dir={tmp_path / 'run'}"])
    said = rf"^train\.trackers: {missing} is not installed: pip install {missing}, or give train\.trackers=\[tensorb"
    with pytest.raises(UserError, match=said):
        run_recipe(recipe, "smoke")
    assert not (tmp_path / "run").exists()


def test_a_run_without_trackers_writes_its_metrics_alone(tmp_path: Path):
    recipe = load_recipe("smoke", [*SMALL, "train.trackers=[]", f"output_dir={tmp_path / 'run'}"])
    run_recipe(recipe, "smoke")
    assert (tmp_path / "run" / "metrics.jsonl").exists() and not (tmp_path / "run" / "tensorboard").exists()
    with pytest.raises(UserError, match=r"train\.trackers\.0: given 'wandbb'.*did you mean 'wandb'"):
        load_recipe("smoke", ["train.trackers=[wandbb]"])
