"""The summary at the end of a run: is the result better than doing nothing, and what comes next."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from unpairaug import __version__
from unpairaug.data.files import write_file
from unpairaug.files import read_json
from unpairaug.recipe import Recipe
from unpairaug.training.metrics_file import MetricsFile, read_metrics
from unpairaug.training.summary_reasons import list_reasons

SUMMARY = "summary.json"
PAIRED, UNPAIRED = "psnr_rgb", "psnr_rgb_translated"
"""The metric of the summary: on validation pairs, or on translated images where there are none."""
ERRORS = 2
"""Standard errors within which a difference counts as noise: 95 % for many images."""
LEAST = 0.01
"""Differences in dB below this count as none."""

Status = Literal["above", "within_noise", "below", "not_measured"]


@dataclass(frozen=True)
class Verdict:
    """A value beside its baseline."""

    value: float
    baseline: float
    difference: float
    """Of the two; above 0 is better."""
    standard_error: float | None
    """Of the difference, over the images; None where it is not known."""
    status: Status


@dataclass(frozen=True)
class Summary:
    """What `summary.json` holds."""

    steps: int
    status: Status
    """`below` where the head or, without pairs, the translator is worse than doing nothing."""
    metric: str
    baseline_name: str
    """`bicubic`, or `input` at scale 1."""
    head: Verdict | None
    """In dB; None where nothing was measured."""
    translator: Verdict | None
    """Distance in dB of translated and of plain sources to the real images; None where nothing was measured."""
    images: int | None
    """Validation pairs, where there are any."""
    best_step: int | None
    """The validated step with the highest metric, or without pairs with the best score."""
    best_value: float | None
    kept_step: int | None
    """The step in `best/`, chosen by the score without pairs; None where nothing was kept."""
    weights: Literal["best", "last"]
    """Which weights `restore`, `evaluate` and `export` take: those in `best/` or those of the last step."""
    weights_step: int
    files: dict[str, str]
    """Where everything is, relative to the run folder."""
    next_commands: list[str]
    reasons: list[str] = field(default_factory=list)
    """The likeliest reasons for a result that is not above its baseline, from the facts of the run."""

    @property
    def message(self) -> str:
        """The verdict in one sentence, without a full stop."""
        compared = "its input" if self.baseline_name == "input" else "bicubic interpolation"
        if self.status == "not_measured":
            return (
                "nothing tells whether the result is better than its input: there are no validation pairs, and no "
                "score without pairs (train.select_checkpoint)"
            )
        if self.status == "below" and (self.head is None or self.head.status != "below"):
            return "translated images differ more from the real ones than plain sources do: do not use this translator"
        assert self.head is not None
        if self.status == "within_noise" and self.head.status == "above":
            return (
                "translated images are not clearly closer to the real ones than plain sources are: the difference is "
                "within its uncertainty"
            )
        if self.status == "within_noise":
            return f"the result is no better than {compared}: the difference is within its uncertainty"
        if self.metric != PAIRED and self.status == "above":
            return (
                f"on real photographs the result is not measured, as there are no validation pairs; on its own "
                f"translated images it is {self.head.difference:.2f} dB above {compared}, which only shows that it has "
                f"learnt"
            )
        where = "" if self.metric == PAIRED else ", measured on translated images"
        difference = f"the result is {abs(self.head.difference):.2f} dB {self.status} {compared}{where}"
        return difference + (": do not use this model as it is" if self.status == "below" else "")

    def values(self) -> dict[str, Any]:
        """As written to `summary.json`: the head's verdict is at the top level."""
        values = asdict(self)
        head: dict[str, Any] = values.pop("head") or {}
        figures = {name: head.get(name) for name in ("value", "baseline", "difference", "standard_error")}
        return {"unpairaug": __version__, "message": self.message, **figures, **values}


def write_summary(folder: Path, recipe: Recipe, images: Mapping[str, int]) -> Summary:
    """Summarize a complete run and write `summary.json` into its folder.

    Args:
        folder: of the run.
        recipe: its lengths in steps.
        images: number of training images of each side.

    Raises:
        WriteError: the file cannot be written.
    """
    summary = summarize(folder, recipe, images)
    write_file(folder / SUMMARY, f"{json.dumps(summary.values(), indent=2)}\n".encode())
    return summary


def summarize(folder: Path, recipe: Recipe, images: Mapping[str, int]) -> Summary:
    """The summary of a complete run from what it has logged; arguments as those of `write_summary`."""
    found = read_metrics(folder / "metrics.jsonl")
    baseline = "input" if recipe.task.get("scale", 1) == 1 else "bicubic"
    steps = recipe.train.steps
    assert isinstance(steps, int), "resolve the recipe's epochs first"
    kept = folder / "best" / "selection.json"
    kept_step = read_json(kept).get("step") if kept.exists() else None
    is_paired = bool(found.steps("val"))
    chosen = _choose_step(found, steps, kept_step, is_paired)
    head = _paired_verdict(found, chosen, f"val_{baseline}") if is_paired else _unpaired_verdict(found, chosen, "head")
    translator = _unpaired_verdict(found, chosen, "translator")
    status = _overall_status(head, None if is_paired else translator)
    best = _best_step(found, is_paired)
    return Summary(
        steps=steps,
        status=status,
        metric=PAIRED if is_paired else UNPAIRED,
        baseline_name=baseline,
        head=head,
        translator=translator,
        images=len(found.baseline_images) or None,
        best_step=best,
        best_value=_value_at(found, best, is_paired),
        kept_step=kept_step,
        weights="last" if chosen == steps else "best",
        weights_step=chosen,
        files=_list_files(folder),
        next_commands=_next_commands(folder, status),
        reasons=[] if status in ("above", "not_measured") else list_reasons(found, folder / "log.txt", recipe, images),
    )


def _criterion(is_paired: bool) -> tuple[str, str, int]:
    """Split and name of the value that ranks the steps, and 1 where more is better, else -1."""
    return ("val", PAIRED, 1) if is_paired else ("selection", "score", -1)


def _choose_step(found: MetricsFile, last: int, kept: int | None, is_paired: bool) -> int:
    """The step whose weights the commands take: that of `best/` if it measured better than the last, else the last."""
    if kept is None or kept == last:
        return last
    split, name, sign = _criterion(is_paired)
    values = [found.value(split, step, name) for step in (kept, last)]
    is_better = None not in values and sign * (values[0] - values[1]) > 0  # type: ignore[operator]  # no None here
    return kept if is_better else last


def _best_step(found: MetricsFile, is_paired: bool) -> int | None:
    split, name, sign = _criterion(is_paired)
    values = {step: found.value(split, step, name) for step in found.steps(split) if step}
    known = {step: sign * value for step, value in values.items() if value is not None}
    return max(known, key=lambda step: (known[step], -step), default=None)


def _value_at(found: MetricsFile, step: int | None, is_paired: bool) -> float | None:
    split, name = ("val", PAIRED) if is_paired else ("unpaired", "head")
    return None if step is None else found.value(split, step, name)


def _paired_verdict(found: MetricsFile, step: int, baseline: str) -> Verdict | None:
    values = found.value("val", step, PAIRED), found.value(baseline, 0, PAIRED)
    error = found.value("gain", step, "standard_error")
    return None if None in values else _verdict(*values, error)  # type: ignore[arg-type]  # no None here


def _unpaired_verdict(found: MetricsFile, step: int, part: str) -> Verdict | None:
    """Of head or translator; None for one that was not measured, or a translator that changes nothing."""
    line = found.line("unpaired", step)
    if line is None or (part == "translator" and line["translator_gain"] == line["translator_gain_error"] == 0):
        return None
    difference, error = line[f"{part}_gain"], line[f"{part}_gain_error"]
    return _verdict(line[part], line[f"{part}_baseline"], error, difference)


def _verdict(value: float, baseline: float, error: float | None, difference: float | None = None) -> Verdict:
    difference = value - baseline if difference is None else difference
    error = error if error is not None and math.isfinite(error) else None
    margin = max(LEAST, ERRORS * (error or 0))
    is_noise = math.isnan(difference) or abs(difference) <= margin
    status: Status = "within_noise" if is_noise else "above" if difference > 0 else "below"
    return Verdict(value, baseline, difference, error, status)


def _overall_status(*verdicts: Verdict | None) -> Status:
    """The worst of the verdicts that there are."""
    found: list[Status] = [verdict.status for verdict in verdicts if verdict is not None]
    severity = ["above", "within_noise", "below"]
    return max(found, key=lambda status: severity.index(status)) if found else "not_measured"


def _list_files(folder: Path) -> dict[str, str]:
    names = ("head", "translator", "best", "samples", "checkpoints", "metrics.jsonl", "log.txt", "recipe.yaml")
    return {name.partition(".")[0]: name for name in names if (folder / name).exists()}


def _next_commands(folder: Path, status: Status) -> list[str]:
    name = shlex.quote(str(folder))
    then = f"unpairaug restore {name} PHOTOGRAPHS restored" if status == "above" else "unpairaug docs below-baseline"
    return [f"unpairaug report {name}", then]
