"""Every recipe that ships: it opens with what it is and how to run it, is whole, and its parts can be built."""

import re
from pathlib import Path

import pytest

from unpairaug.recipe import bundled_recipes, load_recipe
from unpairaug.recipe.schema import FILE
from unpairaug.registry import tasks
from unpairaug.training.build import make_schedule
from unpairaug.translator import build_translator

everyone = pytest.mark.parametrize("path", bundled_recipes().values(), ids=lambda path: path.stem)


@everyone
def test_a_recipe_opens_with_its_command_and_one_override(path: Path):
    opening = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))[0]
    assert opening.startswith(f"# yaml-language-server: $schema={FILE}\n# ")
    assert f"#   accelerate launch -m unpairaug.run recipes/{path.name}" in opening
    overrides = re.search(r"# Change any key on the command line, for example [^:]*:  (.+)", opening)[1].split()
    changed = load_recipe(str(path), overrides)
    assert changed != load_recipe(str(path))


@everyone
def test_a_recipe_builds_for_any_length_of_run(path: Path):
    for steps in (1, 2, 1000):
        recipe = load_recipe(path.stem, [f"train.steps={steps}"] if "epochs" not in path.read_text() else [])
        assert make_schedule(recipe.resolve(steps_per_epoch=7)).steps >= 1
    translator, task = build_translator(recipe.translator), tasks.build(recipe.task)
    assert {"measure": "none", **translator.config} == recipe.translator
    assert {key: task.config[key] for key in recipe.task} == recipe.task


def test_the_paper_recipe_carries_the_seed_systems_settings():
    recipe = load_recipe("cyclesr_sr_paper")
    cyclegan = {"ngf": 64, "n_blocks": 9, "norm": "instance", "up_mode": "transpose", "game": "lsgan", "r1": 0.0}
    weights = {"lambda_cycle": 10.0, "lambda_identity": 0.5, "cycle_every": 1, "pool_size": 50}
    patch = {"type": "patch", "ndf": 64, "n_layers": 3, "norm": "instance"}
    assert recipe.translator.pop("discriminator").items() >= patch.items()
    assert recipe.translator == {"type": "cyclegan", **cyclegan, **weights, "measure": "none"}
    assert recipe.task["scale"] == 4
    assert recipe.task["head"].items() >= {"type": "vdsr_cyclesr", "n_blocks": 20, "width": 64, "norm": "batch"}.items()
    schedule = make_schedule(recipe.resolve(steps_per_epoch=10))
    assert (schedule.translator_warmup, schedule.head_warmup, schedule.lr_decay, schedule.steps) == (50, 10, 1000, 2000)
    train = recipe.train
    assert {kind: (how.type, how.lr, how.betas) for kind, how in recipe.optimizer} == {
        "generator": ("adam", 2e-4, (0.5, 0.999)),
        "discriminator": ("adam", 2e-4, (0.5, 0.999)),
        "head": ("adam", 1e-4, (0.5, 0.999)),
    }
    assert (train.lambda_task, train.clip, recipe.schedule.feedback) == (1000.0, 50.0, 1.0)
    assert (recipe.data.crop, recipe.data.batch_size) == (480, 64)
