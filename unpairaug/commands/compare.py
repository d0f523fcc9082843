"""`unpairaug compare`: what the translator of a recipe is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unpairaug.commands.train import Overrides, RecipeName


def compare(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Annotated[
        str | None,
        typer.Option(help="Folder of all runs, in place of output_dir; by default that with _compare behind it."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="In place of train.seed, as in 0,1,2; by default that alone.", metavar="N,N,…")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the results here.", metavar="FILE")] = None,
) -> None:
    """Train floor (plain sources), recipe, and, where true pairs exist, ceiling; say what share of the gap is closed.

    All on one head, budget, data and seeds. What is done is not done again: the same command goes on after a kill.
    """
    from unpairaug.comparison.compare import compare
    from unpairaug.evaluation.evaluate import write_json
    from unpairaug.restoring.processes import processes

    results = compare(recipe, overrides or [], out, _whole_numbers(seeds))
    if json is not None and processes().is_main_process:
        write_json(results, json)


def _whole_numbers(seeds: str | None) -> list[int]:
    """The seeds of `0,1,2`; none where nothing is given."""
    from unpairaug.errors import UserError

    words = [] if seeds is None else [word.strip() for word in seeds.split(",")]
    if not all(word.isdecimal() for word in words) or len(set(map(int, words))) < len(words):
        raise UserError(f"--seeds {seeds}: should be whole numbers, 0 or more, each once, as in 0,1,2")
    return list(map(int, words))
