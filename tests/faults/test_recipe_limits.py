"""Recipes and overrides that would take for ever, all the memory, or something else than was named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError
from small_parts import built_in

from unpairaug.errors import UserError
from unpairaug.recipe import load_recipe
from unpairaug.recipe.yaml_file import parse
from unpairaug.recipe.yaml_values import MAX_CHARACTERS, MAX_VALUES
from unpairaug.registry import Registry, discriminators, heads, translators
from unpairaug.registry.options import MAX_LAYERS

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
LIMITS = {
    "alias bomb": (BOMB, f"more than {MAX_VALUES} values, with aliases written out"),
    "many values": ("a: [" + "1, " * 40_000 + "1]", f"more than {MAX_VALUES} values"),
    "many keys": ("".join(f"k{n}: 1\n" for n in range(20_000)), f"more than {MAX_VALUES} values"),
    "depth": ("a: " + "[" * 50_000, "more than 32 sections within each other"),
    "recursion": ("a: &a {b: *a}", "more than 32 sections within each other"),
    "size": ("# " + "x" * 50_000_000, f"more than {MAX_CHARACTERS}"),
    "digits": (f"a: {'9' * 5000}", "a whole number of 5000 digits"),
    "NUL": ('a: "\\0"', "text with NUL"),
    "half a character": ('a: "\\ud800"', "half a character"),
}


@pytest.mark.parametrize(("text", "sentence"), LIMITS.values(), ids=LIMITS)
def test_a_recipe_beyond_a_limit_is_refused_by_file_and_override(text: str, sentence: str, tmp_path: Path):
    file = tmp_path / "r.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=sentence) as refused:
        load_recipe(str(file))
    assert str(refused.value).startswith((str(file), f"recipe {file}"))
    with pytest.raises(UserError, match=sentence):
        parse(text, "r.yaml")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(UserError, match="is no regular file"):
            load_recipe(str(path))
    for name in ("x" * 5000, "a\0b", "a/" * 3000):
        with pytest.raises(UserError, match=r"no recipe|cannot be read"):
            load_recipe(name)


@pytest.mark.parametrize(
    "name", ["photos #1", "#1", "a # b", " photos", "photos ", "a\nb", "--- a", "a  b", "photos#1"]
)
def test_the_folder_that_an_override_names_is_the_one_that_is_read(name: str):
    recipe = load_recipe("smoke", [f"data.clean={name}"])
    assert recipe.data.clean == name


def test_a_comment_behind_another_value_is_refused():
    for value in ("{photos: 1} # b", "'photos' #1", "[1, 2] #"):
        with pytest.raises(UserError, match="text behind the value; put the value in quotes"):
            load_recipe("smoke", [f"data.clean={value}"])
    with pytest.raises(UserError, match=r"data.crop: given '32 # px', should be a whole number"):
        load_recipe("smoke", ["data.crop=32 # px"])
    assert load_recipe("smoke", ["data.clean='photos #1'"]).data.clean == "photos #1"


@pytest.mark.parametrize(
    "override",
    [
        "train.steps=1000000001",
        "train.steps=9999999999 epochs",
        "train.steps=1e300",
        f"train.steps={'9' * 18}",
        "data.crop=1000000",
        "data.batch_size=1000000000",
        "data.num_workers=100000",
        "train.seed=4294967296",
        "bridge.strength=[0, 1e400]",
        "bridge.perturbation=1e300",
        "task.head.width=1e300",
        "task.head.depth=100000000000",
    ],
)
def test_numbers_beyond_reason_are_refused(override: str):
    with pytest.raises(UserError, match=rf"^override {override.replace('[', '.').replace(']', '.')}".split("=")[0]):
        load_recipe("smoke", [override])


def test_a_key_of_many_parts_is_refused():
    with pytest.raises(UserError, match=r"should be dotted\.key=value"):
        load_recipe("smoke", [f"task.{'a.' * 5000}b=1"])


@pytest.mark.parametrize("parts", [heads, translators, discriminators], ids=lambda parts: parts.kind)
def test_no_part_builds_layers_beyond_reason(parts: Registry):
    counted = {"depth", "n_blocks", "n_layers", "n_scales", "order"}
    found = [(name, key) for name in built_in(parts) for key in counted & parts.options(name).model_fields.keys()]
    assert len(found) > 2
    for name, key in found:
        with pytest.raises(ValidationError, match=f"{key}\n.*less than or equal to {MAX_LAYERS}"):
            parts.options(name).model_validate({key: MAX_LAYERS + 1})
