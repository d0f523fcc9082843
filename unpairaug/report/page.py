"""The page itself: what was read of a run, put into the template."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from unpairaug.data.images import write_file
from unpairaug.errors import UserError, escape
from unpairaug.evaluation.metrics import METRICS
from unpairaug.report.charts import Curve, Group, groups_of, verdicts_of
from unpairaug.report.pictures import comparisons_of, sheets_of
from unpairaug.report.record import Record, read_record

SCRIPTS = ("vendor/uPlot.iife.min.js", "vendor/img-comparison-slider.js", "page.js")
STYLES = ("vendor/uPlot.min.css", "vendor/img-comparison-slider.css", "page.css")


class Row(NamedTuple):
    """A metric of the validation pairs, as text."""

    metric: str
    bicubic: str
    first: str
    best: str
    last: str
    gain: str
    """The last less bicubic."""


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the page, by default into the run folder, and return its path.

    Raises:
        UserError: `run` is no run folder, or `out` cannot be written.
    """
    out = run / "report.html" if out is None else out
    if out.is_dir():
        raise UserError(
            f"--out {escape(out)} is a folder; give the name of a file, such as {escape(out / 'report.html')}"
        )
    text = page_of(read_record(run))
    try:
        write_file(out, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UserError(f"{escape(out)} cannot be written ({error.strerror}); give another --out") from error
    return out


def page_of(record: Record) -> str:
    """The page as HTML; it carries all that it shows, and its policy forbids a browser to fetch anything."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("unpairaug.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts, groups, verdicts = [_file(name) for name in SCRIPTS], groups_of(record), verdicts_of(record)
    told = {f"warning: {verdict.said}" for verdict in verdicts}
    return environment.get_template("page.html").render(
        name=record.folder.resolve().name,
        record=record,
        headline=headline(record),
        state=state(record),
        figures=figures(record),
        verdicts=verdicts,
        warnings=[warning for warning in record.warnings if warning not in told],
        comparisons=comparisons_of(record),
        sheets=sheets_of(record),
        groups=groups,
        charts=[asdict(chart) for group in groups for chart in group.charts],
        summaries=_summaries(groups),
        rows=rows(record),
        environment=list(facts(record)),
        policy=_policy(scripts),
        scripts=scripts,
        styles="\n".join(_file(name) for name in STYLES),
    )


def headline(record: Record) -> str:
    """What was trained, in a line."""
    task, translator = record.section("task"), record.section("translator")
    if not task:
        return "The recipe is not known."
    head = task.get("head")
    head = head.get("type") if isinstance(head, dict) else head
    scale = f" ×{task['scale']}" if task.get("scale") else ""
    learnt = translator.get("type") or (f"the one of {translator['from']}" if translator.get("from") else "none")
    return f"Task {task.get('type')}{scale}" + (f", head {head}" if head else "") + f", translator {learnt}"


def state(record: Record) -> str:
    """Whether the run has ended, and how far it came."""
    last, planned = record.last_step, record.section("train").get("steps")
    if last is None:
        return "Nothing has been logged."
    if record.is_done or last == planned:
        return f"Finished: all its {last} steps are taken."
    left = f"The last checkpoint is {record.checkpoints[-1]}." if record.checkpoints else "There is no checkpoint."
    return f"Not finished: the log ends at step {last} of {planned or 'an unknown number'}. {left}"


def figures(record: Record) -> list[tuple[str, str, str]]:
    """What matters most: name, figure, and what it stands beside."""
    found = [(row.metric, row.last, f"{row.gain} against bicubic" if row.gain else "") for row in rows(record)[:2]]
    train = record.of("train")
    speed = train[-1].values.get("steps_per_second") if train else None
    steps, planned = record.last_step, record.section("train").get("steps")
    found.append(("steps", "none" if steps is None else str(steps), f"of {planned}" if planned else ""))
    if record.seconds is not None:
        took = str(timedelta(seconds=round(record.seconds)))
        found.append(("time", took, f"{speed:.3g} steps a second" if speed is not None else ""))
    return found


def rows(record: Record) -> list[Row]:
    """The metrics of the validation pairs: bicubic, at first, at best and at last."""
    bicubic = {name: value for line in record.of("val_bicubic") for name, value in line.values.items()}
    lines = record.of("val")
    names = sorted(
        {name: None for line in lines for name in line.values},
        key=lambda name: METRICS.index(name) if name in METRICS else len(METRICS),
    )
    return [
        _row(name, [line.values[name] for line in lines if name in line.values], bicubic.get(name)) for name in names
    ]


def _row(name: str, values: list[float], bicubic: float | None) -> Row:
    digits = 4 if "ssim" in name else 2
    best = max(values, key=lambda value: -math.inf if math.isnan(value) else value)
    gain = "" if bicubic is None else _signed(values[-1] - bicubic, digits)
    level = "not measured" if bicubic is None else number(bicubic, digits)
    first, highest, last = (number(value, digits) for value in (values[0], best, values[-1]))
    return Row(name, level, first, highest, last, gain)


def facts(record: Record) -> Iterable[tuple[str, str]]:
    """Seed, machine and versions, whatever the run has recorded."""
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


def number(value: float | None, digits: int | None = None) -> str:
    """A number for people: so many decimals, or four digits that count."""
    if value is None or math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.4g}" if digits is None else f"{value:.{digits}f}"
    return text.replace("-", "−")


def _signed(difference: float, digits: int) -> str:
    """A difference with its sign; none where it rounds to nothing."""
    rounded = number(difference, digits)
    return rounded.lstrip("−") if not rounded.strip("−0.") else "+" * (difference > 0) + rounded


def _summaries(groups: list[Group]) -> list[str]:
    """What a chart shows, in words, for who cannot see it."""
    return ["; ".join(_summary(curve) for curve in chart.curves) for group in groups for chart in group.charts]


def _summary(curve: Curve) -> str:
    finite = [value for value in curve.values if value is not None]
    if not finite:
        return f"{curve.name} has no finite value"
    return (
        f"{curve.name} {number(curve.last)} at step {curve.steps[-1]}, "
        f"between {number(min(finite))} and {number(max(finite))}"
    )


def _file(name: str) -> str:
    return resources.files("unpairaug.report").joinpath(name).read_text(encoding="utf-8")


def _policy(scripts: list[str]) -> str:
    """The content security policy: these scripts alone run, and nothing is fetched."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"
