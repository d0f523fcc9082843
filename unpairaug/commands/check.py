"""`unpairaug check`."""

from __future__ import annotations

from unpairaug.commands.output import Json, print_result, write_result
from unpairaug.commands.train import Overrides, RecipeName


def check(recipe: RecipeName, overrides: Overrides = None, json: Json = None) -> None:
    """Check a recipe and its data, take two dry steps, and estimate time and memory.

    Trains nothing and writes nothing. Example: unpairaug check cyclesr_sr data.clean=photographs/clean
    """
    from dataclasses import asdict
    from functools import partial

    from unpairaug.bench.check import check as check_recipe

    write_result(asdict(check_recipe(recipe, overrides or [], partial(print_result, json=json))), json)
