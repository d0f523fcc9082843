"""Trains a recipe, its bicubic baseline and its supervised upper bound with the same head, budget, data and seeds.

The *bicubic baseline* (`floor`) trains the head on sources without a translator: bicubic pairs for super-resolution,
clean images at scale 1. The *supervised upper bound* (`ceiling`) trains it on true pairs.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unpairaug.comparison.gap import Results, format_table, gather_results
from unpairaug.data.files import write_file
from unpairaug.data.output_files import OutputFiles
from unpairaug.errors import UserError, escape
from unpairaug.evaluation.results import write_json
from unpairaug.recipe import Recipe, differences, load_recipe, to_yaml
from unpairaug.recipe.recipe import Overrides, format_overrides, list_overrides
from unpairaug.terminal.console import log_to_console
from unpairaug.training import launcher as launcher  # notes the parent process before torch is imported

ARMS = {
    "floor": ("translator={type: bicubic}", "bridge={}", "real_path={}"),
    "recipe": (),
    "ceiling": ("translator={type: bicubic}", "bridge={feed: real}", "real_path={}"),
}
"""Overrides of each arm. Head, loss, schedule, optimiser and data stay the same, so every arm trains the head in the
same steps with the same learning rates and, except for the ceiling, on the same crops of clean images."""

CEILING_CLEAN = "data.ceiling_clean"
"""Only the ceiling reads it, so it may be added after floor and recipe have been trained."""

RECORD = "compare.yaml"
"""Copy of the compared recipe in the output folder. All runs are trained from this copy."""

log = logging.getLogger("unpairaug")


def compare(
    recipe: str | os.PathLike[str],
    overrides: Overrides = (),
    out: str | os.PathLike[str] | None = None,
    seeds: Sequence[int] = (),
    files: OutputFiles | None = None,
    **sections: Any,
) -> Results:
    """Train the missing runs, and collect the metrics of every run at its last step; every process must call it.

    Args:
        recipe: a file, or the name of a recipe.
        overrides: applied to the recipe in every arm, in any form that `load_recipe` takes.
        out: folder for the runs, `compare.json` and `compare.md`; by default `output_dir` with the suffix `_compare`.
        seeds: values of `train.seed`; by default that of the recipe.
        files: collects write errors of the results instead of raising them at the end.
        sections: values by section, on top of the overrides.

    Raises:
        UserError: there is nothing to compare, or the folder holds runs of another recipe.
        RunStopped: a run was stopped, and the same call resumes it; or the results cannot be written.
    """
    given = list_overrides(overrides, sections)
    loaded = load_recipe(recipe, given)
    _check_comparable(loaded, floor=load_recipe(recipe, [*given, *ARMS["floor"]]))
    from unpairaug.training.build import make_accelerator

    accelerator = make_accelerator(loaded)
    log_to_console(accelerator.is_main_process)
    folder, seeds = Path(out or f"{loaded.output_dir}_compare"), seeds or [loaded.train.seed]
    if no_ceiling := explain_missing_ceiling(loaded):
        log.info(f"no ceiling: {no_ceiling}")
    arms = [arm for arm in ARMS if arm != "ceiling" or not no_ceiling]
    _record_recipe(loaded, folder / RECORD, accelerator.is_main_process)
    accelerator.wait_for_everyone()
    (steps,) = {_train_arm(arm, seed, folder) for seed in seeds for arm in arms}  # epochs count data.clean: the same
    settings: Results = {"recipe_name": Path(recipe).stem, "recipe_file": RECORD, "overrides": format_overrides(given)}
    settings["scale"] = loaded.task.get("scale", 1)
    results = {**settings, **gather_results(folder, arms, seeds, steps), "no_ceiling": no_ceiling}
    if accelerator.is_main_process:
        _write_results(results, folder, files)
    accelerator.end_training()
    return results


def _record_recipe(recipe: Recipe, path: Path, is_main: bool) -> None:
    """Write the recipe that all runs share, unless the file holds another.

    Raises:
        UserError: it does.
    """
    _check_same_recipe(recipe, path)
    if is_main:
        write_file(path, to_yaml(recipe).encode())


def _write_results(results: Results, folder: Path, files: OutputFiles | None) -> None:
    """Log the table, and write it as `compare.md` and all results as `compare.json`."""
    log.info(format_table(results))
    collected = files or OutputFiles()
    with collected.attempt():
        write_file(folder / "compare.md", format_table(results).encode("utf-8", "backslashreplace"))
    with collected.attempt():
        write_json(results, folder / "compare.json")
    if not collected.errors:
        log.info(f"Wrote {escape(folder / 'compare.md')} and {escape(folder / 'compare.json')}.")
    if files is None:
        collected.check_complete()


def explain_missing_ceiling(recipe: Recipe) -> str | None:
    """Return why the head cannot be trained on true pairs; None if it can.

    Raises:
        UserError: `data.ceiling_clean` or `data.degraded` cannot be opened.
    """
    from unpairaug.data.pairs import match_pairs
    from unpairaug.data.sources import open_images

    data, scale = recipe.data, recipe.task.get("scale", 1)
    if data.ceiling_clean is None:
        return f"{CEILING_CLEAN}, the ground truth of data.degraded, is not set"
    if data.on_bad == "skip":
        return "data.on_bad 'skip' would break up the pairs; set it to 'raise'"
    clean = open_images(data.ceiling_clean, "ceiling_clean", scale)
    degraded = open_images(data.degraded, "degraded", scale)
    try:
        match_pairs(clean, degraded, scale)
    except UserError as error:
        return f"{CEILING_CLEAN} does not match data.degraded: {error}"
    return None


def _check_comparable(recipe: Recipe, floor: Recipe) -> None:
    """Raise UserError if the arms would not differ, or could not be measured."""
    if recipe.bridge.feed == "real":
        raise UserError(
            "bridge.feed 'real' trains on true pairs: this recipe is its own ceiling; compare one with a translator"
        )
    if not differences(recipe, floor):
        raise UserError("this recipe has no translator: it is its own floor; compare a recipe with a translator")
    if recipe.train.lambda_task == 0:
        raise UserError("train.lambda_task is 0, so floor and ceiling would not train; give a weight above 0")
    if recipe.data.val_clean is None:
        raise UserError("there are no validation pairs: set data.val_clean and data.val_degraded")
    if recipe.train.resume != "auto":
        raise UserError(f"train.resume {recipe.train.resume!r}: `compare` always resumes its own runs; remove the key")


def _check_same_recipe(recipe: Recipe, record: Path) -> None:
    """Raise UserError if the folder holds runs of another recipe."""
    if not os.path.exists(record):
        return
    from unpairaug.training.resume import MAY_CHANGE

    may_change = (*MAY_CHANGE, "train.seed", CEILING_CLEAN)
    changed = differences(load_recipe(str(record)), recipe)
    lines = [f"{key}: {before!r} → {now!r}" for key, (before, now) in changed.items() if key not in may_change]
    if lines:
        raise UserError(f"{escape(record)} is another recipe: {'; '.join(lines)}; give another --out")


def _train_arm(arm: str, seed: int, folder: Path) -> int:
    """Train one run unless it is complete; return its number of steps."""
    from unpairaug.training.resume import MAY_CHANGE
    from unpairaug.training.run_recipe import run_recipe

    run = folder / f"{arm}_{seed}"
    log.info(f"{arm}, seed {seed}: {escape(run)}")
    quoted = json.dumps(str(run), ensure_ascii=False)  # quoted as in YAML
    overrides = [*ARMS[arm], f"train.seed={seed}", f"output_dir={quoted}"]
    name = str(folder / RECORD)
    may_change = MAY_CHANGE if arm == "ceiling" else (*MAY_CHANGE, CEILING_CLEAN)
    return run_recipe(load_recipe(name, overrides), name, may_change)
