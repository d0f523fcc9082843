"""Recipes on top of each other: what merges, is replaced, is refused; the bundled ones resolve as recorded."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from unpairaug.errors import UserError
from unpairaug.recipe import bundled_recipes, load_recipe, to_yaml
from unpairaug.recipe.recipe import _flat

RECORD = Path(__file__).with_name("resolved.json")
"""Hash of the resolved values of each bundled recipe; `python tests/recipe/test_base.py` writes it anew."""


def resolved(name: str) -> dict[str, object]:
    return dict(_flat(load_recipe(name).model_dump(mode="json")))


def hash_values(values: dict[str, object], keys: list[str]) -> str:
    return sha256(json.dumps([(key, values.get(key)) for key in keys]).encode()).hexdigest()[:16]


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_bundled_recipes_resolve_to_the_recorded_values():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    found = {name: hash_values(resolved(name), record["keys"]) for name in bundled_recipes()}
    changed = [name for name in found if record["sha256"].get(name) != found[name]]
    assert not changed, f"{changed} resolve to other values; if that is intended, run python {Path(__file__).name}"


def test_sections_merge_and_values_and_lists_are_replaced(tmp_path: Path):
    text = (
        "base: smoke\nschedule: null\ndata: {crop: 64, clean: {a: 2, b: 1}}\noptimizer: {head: {betas: [0.8, 0.9]}}\n"
    )
    recipe, base = load_recipe(write(tmp_path, "mine.yaml", text)), load_recipe("smoke")
    assert recipe.data == base.data.model_copy(update={"crop": 64, "clean": {"a": 2, "b": 1}})
    assert recipe.optimizer.head.betas == (0.8, 0.9) and recipe.task == base.task and recipe.train == base.train
    assert recipe.schedule.translator_warmup == 0 and base.schedule.translator_warmup == "20%"
    assert recipe.output_dir == "runs/mine"  # never that of the base


def test_another_type_replaces_a_component_and_keeps_what_belongs_to_the_run(tmp_path: Path):
    mine = write(tmp_path, "mine.yaml", "base: cyclesr_sr\ntask: {head: fsrcnn}\ntranslator: {type: cut, ngf: 8}\n")
    recipe = load_recipe(mine)
    assert recipe.task["scale"] == 2 and recipe.task["head"]["type"] == "fsrcnn" and recipe.task["head"]["depth"] == 4
    assert recipe.translator["ngf"] == 8 and "width" not in recipe.translator
    assert "scale" not in load_recipe(write(tmp_path, "noise.yaml", "base: mine.yaml\ntask: denoise\n")).task


def test_a_base_is_found_beside_the_recipe_from_any_folder(tmp_path: Path):
    write(tmp_path, "lab.yaml", "base: smoke\ntrain: {steps: 7}\n")
    (tmp_path / "own").mkdir()
    mine = write(tmp_path / "own", "mine.yaml", "base: ../lab.yaml\n")
    assert load_recipe(mine).train.steps == 7
    saved = write(tmp_path, "saved.yaml", to_yaml(load_recipe(mine)))
    assert load_recipe(saved) == load_recipe(mine) and "base:" not in Path(saved).read_text()


def test_mistakes_name_the_file_in_which_they_stand(tmp_path: Path):
    write(tmp_path, "low.yaml", "base: smoke\ntrain:\n  steps: many\n")
    high = write(tmp_path, "high.yaml", "base: low.yaml\ndata:\n  corp: 3\n")
    with pytest.raises(UserError) as refused:
        load_recipe(high)
    lines = str(refused.value).splitlines()
    assert any("high.yaml:3:3: data.corp: unknown key" in line for line in lines)
    assert any("low.yaml:3:3: train.steps: given 'many'" in line for line in lines)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a": "base: a.yaml"}, "base: the bases form a circle: .*a.yaml → .*a.yaml"),
        ({"a": "base: b.yaml", "b": "base: a.yaml"}, "b.yaml:1:1: base: the bases form a circle: .*a.yaml → .*b.yaml"),
        ({"a": "base: cyclesr_st"}, "a.yaml:1:1: base: no recipe 'cyclesr_st': no file .*; did you mean 'cyclesr_sr'"),
        ({"a": f"base: {'x' * 300}"}, "a.yaml:1:1: base: no recipe 'xxx"),
        ({"a": "base: [smoke]"}, "base: given .*, should be the name of a recipe"),
        (
            {"a": "base: 0.yaml", **{str(i): f"base: {i + 1}.yaml" for i in range(9)}, "9": "base: smoke"},
            "7.yaml:1:1: base: more than 8 recipes below each other",
        ),
    ],
)
def test_bases_that_cannot_be_used_are_refused(files: dict[str, str], said: str, tmp_path: Path):
    for name, text in files.items():
        write(tmp_path, f"{name}.yaml", f"{text}\n")
    with pytest.raises(UserError, match=said):
        load_recipe(str(tmp_path / "a.yaml"))
    with pytest.raises(UserError, match="override base: a recipe file names its base itself"):
        load_recipe("smoke", ["base=cyclesr_sr"])


def test_overrides_are_texts_or_sections_or_dotted_keys(tmp_path: Path):
    wanted = load_recipe("smoke", ["data.clean=photos", "train.steps=20", "task.head={type: edsr, n_blocks: 2}"])
    sections = {"data": {"clean": Path("photos")}, "train": {"steps": 20}, "task": {"head": {"type": "edsr"}}}
    assert load_recipe(Path("smoke"), {**sections, "task.head.n_blocks": 2}) == wanted
    assert load_recipe("smoke", ["train.steps=20", {**sections, "task.head.n_blocks": 2}]) == wanted
    with pytest.raises(UserError, match=r"^override train\.stepps=20: train\.stepps: unknown key; did"):
        load_recipe("smoke", {"train": {"stepps": 20}})


def test_items_of_lists_are_overridden():
    recipe = load_recipe("cyclesr_sr", ["optimizer.generator.betas.0=0.9"])
    assert recipe.optimizer.generator.betas == (0.9, 0.99)
    blur = load_recipe("classic", ["translator.pipeline.0.GaussianBlur.p=0.5"]).translator["pipeline"][0]
    assert blur["GaussianBlur"] == {"sigma_limit": [0.1, 1.0], "p": 0.5}
    with pytest.raises(UserError, match=r"optimizer\.head\.betas is a list with items 0 to 1; there is no"):
        load_recipe("cyclesr_sr", ["optimizer.head.betas.2=0.9"])
    with pytest.raises(UserError, match=r"holds no list optimizer\.head\.betas; give the whole list"):
        load_recipe("smoke", ["optimizer.head.betas.0=0.9"])


def _write_record() -> None:
    values = {name: resolved(name) for name in bundled_recipes()}
    keys = sorted({key for found in values.values() for key in found})
    record = {"keys": keys, "sha256": {name: hash_values(found, keys) for name, found in values.items()}}
    RECORD.write_text(json.dumps(record, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write_record()
