"""The curves of a run: which numbers of its log stand in one chart, and beyond which line a guard warns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from unpairaug.report.record import Logged, Record
from unpairaug.training.guards import Collapse, ColourDrift, Guard, Leak, Saturation

MOST_POINTS = 600
"""Points of a curve: a screen shows no more, and a long run's page would grow with its log."""

COURSE = ("lr_", "feedback", "steps_per_second")
"""What a line of losses says beside them, by how the names begin."""


@dataclass(frozen=True)
class Curve:
    """One number over the steps of a run."""

    name: str
    steps: list[int]
    values: list[float | None]
    """None where the number was not finite: no chart has a place for it."""
    is_reference: bool = False
    """Drawn dashed: it is what the others are compared with."""

    @property
    def last(self) -> float | None:
        return self.values[-1] if self.values else None


@dataclass(frozen=True)
class Chart:
    """Curves that share an axis."""

    title: str
    curves: list[Curve]
    limits: dict[str, float] = field(default_factory=dict)
    """Level lines by what they mean."""
    note: str = ""


@dataclass(frozen=True)
class Group:
    """Charts under one heading."""

    heading: str
    lead: str
    charts: list[Chart]


@dataclass(frozen=True)
class Watch:
    """How a guard's numbers are shown."""

    guard: type[Guard]
    name: str
    """How its warnings begin."""
    charts: dict[str, tuple[tuple[str, ...], dict[str, float]]]
    """Title -> names of the numbers, and the lines beyond which the guard warns."""


_DRIFT = {f"warning above {ColourDrift.TOLERANCE:g}": ColourDrift.TOLERANCE}
_COLOURS = ("red", "green", "blue")
WATCHES = [
    Watch(
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
    Watch(Collapse, "collapse", {"diversity": (("diversity",), {f"warning below {Collapse.LEAST:g}": Collapse.LEAST})}),
    Watch(
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
    Watch(
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
    """What a guard had to say of a run."""

    name: str
    question: str
    state: str
    """`warned`, `OK`, or `not measured`."""
    said: str


def groups_of(record: Record) -> list[Group]:
    """Every number of `metrics.jsonl` as a curve, in charts under headings; headings without a chart are left out."""
    train = curves_of(record.of("train"))
    course = [curve for curve in train if curve.name.startswith(COURSE)]
    losses = [curve for curve in train if not curve.name.startswith(COURSE)]
    known = {"train", "val", "val_bicubic", "choice", "guards"}
    others = [c for split in record.splits() if split not in known for c in curves_of(record.of(split))]
    groups = [
        Group("Validation", "The averaged head on the validation pairs.", validation_charts(record)),
        Group(
            "Choice",
            "The score on unpaired training images by which the step in best/ is chosen, and its terms, in dB; smaller "
            "is better.",
            [Chart(curve.name, [curve]) for curve in curves_of(record.of("choice"))],
        ),
        Group(
            "Losses",
            "Each term as it is weighted, the mean since the line before. task_… teach the head, d_… the "
            "discriminators, the others the translator.",
            [Chart(curve.name, [curve]) for curve in losses],
        ),
        Group(
            "Guards",
            "What goes wrong without an error, measured on the samples of the picture sheets; 255 steps from black to "
            "white.",
            guard_charts(record),
        ),
        Group("Course", "Learning rates, feedback and speed.", course_charts([*course, *others])),
    ]
    return [group for group in groups if group.charts]


def curves_of(lines: Iterable[Logged]) -> list[Curve]:
    """A curve for each number; of two lines of one step the later counts."""
    points: dict[str, dict[int, float]] = {}
    for line in lines:
        for name, value in line.values.items():
            points.setdefault(name, {})[line.step] = value
    return [_curve(name, found) for name, found in points.items()]


def _curve(name: str, points: dict[int, float]) -> Curve:
    ordered = sorted(points.items())
    every = math.ceil(len(ordered) / MOST_POINTS)
    kept = ordered[::-1][::every][::-1] if every > 1 else ordered  # from the end, so that the last is among them
    return Curve(name, [step for step, _ in kept], [v if math.isfinite(v) else None for _, v in kept])


def validation_charts(record: Record) -> list[Chart]:
    """A chart for each metric, with the level that plain enlargement reaches."""
    bicubic = {name: value for line in record.of("val_bicubic") for name, value in line.values.items()}
    return [
        Chart(
            curve.name,
            [curve],
            {"bicubic": level} if math.isfinite(level := bicubic.get(curve.name, math.nan)) else {},
        )
        for curve in curves_of(record.of("val"))
    ]


def guard_charts(record: Record) -> list[Chart]:
    found = {curve.name: curve for curve in curves_of(record.of("guards"))}
    charts = []
    for watch in WATCHES:
        for title, (names, limits) in watch.charts.items():
            if curves := [_referenced(found.pop(name)) for name in names if name in found]:
                charts.append(Chart(title, curves, limits))
    return charts + [Chart(name, [curve]) for name, curve in found.items()]


def _referenced(curve: Curve) -> Curve:
    """The same, dashed where it is of the real images that the fakes are held against."""
    return Curve(curve.name, curve.steps, curve.values, curve.name.startswith("real_"))


def course_charts(curves: list[Curve]) -> list[Chart]:
    rates = [curve for curve in curves if curve.name.startswith("lr_")]
    charts = [Chart(curve.name, [curve]) for curve in curves if curve not in rates]
    return ([Chart("learning rates", rates)] if rates else []) + charts


def verdicts_of(record: Record) -> list[Verdict]:
    """A verdict for each guard, from what the log says and the last measurement."""
    checks = record.of("guards")
    last = {name: value for line in checks for name, value in line.values.items()}
    verdicts = []
    for watch in WATCHES:
        question = (watch.guard.__doc__ or "").partition("?")[0].replace("\n", " ") + "?"
        said = [text for text in record.warnings if text.startswith(f"warning: {watch.name}:")]
        judged = [name for names, limits in watch.charts.values() if limits for name in names]
        numbers = [f"{name} {last[name]:.3g}" for name in judged if name in last]
        if said:
            verdicts.append(Verdict(watch.name, question, "warned", said[-1].removeprefix("warning: ")))
        elif numbers:
            plural = "check" if len(checks) == 1 else "checks"
            verdicts.append(Verdict(watch.name, question, "OK", f"{len(checks)} {plural}, latest {', '.join(numbers)}"))
        else:
            verdicts.append(Verdict(watch.name, question, "not measured", "nothing was measured"))
    return verdicts
