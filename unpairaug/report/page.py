"""Renders the HTML page of a run from its record."""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from unpairaug.data.files import write_file
from unpairaug.errors import UserError, escape
from unpairaug.evaluation.metrics import METRICS
from unpairaug.report.charts import Curve, Group, group_charts, input_level, summarize_guards
from unpairaug.report.pictures import load_sheets, restore_examples
from unpairaug.report.record import Record, read_record

SCRIPTS = ("vendor/uPlot.iife.min.js", "vendor/img-comparison-slider.js", "page.js")
STYLES = ("vendor/uPlot.min.css", "vendor/img-comparison-slider.css", "page.css")


class Row(NamedTuple):
    """A metric of the validation pairs, formatted."""

    metric: str
    level: str
    first: str
    best: str
    last: str
    gain: str
    """The last minus the level."""


def write_report(run: Path, out: Path | None = None, trust_code: bool = False) -> Path:
    """Write the page, by default into the run folder, and return its path.

    Args:
        trust_code: see `Task.from_pretrained`; without it, a head that is code of others restores no images.

    Raises:
        UserError: `run` is not a run folder, or `out` is a folder.
        WriteError: `out` cannot be written.
    """
    out = run / "report.html" if out is None else out
    if os.path.isdir(out):
        raise UserError(f"--out {escape(out)} is a folder; give a file name, such as {escape(out / 'report.html')}")
    text = render_page(read_record(run), trust_code)
    write_file(out, text.encode("utf-8", "backslashreplace"))
    return out


def render_page(record: Record, trust_code: bool = False) -> str:
    """Render the page as self-contained HTML; its content security policy forbids all network requests."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("unpairaug.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts, groups, verdicts = (
        [_read_resource(name) for name in SCRIPTS],
        group_charts(record),
        summarize_guards(record),
    )
    shown = {f"warning: {verdict.message}" for verdict in verdicts}
    result = describe_result(record)
    message = result.message if result else "\n"
    return environment.get_template("page.html").render(
        name=record.folder.resolve().name,
        record=record,
        headline=describe_run(record),
        state=describe_state(record),
        figures=key_figures(record),
        result=result,
        verdicts=verdicts,
        warnings=[w for w in record.warnings if w not in shown and not w.startswith(f"warning: {message}")],
        comparisons=restore_examples(record, trust_code),
        sheets=load_sheets(record),
        groups=groups,
        charts=[asdict(chart) for group in groups for chart in group.charts],
        summaries=_describe_charts(groups),
        rows=metric_rows(record),
        level=input_level(record)[0],
        environment=list(environment_rows(record)),
        policy=_content_security_policy(scripts),
        scripts=scripts,
        styles="\n".join(_read_resource(name) for name in STYLES),
    )


class Result(NamedTuple):
    """The verdict of the run's summary."""

    message: str
    reasons: list[str]
    is_warning: bool


def describe_result(record: Record) -> Result | None:
    """The verdict of a complete run; None without one."""
    message, reasons = record.summary.get("message"), record.summary.get("reasons")
    if not message:
        return None
    found = [str(reason) for reason in reasons] if isinstance(reasons, list) else []
    return Result(str(message), found, record.summary.get("status") != "above")


def describe_run(record: Record) -> str:
    """Task, head and translator in one line."""
    task, translator = record.section("task"), record.section("translator")
    if not task:
        return "Unknown recipe."
    head = task.get("head")
    head = head.get("type") if isinstance(head, dict) else head
    scale = f" ×{task['scale']}" if task.get("scale") else ""
    name = translator.get("type") or (f"from {translator['from']}" if translator.get("from") else "none")
    return f"Task {task.get('type')}{scale}" + (f", head {head}" if head else "") + f", translator {name}"


def describe_state(record: Record) -> str:
    """Whether the run is complete, and its last step."""
    last, planned = record.last_step, record.section("train").get("steps")
    if last is None:
        return "The log has no metrics yet."
    if record.is_done or last == planned:
        return f"Completed {last} of {last} steps."
    checkpoint = f"The last checkpoint is {record.checkpoints[-1]}." if record.checkpoints else "No checkpoint."
    return f"Incomplete: the log ends at step {last} of {planned or 'an unknown number'}. {checkpoint}"


def key_figures(record: Record) -> list[tuple[str, str, str]]:
    """The most important numbers: (name, value, comparison or context)."""
    level = "the input" if input_level(record)[0] == "input" else "bicubic"
    found = [
        (row.metric, row.last, f"{row.gain} against {level}" if row.gain else "") for row in metric_rows(record)[:2]
    ]
    train = record.of("train")
    speed = train[-1].values.get("steps_per_second") if train else None
    steps, planned = record.last_step, record.section("train").get("steps")
    found.append(("steps", "none" if steps is None else str(steps), f"of {planned}" if planned else ""))
    if record.seconds is not None:
        took = str(timedelta(seconds=round(record.seconds)))
        found.append(("time", took, f"{speed:.3g} steps/s" if speed is not None else ""))
    return found


def metric_rows(record: Record) -> list[Row]:
    """The metrics of the validation pairs: of the input or bicubic, first, best and last."""
    _, levels = input_level(record)
    lines = record.of("val")
    names = sorted(
        {name: None for line in lines for name in line.values},
        key=lambda name: METRICS.index(name) if name in METRICS else len(METRICS),
    )
    return [
        _metric_row(name, [line.values[name] for line in lines if name in line.values], levels.get(name))
        for name in names
    ]


def _metric_row(name: str, values: list[float], level: float | None) -> Row:
    digits = 4 if "ssim" in name else 2
    best = max(values, key=lambda value: -math.inf if math.isnan(value) else value)
    gain = "" if level is None else _format_difference(values[-1] - level, digits)
    shown_level = "not measured" if level is None else format_number(level, digits)
    first, highest, last = (format_number(value, digits) for value in (values[0], best, values[-1]))
    return Row(name, shown_level, first, highest, last, gain)


def environment_rows(record: Record) -> Iterable[tuple[str, str]]:
    """(name, value) of seed, machine, versions and checkpoints, as far as the run recorded them."""
    train = record.section("train")
    if "seed" in train:
        yield "seed", str(train["seed"])
    for name, value in record.environment.items():
        if isinstance(value, dict):
            yield from ((str(key), str(one)) for key, one in value.items())
        else:
            yield name.replace("_", " "), str(value)
    if record.checkpoints:
        yield "checkpoints", ", ".join(record.checkpoints)


def format_number(value: float | None, digits: int | None = None) -> str:
    """Format a number with so many decimals, by default four significant digits."""
    if value is None or math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.4g}" if digits is None else f"{value:.{digits}f}"
    return text.replace("-", "−")


def _format_difference(difference: float, digits: int) -> str:
    """Format a difference with its sign; no sign if it rounds to zero."""
    rounded = format_number(difference, digits)
    return rounded.lstrip("−") if not rounded.strip("−0.") else "+" * (difference > 0) + rounded


def _describe_charts(groups: list[Group]) -> list[str]:
    """Text alternative of each chart."""
    return ["; ".join(_describe_curve(curve) for curve in chart.curves) for group in groups for chart in group.charts]


def _describe_curve(curve: Curve) -> str:
    finite = [value for value in curve.values if value is not None]
    if not finite:
        return f"{curve.name} has no finite value"
    return (
        f"{curve.name} {format_number(curve.last)} at step {curve.steps[-1]}, "
        f"between {format_number(min(finite))} and {format_number(max(finite))}"
    )


def _read_resource(name: str) -> str:
    return resources.files("unpairaug.report").joinpath(name).read_text(encoding="utf-8")


def _content_security_policy(scripts: list[str]) -> str:
    """The content security policy: only these scripts run, and no request is allowed."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"
