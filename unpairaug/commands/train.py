"""`unpairaug train`."""

from __future__ import annotations

from typing import Annotated

import typer

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a bundled recipe.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[dotted.key=value]…", help="Values that replace the recipe's.")
]


def train(recipe: RecipeName, overrides: Overrides = None) -> None:
    """Train from a recipe, and write a run folder. The same command resumes a run that was stopped.

    For several processes: accelerate launch -m unpairaug.run RECIPE.

    Example: unpairaug train cyclesr_sr train.steps=2000 output_dir=runs/mine
    """
    from unpairaug.run import train as run

    run(recipe, overrides or [])
