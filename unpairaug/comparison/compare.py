"""Floor, recipe and ceiling on one head, budget, data and seeds: what the translator of a recipe is worth."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from unpairaug.comparison.gap import Results, gather, table
from unpairaug.errors import UserError
from unpairaug.recipe import Recipe, differences, load_recipe, to_yaml
from unpairaug.run import MAY_CHANGE, complete, log_to_console

ARMS = {
    "floor": ("translator={type: bicubic}", "bridge={}", "real_path={}"),
    "recipe": (),
    "ceiling": ("translator={type: bicubic}", "bridge={feed: real}", "real_path={}"),
}
"""What each arm changes of the recipe. Head, loss, schedule, optimiser and data stay, so that the head is trained in
the same steps, at the same learning rates, and (but in the ceiling) on the same crops of clean images."""

CEILING_CLEAN = "data.ceiling_clean"
"""Read by the ceiling alone, so it may be given when floor and recipe are trained already."""

RECORD = "compare.yaml"
"""The recipe that is compared, in the folder: every run is made from this file, which nobody edits meanwhile."""

log = logging.getLogger("unpairaug")


def compare(
    recipe_name: str, overrides: Sequence[str] = (), out: str | None = None, seeds: Sequence[int] = ()
) -> Results:
    """Train what is not trained yet, and gather what every run measured at its last step.

    Leaves the runs in `out`, and `compare.json` and `compare.md` beside them. Collective: under `accelerate launch`
    every process must call it, and each gets the whole result.

    Args:
        recipe_name: a file, or the name of a recipe.
        overrides: `dotted.key=value`, on top of it in every arm.
        out: the folder of all runs; by default the recipe's `output_dir` with `_compare` behind it.
        seeds: what `train.seed` is in turn; by default the recipe's alone.

    Raises:
        UserError: there is nothing to compare, or the folder holds runs of another recipe.
        RunStopped: a run was stopped; the same call goes on from there.
    """
    recipe = load_recipe(recipe_name, overrides)
    _refuse_what_compares_nothing(recipe, floor=load_recipe(recipe_name, [*overrides, *ARMS["floor"]]))
    from unpairaug.evaluation.evaluate import write_json
    from unpairaug.training.build import make_accelerator

    accelerator = make_accelerator(recipe)
    log_to_console(accelerator.is_main_process)
    folder, seeds = Path(out or f"{recipe.output_dir}_compare"), seeds or [recipe.train.seed]
    arms, absent = list(ARMS), why_no_ceiling(recipe)
    if absent:
        arms.remove("ceiling")
        log.info(f"no ceiling: {absent}")
    _refuse_another(recipe, folder / RECORD)
    if accelerator.is_main_process:
        _keep(recipe, folder / RECORD)
    accelerator.wait_for_everyone()
    (steps,) = {_complete(arm, seed, folder) for seed in seeds for arm in arms}  # epochs are of data.clean in every arm
    results = {
        "recipe_name": Path(recipe_name).stem,
        "recipe_file": RECORD,
        "overrides": list(overrides),
        "scale": recipe.task.get("scale", 1),
        **gather(folder, arms, seeds, steps),
        "no_ceiling": absent,
    }
    if accelerator.is_main_process:
        (folder / "compare.md").write_text(table(results), encoding="utf-8")
        write_json(results, folder / "compare.json")
        log.info(f"{table(results)}\n{folder / 'compare.md'} and {folder / 'compare.json'} hold this")
    accelerator.end_training()
    return results


def why_no_ceiling(recipe: Recipe) -> str | None:
    """Why the head cannot be trained on true pairs; None where it can.

    Raises:
        UserError: `data.ceiling_clean` or `data.degraded` is no source of images.
    """
    from unpairaug.data.pairs import match
    from unpairaug.data.sources import open_images

    data, scale = recipe.data, recipe.task.get("scale", 1)
    if data.ceiling_clean is None:
        return f"{CEILING_CLEAN}, the clean twins of data.degraded, is not given"
    if data.on_bad == "skip":
        return "data.on_bad 'skip' would part the pairs; give 'raise'"
    clean = open_images(data.ceiling_clean, "ceiling_clean", scale)
    degraded = open_images(data.degraded, "degraded", scale)
    try:
        match(clean, degraded, scale)
    except UserError as error:
        return f"{CEILING_CLEAN} does not hold the clean twins of data.degraded: {error}"
    return None


def _refuse_what_compares_nothing(recipe: Recipe, floor: Recipe) -> None:
    """Where floor, recipe and ceiling would say nothing of the translator, or could not be measured."""
    if recipe.bridge.feed == "real":
        raise UserError("bridge.feed 'real' is the ceiling itself, on true pairs; compare a recipe that feeds others")
    if not differences(recipe, floor):
        raise UserError("this recipe is the floor itself, plain sources alone; compare one with a translator")
    if recipe.train.lambda_task == 0:
        raise UserError("train.lambda_task 0 leaves floor and ceiling nothing to learn; give it a weight")
    if recipe.data.val_clean is None:
        raise UserError("there is nothing to measure on: give pairs as data.val_clean and data.val_degraded")
    if recipe.train.resume != "auto":
        raise UserError(f"train.resume {recipe.train.resume!r}: here every run goes on from its own; leave the key out")


def _refuse_another(recipe: Recipe, record: Path) -> None:
    """Where the folder holds runs of another recipe; what floor and recipe never read may change."""
    if not record.exists():
        return
    free = (*MAY_CHANGE, "train.seed", CEILING_CLEAN)
    changed = differences(load_recipe(str(record)), recipe)
    told = [f"{key}: {before!r} → {now!r}" for key, (before, now) in changed.items() if key not in free]
    if told:
        raise UserError(f"{record} is another recipe: {'; '.join(told)}; give another --out")


def _keep(recipe: Recipe, record: Path) -> None:
    """Write the recipe, whole or not at all."""
    unfinished = record.with_suffix(".part")
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(to_yaml(recipe), encoding="utf-8")
        unfinished.replace(record)
    except OSError as error:
        raise UserError(f"{record} cannot be written: {error}; give another --out") from error


def _complete(arm: str, seed: int, folder: Path) -> int:
    """Train one run to its end, unless it is there; return its steps."""
    run = folder / f"{arm}_{seed}"
    log.info(f"{arm}, seed {seed}: {run}")
    place = json.dumps(str(run), ensure_ascii=False)  # as YAML would quote it
    overrides = [*ARMS[arm], f"train.seed={seed}", f"output_dir={place}"]
    return complete(str(folder / RECORD), overrides, MAY_CHANGE if arm == "ceiling" else (*MAY_CHANGE, CEILING_CLEAN))
