"""The quick part of `damage_checkpoints.py`, and a damaged run that is resumed to its end."""

import json
from pathlib import Path

from damage_checkpoints import KINDS, STEPS, contents, recipe_of, run_cases

from unpairaug.training.run_recipe import run_recipe


def test_no_damaged_checkpoint_is_loaded(tmp_path: Path):
    found = run_cases(tmp_path, count=2 * len(KINDS), seed=1)
    assert [case for case in found if case[1].startswith("FAILED")] == []
    assert {outcome for _, outcome in found} == {"the newest whole one", "refused"}


def test_a_run_that_is_resumed_before_the_damage_ends_with_the_same_bits(tmp_path: Path, capfd):
    folder = tmp_path / "run"
    last = folder / "checkpoints" / f"step_{STEPS[-1]}"
    assert run_recipe(recipe_of(folder), "smoke") == STEPS[-1]
    whole = contents(last)
    content = bytearray(whole["translator.safetensors"])
    content[-1] ^= 1
    (last / "translator.safetensors").write_bytes(content)
    assert run_recipe(recipe_of(folder), "smoke") == STEPS[-1]
    printed = capfd.readouterr().out
    assert f"warning: {last} is damaged: 'translator.safetensors' has other content than was written" in printed
    assert f"resumed from {folder / 'checkpoints' / 'step_4'}" in printed
    again = contents(last)
    changed = {name for name in whole if again[name] != whole[name]}
    # The log is longer by the warning, and its length is kept beside the step.
    assert again.keys() == whole.keys() and changed <= {"state.json", "manifest.json"}
    states = [json.loads(held["state.json"]) for held in (again, whole)]
    assert {**states[0], "log_length": 0} == {**states[1], "log_length": 0}
