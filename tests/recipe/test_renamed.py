"""Keys of older recipes are refused, and the message names the new key."""

from __future__ import annotations

from pathlib import Path

import pytest

from unpairaug.errors import UserError
from unpairaug.recipe import load_recipe
from unpairaug.recipe.renamed import RENAMED

NEW_VALUES = {"translator.measure": "none", "train.select_checkpoint": "true"}
"""A valid value of each new key."""
every_old_key = pytest.mark.parametrize("old", RENAMED)


@every_old_key
def test_an_old_key_is_refused_and_the_new_one_named(old: str, tmp_path: Path):
    new = RENAMED[old]
    for before, after in new.values.items() or [("true", "true")]:
        said = rf"^override {old}={before}: {old}: this key has a new name; give {new.key}={after}$"
        with pytest.raises(UserError, match=said):
            load_recipe("smoke", [f"{old}={before}"])
    section, key = old.split(".")
    file = tmp_path / "old.yaml"
    sections = {"task": "type: sr", "translator": "type: bicubic", "data": "clean: a, degraded: b", "train": "steps: 1"}
    sections[section] += f", {key}: 1"
    file.write_text("".join(f"{name}: {{{values}}}\n" for name, values in sections.items()))
    with pytest.raises(UserError, match=rf"old\.yaml:\d+:\d+: {old}: this key has a new name; give {new.key}=1$"):
        load_recipe(str(file))


@every_old_key
def test_the_new_key_exists(old: str):
    new = RENAMED[old].key
    load_recipe("smoke", [f"{new}={NEW_VALUES[new]}"])
