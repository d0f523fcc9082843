"""The JSON schema of recipes: an independent validator accepts what ships, and not what is misspelt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from unpairaug.recipe import bundled_recipes, load_recipe
from unpairaug.recipe.schema import FILE, recipe_schema
from unpairaug.recipe.yaml_file import parse

FOLDER = bundled_recipes()["smoke"].parent
OF_TIMM = ("NetworkOptimizer", "HeadOptimizer")
"""Definitions that list what the installed timm knows."""


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads((FOLDER / FILE).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def accepts(validator: Draft202012Validator, text: str) -> bool:
    return validator.is_valid(parse(text, "r.yaml").values)


def test_the_file_beside_the_recipes_is_the_schema_of_this_version():
    found = recipe_schema(["built in"])  # other tests of this process may register parts of their own
    saved = json.loads((FOLDER / FILE).read_text(encoding="utf-8"))
    for name in OF_TIMM:
        assert found["$defs"].pop(name) and saved["$defs"].pop(name)
    assert saved == found, f"run: unpairaug schema --out recipes/{FILE}"


@pytest.mark.parametrize("name", bundled_recipes())
def test_every_bundled_recipe_is_valid_as_it_is_and_resolved(name: str, validator: Draft202012Validator):
    validator.validate(parse(bundled_recipes()[name].read_text(encoding="utf-8"), name).values)
    validator.validate(load_recipe(name).model_dump(mode="json"))


SMOKE = "task: {type: sr}\ntranslator: bicubic\ndata: {clean: a, degraded: b}\ntrain: {steps: 1}\n"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (SMOKE, SMOKE.replace("steps", "stepps")),
        (SMOKE, SMOKE.replace("train:", "trian:")),
        (SMOKE, SMOKE.replace("clean: a, ", "")),
        (SMOKE, SMOKE.replace("bicubic", "bicubik")),
        ("base: smoke\nschedule: null\n", "base: smoke\nschedule: 3\n"),
        ("base: smoke\ntask: {head: {depth: 3}}\n", "base: smoke\ntask: {head: {deptth: 3}}\n"),
        (
            "base: smoke\ntask: {head: {type: vdsr, depth: 3}}\n",
            "base: smoke\ntask: {head: {type: vdsr, n_blocks: 3}}\n",
        ),
        ("base: smoke\ntask: {head: 'my:Net'}\n", "base: smoke\ntask: {head: [vdsr]}\n"),
        ("base: smoke\ntask: {loss: {l1: 1.0, ssim: 0.1}}\n", "base: smoke\ntask: {loss: {l1: heavy}}\n"),
        ("base: smoke\ntranslator: {from: runs/a, train: false}\n", "base: smoke\ntranslator: {form: runs/a}\n"),
        ("base: smoke\noptimizer: {head: {lr: 1e-3}}\n", "base: smoke\noptimizer: {head: {weigth_decay: 0.1}}\n"),
        (
            "base: smoke\noptimizer: {head: {lr_schedule: {type: step, decay: 30%}}}\n",
            "base: smoke\noptimizer: {head: {lr_schedule: {type: cosine, decay: 30%}}}\n",
        ),
    ],
)
def test_a_misspelt_key_name_or_value_is_refused(right: str, wrong: str, validator: Draft202012Validator):
    assert accepts(validator, right) and not accepts(validator, wrong)


def test_editors_are_told_what_a_key_means(validator: Draft202012Validator):
    definitions: dict[str, Any] = validator.schema["$defs"]
    assert "Length of the run" in definitions["TrainSection"]["properties"]["steps"]["description"]
    vdsr = next(v for v in definitions["head"]["anyOf"] if v.get("properties", {}).get("type") == {"const": "vdsr"})
    assert vdsr["properties"]["depth"]["default"] == 20 and vdsr["description"].startswith("VDSR (Kim et al., 2016)")
