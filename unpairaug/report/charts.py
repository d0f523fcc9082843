"""The charts of a run: how logged numbers are grouped, and the thresholds of the guards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from unpairaug.report.record import LogLine, Record
from unpairaug.training.guard_kinds import Collapse, ColourDrift, Guard, Leak, Saturation
from unpairaug.training.guards import PATIENCE

MAX_POINTS = 600
"""Largest number of points of a curve; more would not be visible and would enlarge the page."""

PROGRESS = ("lr_", "feedback", "gradient_norm_", "dead_", "steps_per_second")
"""Prefixes of the numbers in split `train` that are not losses."""


@dataclass(frozen=True)
class Curve:
    """One number over the steps of a run."""

    name: str
    steps: list[int]
    values: list[float | None]
    """None where the number was not finite; charts leave a gap there."""
    is_reference: bool = False
    """Drawn dashed, as a reference for the other curves."""

    @property
    def last(self) -> float | None:
        return self.values[-1] if self.values else None


@dataclass(frozen=True)
class Chart:
    """Curves that share an axis."""

    title: str
    curves: list[Curve]
    limits: dict[str, float] = field(default_factory=dict)
    """Horizontal lines: label -> value."""
    note: str = ""


@dataclass(frozen=True)
class Group:
    """Charts under one heading."""

    heading: str
    lead: str
    charts: list[Chart]


@dataclass(frozen=True)
class GuardView:
    """The charts of a guard."""

    guard: type[Guard]
    name: str
    """Prefix of its warnings in the log."""
    charts: dict[str, tuple[tuple[str, ...], dict[str, float]]]
    """Title -> (names of the numbers, thresholds of the guard)."""


_DRIFT = {f"warning above {ColourDrift.TOLERANCE:g}": ColourDrift.TOLERANCE}
_COLOURS = ("red", "green", "blue")
GUARD_VIEWS = [
    GuardView(
        ColourDrift,
        "colour drift",
        {
            "colour_drift": (("colour_drift",), _DRIFT),
            "colours against the sources": (
                (*(f"colour_{c}" for c in _COLOURS), *(f"real_colour_{c}" for c in _COLOURS)),
                {},
            ),
        },
    ),
    GuardView(
        Collapse, "collapse", {"diversity": (("diversity",), {f"warning below {Collapse.LEAST:g}": Collapse.LEAST})}
    ),
    GuardView(
        Saturation,
        "discriminator saturation",
        {
            "discriminator_auc": (
                ("discriminator_auc",),
                {f"warning above {Saturation.MAX_AUC:g}": Saturation.MAX_AUC},
            ),
            "realness": (("realness_real", "realness_fake"), {}),
            "realness_spread": (
                ("realness_spread",),
                {f"warning below {Saturation.MIN_SPREAD:g}": Saturation.MIN_SPREAD},
            ),
        },
    ),
    GuardView(
        Leak,
        "leak",
        {
            "leak_gain": (("leak_gain",), {f"warning above {Leak.MAX_GAIN:g}, with leak_error_ratio": Leak.MAX_GAIN}),
            "leak_error_ratio": (
                ("leak_error_ratio",),
                {f"warning above {Leak.MAX_ERROR_RATIO:g}, with leak_gain": Leak.MAX_ERROR_RATIO},
            ),
        },
    ),
]


@dataclass(frozen=True)
class Verdict:
    """Result of a guard over a run."""

    name: str
    question: str
    state: str
    """`warned`, `doubtful`, `OK`, or `not measured`."""
    message: str


def group_charts(record: Record) -> list[Group]:
    """Group every number of `metrics.jsonl` into charts under headings; omit empty headings."""
    train = extract_curves(record.of("train"))
    progress = [curve for curve in train if curve.name.startswith(PROGRESS)]
    losses = [curve for curve in train if not curve.name.startswith(PROGRESS)]
    known = {"train", "val", "val_bicubic", "val_input", "gain", "selection", "choice", "unpaired", "guards"}
    others = [c for split in record.splits() if split not in known for c in extract_curves(record.of(split))]
    groups = [
        Group("Validation", "The averaged head on the validation pairs.", validation_charts(record)),
        Group(
            "Checkpoint selection",
            "The score on unpaired training images that selects the step in best/, and its terms, in dB; smaller is "
            "better.",
            [Chart(curve.name, [curve]) for curve in extract_curves(record.of("selection", "choice"))],
        ),
        Group(
            "Gain without pairs",
            "On unpaired training images: PSNR of the head and of its baseline on translated images, and distance in "
            "dB of translated and of plain sources to the real images.",
            [Chart(curve.name, [curve]) for curve in extract_curves(record.of("unpaired"))],
        ),
        Group(
            "Losses",
            "Weighted loss terms, averaged since the previous line. task_… train the head, d_… the discriminators, the "
            "others the translator.",
            [Chart(curve.name, [curve]) for curve in losses],
        ),
        Group(
            "Guards",
            "Symptoms of training failures that raise no error, measured on the samples of the picture sheets. "
            "Colours are in 8-bit steps.",
            guard_charts(record),
        ),
        Group("Training progress", "Learning rates, feedback and speed.", progress_charts([*progress, *others])),
    ]
    return [group for group in groups if group.charts]


def extract_curves(lines: Iterable[LogLine]) -> list[Curve]:
    """One curve for each number; the later of two lines of the same step counts."""
    points: dict[str, dict[int, float]] = {}
    for line in lines:
        for name, value in line.values.items():
            points.setdefault(name, {})[line.step] = value
    return [_make_curve(name, found) for name, found in points.items()]


def _make_curve(name: str, points: dict[int, float]) -> Curve:
    ordered = sorted(points.items())
    every = math.ceil(len(ordered) / MAX_POINTS)
    kept = ordered[::-1][::every][::-1] if every > 1 else ordered  # counted from the end, to keep the last point
    return Curve(name, [step for step, _ in kept], [v if math.isfinite(v) else None for _, v in kept])


def validation_charts(record: Record) -> list[Chart]:
    """A chart for each metric, with the level of the input itself (scale 1) or of its bicubic enlargement."""
    name_of_level, levels = input_level(record)
    gain = [Curve("gain", c.steps, c.values) for c in extract_curves(record.of("gain")) if c.name == "psnr_rgb"]
    charts = [Chart(f"psnr_rgb above {name_of_level}", gain, {name_of_level: 0.0})] if gain else []
    return charts + [
        Chart(
            curve.name,
            [curve],
            {name_of_level: level} if math.isfinite(level := levels.get(curve.name, math.nan)) else {},
        )
        for curve in extract_curves(record.of("val"))
    ]


def input_level(record: Record) -> tuple[str, dict[str, float]]:
    """What the head is compared with, `input` or `bicubic`, and its metrics."""
    name = "input" if record.of("val_input") else "bicubic"
    return name, {key: value for line in record.of(f"val_{name}") for key, value in line.values.items()}


def guard_charts(record: Record) -> list[Chart]:
    found = {curve.name: curve for curve in extract_curves(record.of("guards"))}
    charts = []
    for watch in GUARD_VIEWS:
        for title, (names, limits) in watch.charts.items():
            if curves := [_mark_reference(found.pop(name)) for name in names if name in found]:
                charts.append(Chart(title, curves, limits))
    return charts + [Chart(name, [curve]) for name, curve in found.items()]


def _mark_reference(curve: Curve) -> Curve:
    """Mark curves of the real images as references."""
    return Curve(curve.name, curve.steps, curve.values, curve.name.startswith("real_"))


def progress_charts(curves: list[Curve]) -> list[Chart]:
    rates = [curve for curve in curves if curve.name.startswith("lr_")]
    charts = [Chart(curve.name, [curve]) for curve in curves if curve not in rates]
    return ([Chart("learning rates", rates)] if rates else []) + charts


def summarize_guards(record: Record) -> list[Verdict]:
    """The result of each guard, from the warnings in the log and the measurements.

    A guard that found a fault in its last check, but not often enough in a row to warn, is doubtful.
    """
    checks = record.of("guards")
    last = {name: value for line in checks for name, value in line.values.items()}
    verdicts = []
    for watch in GUARD_VIEWS:
        question = (watch.guard.__doc__ or "").partition("?")[0].replace("\n", " ") + "?"
        message = [text for text in record.warnings if text.startswith(f"warning: {watch.name}:")]
        judged = [name for names, limits in watch.charts.values() if limits for name in names]
        numbers = [f"{name} {last[name]:.5g}" for name in judged if name in last]
        if message:
            verdicts.append(Verdict(watch.name, question, "warned", message[-1].removeprefix("warning: ")))
        elif numbers:
            verdicts.append(Verdict(watch.name, question, *_judge(watch, checks, ", ".join(numbers))))
        else:
            verdicts.append(Verdict(watch.name, question, "not measured", "nothing was measured"))
    return verdicts


def _judge(watch: GuardView, checks: Sequence[LogLine], latest: str) -> tuple[str, str]:
    """State and message of a guard that has not warned."""
    names = {name for names, _ in watch.charts.values() for name in names}
    own = [line.values for line in checks if names <= line.values.keys()]
    guard = watch.guard()
    if isinstance(guard, Collapse):
        guard.largest = max((values["diversity"] for values in own), default=0.0)
    bad = [guard.find_fault(values) is not None for values in own]
    count = f"{len(own)} check{'s' * (len(own) != 1)}, latest {latest}"
    if not bad or not bad[-1]:
        return "OK", count
    return "doubtful", f"a fault in {sum(bad)} of {count}; a warning needs {PATIENCE} in a row"
