"""The quick parts of `fuzz_recipes.py`, `fuzz_model_folders.py` and `fuzz_replays.py`."""

from __future__ import annotations

import random
import sys

import fuzz_model_folders
import fuzz_recipes
import fuzz_replays
import pytest
from hostile import find_places, limited, mutate_values

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")


def test_mutated_recipes_and_overrides_are_read_or_refused():
    faults, figures = fuzz_recipes.run(count=150, seed=11)
    assert faults == [], figures
    assert "refused" in figures and "read" in figures
    assert {case.kind for case in fuzz_recipes.make_cases(150, 11)} == set(fuzz_recipes.KINDS)


def test_mutated_model_folders_are_read_or_refused():
    faults, figures = fuzz_model_folders.run(count=150, seed=11)
    assert faults == [], figures
    assert "refused" in figures and "read" in figures
    folder = [b'{"task": {"width": 4}}', b"\2" + bytes(7) + b"{}", b"{}"]
    cases = fuzz_model_folders.make_cases([("task", folder)], 150, 11)
    assert {case.kind for case in cases} == {f"{kind} of a task" for kind in fuzz_model_folders.KINDS}


def test_mutated_replay_files_are_taken_or_refused():
    faults, figures = fuzz_replays.run(count=60, seed=11)
    assert faults == [], figures
    assert "refused" in figures and "read" in figures


def test_values_are_mutated_alike_by_the_same_seed_and_the_original_stays():
    values = {"a": [1, {"b": 2}], "c": {"d": None}}
    first, second = (repr(mutate_values(values, ["e"], random.Random(5))) for _ in range(2))
    assert first == second != repr(values) == repr({"a": [1, {"b": 2}], "c": {"d": None}})
    assert [key for _, key in find_places(values)] == ["a", 0, 1, "b", "c", "d"]


def test_what_takes_too_long_is_ended():
    def wait(case: object) -> None:
        while True:
            pass

    with pytest.raises(TimeoutError, match=r"more than 0\.05 s"):
        limited(wait, seconds=0.05)(None)
