"""Train from a recipe: ``accelerate launch -m unpairaug.run RECIPE [dotted.key=value …]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from unpairaug.errors import run_cli
from unpairaug.recipe import load_recipe
from unpairaug.training import launcher as launcher  # notes the parent process before torch is imported

USAGE = "usage: accelerate launch -m unpairaug.run RECIPE [dotted.key=value …]"


def train(recipe_name: str, overrides: Sequence[str] = ()) -> None:
    """Train from a recipe and write its run folder.

    Args:
        recipe_name: a file, or the name of a bundled recipe.
        overrides: `dotted.key=value`, on top of it.

    Raises:
        UserError: the recipe or the data are wrong; nothing has been trained.
        RunStopped: the run ended before its last step; the message says what is saved.
    """
    recipe = load_recipe(recipe_name, overrides)
    # torch is imported after the recipe is checked, so that a mistake in it is reported within a second.
    from accelerate import PartialState

    from unpairaug.training.run_recipe import run_recipe

    run_recipe(recipe, recipe_name)
    PartialState().destroy_process_group()


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print(f"{__doc__}\n\n{USAGE}\n\nRECIPE is a file, or the name of one that comes with unpairaug.")
        sys.exit(0 if arguments else 2)
    run_cli(lambda: train(arguments[0], arguments[1:]))


if __name__ == "__main__":
    main()
