"""What the runs of a comparison measured: means, spread over seeds, and the share of the gap that a recipe closes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isclose, isfinite
from pathlib import Path
from statistics import stdev
from typing import Any

from unpairaug.errors import UserError
from unpairaug.evaluation.metrics import METRICS, mean_of

Metrics = dict[str, float]
Results = dict[str, Any]
"""What `compare.json` holds; docs/measure.md lists it."""

SHARED = "psnr_rgb"
"""The metric in which the gap is measured."""


def gather(folder: Path, arms: Sequence[str], seeds: Sequence[int], steps: int) -> Results:
    """What the runs `ARM_SEED` in the folder measured at their last step, and the share of the gap.

    Raises:
        UserError: a run lacks its measurements, or runs were measured on different images.
    """
    found = {arm: [_measured(folder / f"{arm}_{seed}", steps) for seed in seeds] for arm in arms}
    plain = [before for runs in found.values() for before, _ in runs]
    if not all(isclose(one[SHARED], plain[0][SHARED], abs_tol=0.01) for one in plain):
        given = ", ".join(f"{one[SHARED]:.2f}" for one in plain)
        raise UserError(
            f"the runs in {folder} were measured on different images: before any training {SHARED} was {given}; "
            f"give another --out"
        )
    measured = {arm: _of_seeds(arm, seeds, [after for _, after in runs]) for arm, runs in found.items()}
    floor, recipe, ceiling = measured["floor"], measured["recipe"], measured.get("ceiling")
    sides = {"bicubic": plain[0], "floor": floor, "recipe": recipe, "ceiling": ceiling}
    return {"steps": steps, "seeds": list(seeds), **sides, **_shares(floor, recipe, ceiling)}


def _measured(run: Path, steps: int) -> tuple[Metrics, Metrics]:
    """The metrics of the validation images themselves, enlarged by interpolation, and of the head at the last step."""
    path = run / "metrics.jsonl"
    found: dict[tuple[str, int], Metrics] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        values = json.loads(line)
        found[values.pop("split"), values.pop("step")] = values
    try:
        return found["val_bicubic", 0], found["val", steps]
    except KeyError as error:
        raise UserError(f"{path} lacks the validation of step {steps}; remove {run}, and it is trained anew") from error


def _of_seeds(arm: str, seeds: Sequence[int], runs: Sequence[Metrics]) -> Results:
    """The mean of each metric at the top level, `std` and the runs below it."""
    std = {name: _std([run[name] for run in runs]) for name in METRICS}
    named = [
        {"seed": seed, "recipe_file": f"{arm}_{seed}/recipe.yaml", **run} for seed, run in zip(seeds, runs, strict=True)
    ]
    return {**mean_of(runs), "std": std, "runs": named}


def _std(values: Sequence[float | None]) -> float | None:
    """The standard deviation of a sample; None of a single value, or where one is missing or infinite."""
    known = [value for value in values if value is not None and isfinite(value)]
    return stdev(known) if len(known) == len(values) > 1 else None


def _shares(floor: Results, recipe: Results, ceiling: Results | None) -> Results:
    """The share of the gap that the means close, those of each seed, and their spread; None where there is no gap."""
    if ceiling is None:
        return {"share": None, "share_by_seed": None, "share_std": None}
    seeds = zip(floor["runs"], recipe["runs"], ceiling["runs"], strict=True)
    by_seed = [share(*(run[SHARED] for run in runs)) for runs in seeds]
    means = share(floor[SHARED], recipe[SHARED], ceiling[SHARED])
    return {"share": means, "share_by_seed": by_seed, "share_std": _std(by_seed)}


def share(floor: float, recipe: float, ceiling: float) -> float | None:
    """(recipe − floor) / (ceiling − floor); None where the ceiling is not above the floor."""
    gap = ceiling - floor
    return (recipe - floor) / gap if gap > 0 and isfinite(gap) and isfinite(recipe) else None


def table(results: Results) -> str:
    """The results as Markdown, with the rows of docs/results.md."""
    enlarged = results["scale"] > 1
    rows = {
        "floor": f"floor: head on {'bicubic pairs' if enlarged else 'clean images'}",
        "recipe": "**recipe**",
        "ceiling": "ceiling: head on true pairs",
    }
    plain = _row("bicubic enlargement" if enlarged else "no processing", results["bicubic"])
    lines = [
        f"# {results['recipe_name']}",
        "",
        f"{results['steps']} steps, {_seeds(results['seeds'])}. Every figure is of the last step, none of the best.",
        "",
        f"| | {' | '.join(METRICS)} | {SHARED} by seed |",
        "|---" * (len(METRICS) + 2) + "|",
        plain,
        *(_row(label, results[arm]) for arm, label in rows.items() if results[arm]),
        "",
        _sentence(results),
    ]
    return "\n".join(lines) + "\n"


def _row(label: str, arm: Results) -> str:
    std = arm.get("std", {})
    cells = (
        cell(name, arm[name]) + (f" ± {cell(name, std[name])}" if std.get(name) is not None else "") for name in METRICS
    )
    by_seed = ", ".join(cell(SHARED, run[SHARED]) for run in arm.get("runs", ()))
    return f"| {label} | {' | '.join(cells)} | {by_seed} |"


def cell(name: str, value: float) -> str:
    return f"{value:.{4 if 'ssim' in name else 2}f}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _sentence(results: Results) -> str:
    """What is said of the share below the table."""
    if results["no_ceiling"]:
        return f"No ceiling, and so no share: {results['no_ceiling']}."
    by_seed = ", ".join(map(percent, results["share_by_seed"]))
    by_seed += "" if results["share_std"] is None else f" (± {percent(results['share_std'])})"
    said = f"Share of the gap closed, by seed: {by_seed}; of the means: {percent(results['share'])}."
    has_none = None in (results["share"], *results["share_by_seed"])
    return said + (" There is no gap where the ceiling is not above the floor." if has_none else "")


def percent(share: float | None) -> str:
    return "no gap" if share is None else f"{100 * share:.0f} %"
