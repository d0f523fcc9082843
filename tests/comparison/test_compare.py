"""Floor, recipe and ceiling: ordinary runs of one budget, resumed like any, and the share of the gap between them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from math import inf
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from unpairaug.commands.compare import compare as command
from unpairaug.comparison.compare import ARMS, compare, explain_missing_ceiling
from unpairaug.comparison.gap import format_table, gather_results, share
from unpairaug.data.images import write_image
from unpairaug.errors import RunStopped, UserError
from unpairaug.evaluation.metrics import METRICS
from unpairaug.recipe import bundled_recipes, load_recipe, to_yaml
from unpairaug.run import train
from unpairaug.sharing.manifest import write_manifest

STEPS = 6
PATCH = "{type: patch, ndf: 2, n_layers: 1}"
TOY = [
    "task.head={type: vdsr, depth: 3, width: 4}",
    f"translator={{type: cyclegan, ngf: 2, n_blocks: 1, discriminator: {PATCH}}}",
    f"train.steps={STEPS}",
    "train.checkpoint_every=2",
    "train.ema=0.5",
    "schedule.lr_decay=50%",
    "optimizer.head.lr=0.001",
    "data.batch_size=2",
    "data.crop=16",
]


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> str:
    """A recipe on small noise images: clean, degraded with ground truth, and validation pairs."""
    root, rng = tmp_path_factory.mktemp("toy"), np.random.default_rng(0)
    for side, pixels in (("clean", 32), ("degraded", 16), ("twins", 32), ("val_clean", 48), ("val_degraded", 24)):
        for name in ("one.png", "two.png"):
            write_image(root / side / name, rng.integers(60, 200, (pixels, pixels, 3), np.uint8))
    sides = {side: side for side in ("clean", "degraded", "val_clean", "val_degraded")} | {"ceiling_clean": "twins"}
    recipe = load_recipe("smoke", [*TOY, *(f"data.{key}={root / side}" for key, side in sides.items())])
    (root / "toy.yaml").write_text(to_yaml(recipe))
    return str(root / "toy.yaml")


@pytest.fixture(scope="module")
def compared(toy, tmp_path_factory) -> Path:
    """The folder of a comparison over two seeds."""
    folder = tmp_path_factory.mktemp("compared") / "all"
    compare(toy, [], str(folder), [0, 1])
    return folder


def weights(run: Path) -> dict[str, torch.Tensor]:
    files = sorted((run / "checkpoints" / f"step_{STEPS}").glob("*.safetensors"))
    return {f"{file.stem}/{key}": value for file in files for key, value in load_file(file).items()}


def started(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    checkout = str(Path(__file__).resolve().parents[2])
    environment, pipe = {**os.environ, "PYTHONPATH": checkout, "ACCELERATE_USE_CPU": "true"}, subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True)


def results(folder: Path) -> dict:
    return json.loads((folder / "compare.json").read_text())


PLAIN = {
    "floor": ["translator=bicubic", "bridge={}"],
    "recipe": [],
    "ceiling": ["translator=bicubic", "bridge={}", "bridge.feed=real"],
}
"""As docs/results/details.md spells the runs of a table."""


@pytest.mark.parametrize("arm", PLAIN)
def test_an_arm_is_the_plain_run_of_the_same_overrides(arm, compared, toy, tmp_path):
    train(toy, [*PLAIN[arm], "train.seed=1", f"output_dir={tmp_path / 'plain'}"])
    alone, among_others = weights(tmp_path / "plain"), weights(compared / f"{arm}_1")
    assert alone and alone.keys() == among_others.keys()
    assert all(torch.equal(alone[name], among_others[name]) for name in alone)
    lines = map(json.loads, (tmp_path / "plain" / "metrics.jsonl").read_text().splitlines())
    last = [line for line in lines if line["split"] == "val"][-1]
    assert last["step"] == STEPS
    assert {name: results(compared)[arm]["runs"][1][name] for name in METRICS} == {name: last[name] for name in METRICS}


def test_each_run_logs_into_its_own_folder_alone(compared):
    for run in results(compared)["floor"]["runs"]:
        log = (compared / run["recipe_file"]).with_name("log.txt").read_text()
        assert log.count("completed ") == 1
        assert f"floor_{run['seed']}" in log and "ceiling_" not in log


def test_a_head_fed_plain_sources_ends_where_the_floor_does_whatever_translator_warms_up_beside_it(toy, tmp_path):
    compare(toy, ["train.ema=0.9", "bridge.feed=source", "data.ceiling_clean=null"], str(tmp_path))
    floor, recipe = (load_file(tmp_path / arm / "head" / "model.safetensors") for arm in ("floor_0", "recipe_0"))
    start = load_recipe(str(tmp_path / "recipe_0" / "recipe.yaml"))
    assert start.schedule.translator_warmup and start.schedule.head_warmup
    for name in floor:
        assert torch.allclose(floor[name], recipe[name], rtol=1e-5, atol=1e-7), name


def test_killed_and_given_again_it_ends_with_the_same_table(compared, toy, tmp_path):
    out = tmp_path / "killed"
    process = started("-m", "unpairaug", "compare", toy, "--out", str(out), "--seeds", "0", cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not (out / "recipe_0" / "checkpoints" / "step_2").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "compare.json").exists(), "it was over before it was killed"
    floor = out / "floor_0" / "checkpoints" / f"step_{STEPS}" / "state.json"
    made = floor.stat().st_mtime_ns

    compare(toy, [], str(out), [0])
    assert floor.stat().st_mtime_ns == made, "what was done is not done again"
    for arm in ARMS:
        assert results(out)[arm]["runs"] == results(compared)[arm]["runs"][:1]
        whole, resumed = weights(compared / f"{arm}_0"), weights(out / f"{arm}_0")
        assert whole and all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_two_processes_with_half_the_batch_make_the_same_table(compared, toy, tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "unpairaug", "compare"]
    half = ["data.batch_size=1", "translator.pool_size=0", "data.ceiling_clean=null"]
    said, wrong = (process := started(*launcher, toy, *half, "--out", "two", cwd=tmp_path)).communicate(timeout=200)
    assert process.returncode == 0, wrong
    assert said.count("completed ") == 2 and said.count("| **recipe** |") == 1, "one process tells it"
    (two,), one = results(tmp_path / "two")["floor"]["runs"], results(compared)["floor"]["runs"][0]
    assert [two[name] for name in METRICS] == pytest.approx([one[name] for name in METRICS], rel=1e-3)
    with pytest.raises(UserError, match="processes: 2 → 1"):
        compare(toy, half, str(tmp_path / "two"))


def test_an_unfinished_run_goes_on_from_its_latest_checkpoint(compared, toy, tmp_path, capsys):
    folder = copytree(compared, tmp_path / "cut_short")
    run = folder / "ceiling_1"
    for path in (*run.glob(f"checkpoints/step_{STEPS}/*"), run / "checkpoints" / f"step_{STEPS}"):
        path.rmdir() if path.is_dir() else path.unlink()
    for name in ("compare.json", "compare.md"):
        (folder / name).unlink()
    compare(toy, [], str(folder), [1])
    assert f"resumed from {run / 'checkpoints' / 'step_4'}" in capsys.readouterr().out
    assert results(folder)["ceiling"]["runs"] == results(compared)["ceiling"]["runs"][1:]


def test_fewer_seeds_of_what_is_trained_are_a_table_of_their_own(compared, toy, tmp_path):
    folder = copytree(compared, tmp_path / "fewer")
    command(toy, out=str(folder), seeds="1", json=tmp_path / "j" / "one.json")
    one, two = json.loads((tmp_path / "j" / "one.json").read_text()), results(compared)
    assert one == results(folder)
    assert one["seeds"] == [1]
    assert one["floor"]["runs"] == two["floor"]["runs"][1:]
    assert one["floor"]["psnr_rgb"] == two["floor"]["runs"][1]["psnr_rgb"] and one["floor"]["std"]["psnr_rgb"] is None


def test_a_second_place_with_too_long_a_name_leaves_the_results_in_the_folder(compared, toy, tmp_path):
    folder = copytree(compared, tmp_path / "again")
    with pytest.raises(RunStopped, match=r"(?s)1 of 3 files not written; 2 written:.*choose a shorter name"):
        command(toy, out=str(folder), seeds="1", json=tmp_path / ("n" * 300))
    assert results(folder)["seeds"] == [1]


def test_the_results_name_their_recipes_and_stand_beside_them(compared):
    found = results(compared)
    assert (found["recipe_name"], found["steps"], found["seeds"]) == ("toy", STEPS, [0, 1])
    assert load_recipe(str(compared / found["recipe_file"])).train.steps == STEPS
    for arm in ARMS:
        for run in found[arm]["runs"]:
            recipe = load_recipe(str(compared / run["recipe_file"]))
            assert recipe.train.seed == run["seed"]
            assert recipe.bridge.feed == ("real" if arm == "ceiling" else "fake")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("optimizer.head.lr=0.002", r"optimizer\.head\.lr: 0\.001 → 0\.002"),
        ("train.steps=7", r"train\.steps: 6 → 7"),
        ("bridge.strength=0.5", r"bridge\.strength: 1\.0 → 0\.5"),
    ],
)
def test_a_folder_of_another_recipe_is_refused_by_the_keys_that_differ(change, named, compared, toy):
    before = (compared / "compare.yaml").read_text()
    with pytest.raises(UserError, match=rf"compare\.yaml is another recipe: {named}; give another --out"):
        compare(toy, [change], str(compared), [0, 1])
    assert (compared / "compare.yaml").read_text() == before


def test_a_run_that_is_not_of_this_comparison_is_refused_by_what_differs(compared, toy, tmp_path):
    for arm, change in (("floor", "clip"), ("recipe", "data")):
        folder = tmp_path / arm
        copytree(compared / f"{arm}_0", folder / f"{arm}_0")
        state = folder / f"{arm}_0" / "checkpoints" / f"step_{STEPS}" / "state.json"
        values = json.loads(state.read_text())
        if change == "clip":  # which an ordinary run that goes on may change
            values["recipe"]["train"]["clip"], said = 2.0, r"train\.clip: 2\.0 → None"
        else:
            values["data"]["degraded"], said = "3 images, abc", r"degraded: 3 images, abc → 2 images"
        state.write_text(json.dumps(values))
        write_manifest(state.parent)
        if arm == "recipe":
            copytree(compared / "floor_0", folder / "floor_0")
        with pytest.raises(UserError, match=rf"{arm}_0\S* is of another run.*{said}"):
            compare(toy, [], str(folder), [0])


def test_a_ceiling_may_come_later_and_without_one_it_is_said_why(toy, tmp_path, capsys):
    found = compare(toy, ["train.steps=1", "data.ceiling_clean=null"], str(tmp_path / "out"))
    why = "data.ceiling_clean, the ground truth of data.degraded, is not set"
    assert f"no ceiling: {why}\n" in capsys.readouterr().out
    assert (found["ceiling"], found["share"], found["no_ceiling"]) == (None, None, why)
    assert found == results(tmp_path / "out")
    page = (tmp_path / "out" / "compare.md").read_text()
    assert f"No supervised upper bound (ceiling), so no share: {why}." in page and "| ceiling" not in page
    again = compare(toy, ["train.steps=1"], str(tmp_path / "out"))
    assert again["ceiling"]["runs"][0]["recipe_file"] == "ceiling_0/recipe.yaml" and again["floor"] == found["floor"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("data.ceiling_clean=sample", "does not match data.degraded: 7 of 7 images in sample"),
        ("data.on_bad=skip", "data.on_bad 'skip' would break up the pairs"),
    ],
)
def test_pairs_that_cannot_be_had_make_no_ceiling(change, why, toy):
    assert why in (explain_missing_ceiling(load_recipe(toy, [change])) or "")
    assert explain_missing_ceiling(load_recipe(toy)) is None
    with pytest.raises(UserError, match="nowhere"):
        explain_missing_ceiling(load_recipe(toy, ["data.ceiling_clean=nowhere"]))


@pytest.mark.parametrize("name", [name for name in bundled_recipes() if name != "paired"])
def test_the_arms_of_every_recipe_are_its_head_on_its_budget(name):
    recipe = load_recipe(name)
    for arm, feed in (("floor", "fake"), ("recipe", recipe.bridge.feed), ("ceiling", "real")):
        made = load_recipe(name, ["data.ceiling_clean=sample", *ARMS[arm]])
        for section in ("task", "schedule", "optimizer", "train"):
            assert getattr(made, section) == getattr(recipe, section)
        assert made.data.model_copy(update={"ceiling_clean": None}) == recipe.data.model_copy(
            update={"ceiling_clean": None}
        )
        assert made.bridge.feed == feed
        if arm == "recipe":
            assert (made.translator, made.bridge, made.real_path) == (
                recipe.translator,
                recipe.bridge,
                recipe.real_path,
            )
        else:
            assert made.translator == {"type": "bicubic", "measure": "none"}
            assert (made.bridge.strength, made.bridge.perturbation, made.bridge.domain_weights) == (1.0, 0.0, False)
            assert made.real_path == type(made.real_path)()


def test_floor_and_ceiling_of_a_reused_translator_have_none(compared):
    reused = [f"translator={{from: {compared / 'recipe_0'}, train: false}}", "schedule={}"]
    assert load_recipe("smoke", reused).translator["from"] == str(compared / "recipe_0")
    for arm in ("floor", "ceiling"):
        assert load_recipe("smoke", [*reused, "data.ceiling_clean=sample", *ARMS[arm]]).translator == {
            "type": "bicubic",
            "measure": "none",
        }


@pytest.mark.parametrize(
    ("recipe", "overrides", "said"),
    [
        ("paired", [], "bridge.feed 'real' trains on true pairs: this recipe is its own ceiling"),
        ("smoke", ["translator=bicubic"], "this recipe has no translator: it is its own floor"),
        ("smoke", ["train.lambda_task=0"], "train.lambda_task is 0, so floor and ceiling would not train"),
        ("cyclesr_sr_paper", [], "no validation pairs: set data.val_clean and data.val_degraded"),
        ("smoke", ["train.resume=never"], "train.resume 'never': `compare` always resumes its own runs"),
    ],
)
def test_what_compares_nothing_is_refused_before_anything_is_written(recipe, overrides, said, tmp_path):
    with pytest.raises(UserError, match=re.escape(said)):
        compare(recipe, overrides, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seeds", ["", "0,", "a", "-1", "0,1,01", "0.5"])
def test_seeds_are_whole_numbers_each_once(seeds):
    with pytest.raises(UserError, match="expected whole numbers, 0 or more, each once, such as 0,1,2"):
        command("smoke", seeds=seeds)


def test_the_share_is_of_the_gap_and_without_a_gap_there_is_none():
    assert share(28.0, 28.5, 29.0) == 0.5
    assert share(28.0, 27.5, 29.0) == -0.5
    assert share(28.0, 29.5, 29.0) == 1.5
    assert share(28.0, 28.5, 28.0) is None and share(28.0, 28.5, 27.0) is None
    assert share(28.0, inf, 29.0) is None and share(28.0, 29.0, inf) is None


def runs(folder: Path, figures: dict[str, list[float]], unprocessed: float = 27.0) -> Path:
    """A folder of runs that measured the figures, one for each seed, at step 4, and better ones at step 2."""
    for arm, seeds in figures.items():
        for seed, figure in enumerate(seeds):
            lines = [("val_bicubic", 0, unprocessed), ("val", 0, 27.0), ("val", 2, figure + 5), ("val", 4, figure)]
            lines = [{"step": step, "split": split, **dict.fromkeys(METRICS, value)} for split, step, value in lines]
            (folder / f"{arm}_{seed}").mkdir(parents=True)
            (folder / f"{arm}_{seed}" / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


BY_HAND = {"floor": [28.0, 28.0, 28.1], "recipe": [28.5, 28.6, 28.4], "ceiling": [29.0, 28.8, 28.7]}
ABOUT = {"recipe_name": "hand", "scale": 2, "no_ceiling": None}


def test_means_spread_and_shares_are_those_of_the_last_step(tmp_path):
    found = gather_results(runs(tmp_path, BY_HAND), list(ARMS), [0, 1, 2], 4)
    assert found["recipe"]["psnr_rgb"] == pytest.approx(28.5)  # 33.5 at step 2
    assert found["recipe"]["std"]["psnr_rgb"] == pytest.approx(0.1)
    assert found["share_by_seed"] == pytest.approx([0.5, 0.75, 0.5])
    assert found["share_std"] == pytest.approx(0.1443, abs=1e-4)
    assert found["share"] == pytest.approx((28.5 - 84.1 / 3) / (86.5 / 3 - 84.1 / 3))
    page = format_table({**ABOUT, **found})
    assert "| **recipe** | 28.50 ± 0.10 | 28.5000 ± 0.1000 |" in page
    assert "| bicubic interpolation | 27.00 | 27.0000 |" in page
    assert page.endswith("by seed: 50 %, 75 %, 50 % (± 14 %); of the means: 58 %.\n")
    assert "head trained on clean images" in format_table({**ABOUT, **found, "scale": 1})


def test_no_gap_is_said_in_words(tmp_path):
    found = gather_results(runs(tmp_path, {**BY_HAND, "ceiling": [29.0, 28.0, 28.1]}), list(ARMS), [0, 1, 2], 4)
    assert found["share_by_seed"] == [0.5, None, None] and found["share_std"] is None
    said = "by seed: 50 %, no gap, no gap; of the means: 140 %. There is no gap if the ceiling is not above the floor."
    assert said in format_table({**ABOUT, **found})


def test_runs_without_their_last_validation_or_measured_on_other_images_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"metrics\.jsonl has no validation at step 6; remove .*floor_0"):
        gather_results(runs(tmp_path / "a", BY_HAND), list(ARMS), [0], 6)
    damaged = tmp_path / "a" / "floor_0" / "metrics.jsonl"
    damaged.write_text(damaged.read_text() + '{"step": 4, "spl')
    with pytest.raises(UserError, match=r"metrics\.jsonl has no validation at step 4; remove .*floor_0"):
        gather_results(tmp_path / "a", list(ARMS), [0], 4)
    runs(tmp_path / "b", {"floor": [28.0]})
    with pytest.raises(UserError, match=r"different validation images: psnr_rgb of the input is 27\.00, 26\.00"):
        gather_results(runs(tmp_path / "b", {"recipe": [28.0]}, unprocessed=26.0), ["floor", "recipe"], [0], 4)
