"""The summary of a run as text for the terminal and the log."""

from __future__ import annotations

from pathlib import Path

from unpairaug.errors import escape
from unpairaug.training.summary import ERRORS, PAIRED, Summary, Verdict

WIDTH = 12
SURE_PAIRS = 5
"""Validation pairs below which their spread says little about other photographs."""


def format_summary(summary: Summary, folder: Path) -> str:
    """The summary in rows: result, baseline, difference, best step, places, and the next two commands."""
    rows = [*_head_rows(summary), *_translator_rows(summary), *_step_rows(summary)]
    kept = ", ".join(name if "." in name else f"{name}/" for name in summary.files.values())
    rows += [("files", f"{escape(folder)}: {kept}")]
    rows += [(name, command) for name, command in zip(("next", ""), summary.next_commands, strict=True)]
    return "\n".join([f"summary of {summary.steps} steps", *(f"  {name:<{WIDTH}}  {text}" for name, text in rows)])


def format_warning(summary: Summary) -> str | None:
    """The warning of a result that is not above its baseline; None for one that is."""
    if summary.status == "above":
        return None
    if not summary.reasons:
        return f"warning: {summary.message}"
    reasons = [f"  - {reason}" for reason in summary.reasons]
    advice = "  What to do: unpairaug docs below-baseline"
    return "\n".join([f"warning: {summary.message}. Likeliest reasons:", *reasons, advice])


def _head_rows(summary: Summary) -> list[tuple[str, str]]:
    head, name = summary.head, summary.baseline_name
    if head is None:
        return [("result", "not measured")]
    weights = "best/" if summary.weights == "best" else "head/"
    result = f"{head.value:.2f} dB at step {summary.weights_step} ({weights})"
    baseline, difference = (name, f"{head.baseline:.2f} dB"), _format_difference(head, name)
    if summary.metric == PAIRED:
        over = f"{summary.images} validation pairs" if summary.images else "the validation pairs"
        over += ", too few for a sure verdict" if summary.images and summary.images < SURE_PAIRS else ""
        return [(summary.metric, f"{result}, on {over}"), baseline, ("difference", difference)]
    learnt = ", which only shows that the head has learnt" if head.status == "above" else ""
    return [
        ("real images", "NOT MEASURED: look at samples/, or give five pairs (unpairaug docs validation-pairs)"),
        ("translated", f"{result}; {difference}{learnt}"),
    ]


def _translator_rows(summary: Summary) -> list[tuple[str, str]]:
    found = summary.translator
    if found is None:
        return []
    error = "" if found.standard_error is None else f" ± {ERRORS * found.standard_error:.2f}"
    distances = f"{found.value:.2f} dB from the real images, plain sources {found.baseline:.2f} dB"
    return [("translator", f"{distances}; gain {found.difference:+.2f}{error} dB (power spectra, without pairs)")]


def _step_rows(summary: Summary) -> list[tuple[str, str]]:
    if summary.best_step is None:
        return []
    value = "" if summary.best_value is None else f", {summary.best_value:.2f} dB"
    kept = "" if summary.best_step == summary.weights_step else "not kept, "
    if kept and summary.kept_step not in (None, summary.weights_step):
        kept += f"best/ is step {summary.kept_step} (score without pairs), "
    taken = f"restore, evaluate and export take step {summary.weights_step}"
    return [("best score", f"step {summary.best_step}{value}; {kept}{taken}")]


def _format_difference(verdict: Verdict, name: str) -> str:
    error = verdict.standard_error
    spread = " (uncertainty unknown)" if error is None else f" ± {ERRORS * error:.2f}"
    said = {"above": f"above {name}", "below": f"BELOW {name}", "within_noise": f"within noise of {name}"}
    return f"{round(verdict.difference, 2) + 0.0:+.2f}{spread} dB: {said[verdict.status]}"
