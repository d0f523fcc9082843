"""Results of a comparison: mean and standard deviation over seeds, and the share of the gap that the recipe closes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isclose, isfinite
from pathlib import Path
from statistics import stdev
from typing import Any, NamedTuple

from unpairaug.errors import UserError, escape
from unpairaug.evaluation.metrics import METRICS, average_metrics

Metrics = dict[str, float]
Results = dict[str, Any]
"""Content of `compare.json`; docs/guides/compare.md lists the keys."""

GAP_METRIC = "psnr_rgb"
"""The metric of the gap."""


def gather_results(folder: Path, arms: Sequence[str], seeds: Sequence[int], steps: int) -> Results:
    """Collect the metrics of the runs `ARM_SEED` at their last step, and compute the share of the gap.

    Raises:
        UserError: a run has no validation at its last step, or the runs have different validation images.
    """
    by_arm = {arm: [_read_metrics(folder / f"{arm}_{seed}", steps) for seed in seeds] for arm in arms}
    inputs = [run.input for runs in by_arm.values() for run in runs]
    if not all(isclose(one[GAP_METRIC], inputs[0][GAP_METRIC], abs_tol=0.01) for one in inputs):
        values = ", ".join(f"{one[GAP_METRIC]:.2f}" for one in inputs)
        raise UserError(
            f"the runs in {escape(folder)} have different validation images: {GAP_METRIC} of the input is {values}; "
            "give another --out"
        )
    measured = {arm: _summarize_seeds(arm, seeds, [run.last for run in runs]) for arm, runs in by_arm.items()}
    floor, recipe, ceiling = measured["floor"], measured["recipe"], measured.get("ceiling")
    all_arms = {by_arm["floor"][0].input_name: inputs[0], "floor": floor, "recipe": recipe, "ceiling": ceiling}
    return {"steps": steps, "seeds": list(seeds), **all_arms, **_compute_shares(floor, recipe, ceiling)}


class _RunMetrics(NamedTuple):
    """Validation metrics of a run."""

    input_name: str
    """`bicubic` for super-resolution, `input` at scale 1."""
    input: Metrics
    """Of the validation input, enlarged by bicubic interpolation for super-resolution."""
    last: Metrics
    """Of the head at the last step."""


def _read_metrics(run: Path, steps: int) -> _RunMetrics:
    path = run / "metrics.jsonl"
    by_split: dict[tuple[str, int], Metrics] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            values = json.loads(line)
            by_split[values.pop("split"), values.pop("step")] = values
        name = "input" if ("val_input", 0) in by_split else "bicubic"
        return _RunMetrics(name, by_split[f"val_{name}", 0], by_split["val", steps])
    except (KeyError, ValueError, AttributeError) as error:  # a line is missing, or damaged
        raise UserError(
            f"{escape(path)} has no validation at step {steps}; remove {escape(run)} to train it again"
        ) from error


def _summarize_seeds(arm: str, seeds: Sequence[int], runs: Sequence[Metrics]) -> Results:
    """The mean of each metric; under `std` the standard deviations, under `runs` the metrics of each seed."""
    std = {name: _sample_std([run[name] for run in runs]) for name in METRICS}
    named = [
        {"seed": seed, "recipe_file": f"{arm}_{seed}/recipe.yaml", **run} for seed, run in zip(seeds, runs, strict=True)
    ]
    return {**average_metrics(runs), "std": std, "runs": named}


def _sample_std(values: Sequence[float | None]) -> float | None:
    """Sample standard deviation (n - 1); None for a single value, or if a value is missing or infinite."""
    known = [value for value in values if value is not None and isfinite(value)]
    return stdev(known) if len(known) == len(values) > 1 else None


def _compute_shares(floor: Results, recipe: Results, ceiling: Results | None) -> Results:
    """Share of the gap closed by the means and by each seed, and the standard deviation; None without a gap."""
    if ceiling is None:
        return {"share": None, "share_by_seed": None, "share_std": None}
    seeds = zip(floor["runs"], recipe["runs"], ceiling["runs"], strict=True)
    by_seed = [share(*(run[GAP_METRIC] for run in runs)) for runs in seeds]
    means = share(floor[GAP_METRIC], recipe[GAP_METRIC], ceiling[GAP_METRIC])
    return {"share": means, "share_by_seed": by_seed, "share_std": _sample_std(by_seed)}


def share(floor: float, recipe: float, ceiling: float) -> float | None:
    """(recipe − floor) / (ceiling − floor); None if the ceiling is not above the floor."""
    gap = ceiling - floor
    return (recipe - floor) / gap if gap > 0 and isfinite(gap) and isfinite(recipe) else None


def format_table(results: Results) -> str:
    """Format the results as a Markdown table with the rows of docs/results/details.md."""
    is_sr = results["scale"] > 1
    rows = {
        "floor": f"floor: head trained on {'bicubic pairs' if is_sr else 'clean images'}",
        "recipe": "**recipe**",
        "ceiling": "ceiling: head trained on true pairs",
    }
    unprocessed = _format_row("bicubic interpolation" if is_sr else "input", results.get("input") or results["bicubic"])
    lines = [
        f"# {results['recipe_name']}",
        "",
        f"{results['steps']} steps, {_format_seeds(results['seeds'])}. Metrics of the last step, not of the best.",
        "",
        f"| | {' | '.join(METRICS)} | {GAP_METRIC} by seed |",
        "|---" * (len(METRICS) + 2) + "|",
        unprocessed,
        *(_format_row(label, results[arm]) for arm, label in rows.items() if results[arm]),
        "",
        _format_share(results),
    ]
    return "\n".join(lines) + "\n"


def _format_row(label: str, arm: Results) -> str:
    std = arm.get("std", {})
    cells = (
        format_metric(name, arm[name]) + (f" ± {format_metric(name, std[name])}" if std.get(name) is not None else "")
        for name in METRICS
    )
    by_seed = ", ".join(format_metric(GAP_METRIC, run[GAP_METRIC]) for run in arm.get("runs", ()))
    return f"| {label} | {' | '.join(cells)} | {by_seed} |"


def format_metric(name: str, value: float) -> str:
    return f"{value:.{4 if 'ssim' in name else 2}f}"


def _format_seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _format_share(results: Results) -> str:
    """The sentence below the table."""
    if results["no_ceiling"]:
        return f"No supervised upper bound (ceiling), so no share: {results['no_ceiling']}."
    by_seed = ", ".join(map(format_percent, results["share_by_seed"]))
    by_seed += "" if results["share_std"] is None else f" (± {format_percent(results['share_std'])})"
    text = f"Share of the gap closed, by seed: {by_seed}; of the means: {format_percent(results['share'])}."
    has_no_gap = None in (results["share"], *results["share_by_seed"])
    return text + (" There is no gap if the ceiling is not above the floor." if has_no_gap else "")


def format_percent(share: float | None) -> str:
    return "no gap" if share is None else f"{100 * share:.0f} %"
