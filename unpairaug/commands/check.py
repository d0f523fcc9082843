"""`unpairaug check`."""

from __future__ import annotations

from unpairaug.commands.train import Overrides, RecipeName


def check(recipe: RecipeName, overrides: Overrides = None) -> None:
    """Check a recipe and its data, take two dry steps, estimate time and memory. Trains nothing, writes nothing."""
    from unpairaug.bench.check import check as check_recipe

    check_recipe(recipe, overrides or [])
