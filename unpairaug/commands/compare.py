"""`unpairaug compare`: a recipe beside its bicubic baseline and its supervised upper bound."""

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
        typer.Option(help="Folder of all runs, instead of output_dir; by default output_dir with the suffix _compare."),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="Values of train.seed, such as 0,1,2; by default that of the recipe.", metavar="N,N,…"),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the results to this JSON file.", metavar="FILE")] = None,
) -> None:
    """Train floor (no translator), recipe and, if true pairs exist, ceiling; print the share of the gap closed.

    All have the same head, budget, data and seeds. Complete runs are not repeated: the same command
    resumes after a stop.

    Example: unpairaug compare cyclesr_sr --out runs/compared --seeds 0,1,2
    """
    from unpairaug.comparison.compare import compare
    from unpairaug.data.output_files import OutputFiles
    from unpairaug.evaluation.results import write_json
    from unpairaug.restoring.processes import process_state

    files = OutputFiles()
    results = compare(recipe, overrides or [], out, _parse_seeds(seeds), files)
    if process_state().is_main_process:
        if json is not None:
            with files.attempt():
                write_json(results, json)
        files.check_complete()


def _parse_seeds(seeds: str | None) -> list[int]:
    """Parse `0,1,2`; an empty list for None."""
    from unpairaug.errors import UserError

    words = [] if seeds is None else [word.strip() for word in seeds.split(",")]
    if not all(word.isdecimal() for word in words) or len(set(map(int, words))) < len(words):
        raise UserError(f"--seeds {seeds}: expected whole numbers, 0 or more, each once, such as 0,1,2")
    return list(map(int, words))
