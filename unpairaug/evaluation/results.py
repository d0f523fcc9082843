"""Results of an evaluation as text, JSON and Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unpairaug.data.files import write_file
from unpairaug.errors import escape

Results = dict[str, Any]
"""The mean of each metric by its name; `model`, `scale`, `border`, `count`; and `images`: stem -> metrics. Where images
could not be measured, `failed` has a message for each."""

MIN_WIDTH = 6
"""Minimum column width in characters: the heading `lpips` is shorter than its values."""


def format_table(results: Results, with_shift: bool = True) -> str:
    """Format the results as aligned text: a line for each image, the means, and the settings.

    Args:
        results: of an evaluation.
        with_shift: whether `psnr_rgb_shift10` has a column.
    """
    rows, metrics = _table_rows(results)
    metrics = [metric for metric in metrics if with_shift or "shift" not in metric]
    width = max(len(name) for name, _ in rows)
    lines = ["  ".join(["image".ljust(width), *(metric.rjust(MIN_WIDTH) for metric in metrics)])]
    for name, values in rows:
        cells = (_format_value(metric, values[metric]).rjust(max(len(metric), MIN_WIDTH)) for metric in metrics)
        lines.append("  ".join([name.ljust(width), *cells]))
    return "\n".join([*lines, _format_footer(results)])


def write_markdown(results: Results, path: Path) -> None:
    """Write the results as a Markdown table; the last row has the means.

    Raises:
        WriteError: the file cannot be written.
    """
    rows, metrics = _table_rows(results)
    lines = ["| " + " | ".join(["image", *metrics]) + " |", "|---" + "|---:" * len(metrics) + "|"]
    for name, values in rows:
        cells = [re.sub(r"([\\|`*_<&])", r"\\\1", name), *(_format_value(metric, values[metric]) for metric in metrics)]
        lines.append("| " + " | ".join(cells) + " |")
    write_file(path, ("\n".join([*lines, "", _format_footer(results)]) + "\n").encode("utf-8", "backslashreplace"))


def write_json(results: Mapping[str, Any], path: Path) -> None:
    """Write the results as JSON, see `format_json`.

    Raises:
        WriteError: the file cannot be written.
    """
    write_file(path, f"{format_json(results)}\n".encode("utf-8", "backslashreplace"))


def format_json(results: Mapping[str, Any]) -> str:
    """The results as JSON; infinity (the PSNR of equal images) becomes 1e999, which parsers read as infinity."""
    text = json.dumps(results, indent=2, ensure_ascii=False)
    # Python's `Infinity` is not valid JSON. Only a bare value can end a line like this.
    return re.sub(r": Infinity(,?)$", r": 1e999\1", text, flags=re.MULTILINE)


def describe_failed(results: Results) -> str:
    """A message that names the images without metrics; empty if there are none."""
    failed: list[str] = results.get("failed", [])
    if not failed:
        return ""
    count = results["count"]
    return f"{len(failed)} of {count + len(failed)} images not measured; the means are those of the other {count}:"


def _table_rows(results: Results) -> tuple[list[tuple[str, dict[str, float]]], list[str]]:
    """(name, metrics) of each image and of the mean, and the names of the metrics in order."""
    images: dict[str, dict[str, float]] = results["images"]
    rows = [(escape(name), metrics) for name, metrics in images.items()]
    return [*rows, ("mean", results)], list(next(iter(images.values())))


def _format_value(metric: str, value: float) -> str:
    return f"{value:.{2 if 'psnr' in metric else 4}f}"


def _format_footer(results: Results) -> str:
    count = f"{results['count']} image{'' if results['count'] == 1 else 's'}"
    return f"{escape(results['model'])}: scale {results['scale']}, border {results['border']} px, {count}"
