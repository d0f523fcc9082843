"""The sections of a recipe: every key with its type, bounds, default and meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import inf
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from unpairaug.registry.options import Number, Section, Text, TrueOrFalse, Whole, format_value
from unpairaug.registry.registry import losses
from unpairaug.registry.terms import Terms

MAX_LENGTH = 10**9
"""Steps, epochs or percent; what is longer is a mistake, and does not end."""


def _parse_length(value: Any) -> int | str:
    words = (
        re.fullmatch(r"\s*([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(step|epoch|%)s?\s*", value)
        if isinstance(value, str)
        else None
    )
    amount = float(words[1]) if words else value
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise ValueError(f"given {format_value(value)}, should be a number of steps, '200 epochs', or '30%' of the run")
    if amount > MAX_LENGTH:
        raise ValueError(f"given {format_value(value)}, should be at most {MAX_LENGTH}")
    if words and words[2] == "%" and amount:
        return f"{words[1]}%"
    if words and words[2] == "epoch" and amount:
        return f"{words[1]} epochs"
    if amount < 0 or not float(amount).is_integer():
        raise ValueError(f"given {format_value(value)}, should be a whole number of steps, 0 or more")
    return int(amount)


def _parse_range(value: Any) -> float | tuple[float, float]:
    ends = [value, value] if isinstance(value, (int, float)) else value
    is_range = isinstance(ends, (list, tuple)) and len(ends) == 2
    if not is_range or not all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends):
        raise ValueError(f"given {format_value(value)}, should be a number, or two as in [0.5, 1.0]")
    if not 0 <= ends[0] <= ends[1] <= MAX_LENGTH:
        raise ValueError(f"given {format_value(value)}, should be 0 or more, the lower end first")
    return (float(ends[0]), float(ends[1])) if isinstance(value, (list, tuple)) else float(value)


def _parse_strength(value: Any) -> Any:
    if value == "measured":
        return value
    strength = _parse_range(value)
    if max(strength if isinstance(strength, tuple) else (strength,)) > 1:
        raise ValueError(f"given {format_value(value)}, should be within [0, 1]")
    return strength


def _parse_sources(value: Any) -> Any:
    if not isinstance(value, (str, dict)):
        raise ValueError(f"given {format_value(value)}, should be text; put it in quotes; or {{source: weight, …}}")
    weights: dict[Any, Any] = value if isinstance(value, dict) else {value: 1.0}
    for source, weight in weights.items():
        is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not source or not is_number or not 0 < weight < inf:
            raise ValueError(
                f"given {format_value(weight)} for source {source!r}, should be a weight above 0 for a name"
            )
    if not weights:
        raise ValueError("given {}, should name one source or more, each with its weight")
    return value


def to_steps(length: int | str, steps_per_epoch: int, steps: int) -> int:
    """The length as a number of steps, in a run of `steps`; a part of an epoch that is less than a step is one."""
    if isinstance(length, int):
        return length
    amount = float(re.sub(r"[^\d.]", "", length))
    return int(amount * steps / 100) if length.endswith("%") else max(1, round(amount * steps_per_epoch))


def is_longer(parts: Iterable[int | str], whole: int | str) -> bool:
    """Whether the parts are longer than the whole; False where units (steps, epochs, shares) differ."""
    lengths = [length for length in parts if length != 0]
    if lengths and all(isinstance(length, str) and length.endswith("%") for length in lengths):
        whole = "100%"
    units = {re.sub(r"[\d.]", "", str(length)) for length in (*lengths, whole)}
    amounts = [float(re.sub(r"[^\d.]", "", str(length))) for length in lengths]
    return len(units) == 1 and sum(amounts) > float(re.sub(r"[^\d.]", "", str(whole)))


def _parse_perturbation(value: Any) -> Any:
    return value if value == "measured" else _parse_range(value)


def _check_run_length(length: int | str) -> int | str:
    if length == 0 or str(length).endswith("%"):
        raise ValueError(f"given {format_value(length)}, should be 1 step or more, or epochs")
    return length


LENGTH = BeforeValidator(_parse_length)
"""Marks the fields that `Recipe.resolve` turns into steps."""
LENGTHS = "lengths"
"""Marks those that hold several lengths."""
Length = Annotated[int | str, LENGTH]
"""Steps, epochs of the clean images, or a share of the run: 1200, "200 epochs", "30%"."""
Range = Annotated[float | tuple[float, float], BeforeValidator(_parse_range)]
Perturbation = Annotated[float | tuple[float, float] | Literal["measured"], BeforeValidator(_parse_perturbation)]
Strength = Annotated[float | tuple[float, float] | Literal["measured"], BeforeValidator(_parse_strength)]
Count = Annotated[Whole, Field(ge=1, le=MAX_LENGTH)]
Source = Annotated[Text, Field(min_length=1)]
Sources = Annotated[Source | dict[Text, Number], BeforeValidator(_parse_sources)]
"""One source, or several with weights that are ratios of each other: {photos/a: 3, photos/b: 1}."""
Rate = Annotated[Number, Field(gt=0)]
Weight = Annotated[Number, Field(ge=0)]
UnpairedLoss = Annotated[dict[str, Any], Terms(losses)]
TrackerName = Literal["tensorboard", "wandb", "trackio", "mlflow"]
Decay = Annotated[Number, Field(ge=0, lt=1)]


class BridgeSection(Section):
    """The input of the head."""

    feed: Literal["fake", "restore(fake)", "source", "real"] = "fake"
    """Input of the head: translated images; translated images restored by the translator (pseudo-supervision); plain
    sources; or real images (the ceiling), which needs `data.ceiling_clean`."""
    strength: Strength = 1.0
    """Share of the translation in what the head sees: 0 is the source; [low, high] draws it for each sample, `measured`
    from the measured camera's `min_strength` to 1."""
    round: TrueOrFalse = True
    """Round to 8 bits, as a file would, with a straight-through gradient."""
    perturbation: Perturbation = 0.0
    """Standard deviation of the noise added on top, in 8-bit steps; [low, high] draws it for each sample, `measured`
    from 0 to what the translator's measurement leaves open."""

    pairs: Annotated[Number, Field(ge=0, le=1)] = 0.25
    """Share of the samples that are true pairs, where `data.pairs_clean` and `data.pairs_degraded` name some: there the
    head sees the real image, and its loss compares with the ground truth."""
    domain_weights: TrueOrFalse = False
    """Weigh the task's loss, place by place, by how real the translator's discriminator finds what the head sees."""


class RealPathSection(Section):
    """Losses of the head on real images, which have no ground truth; none by default."""

    feed: Literal["real", "restore(real)"] = "real"
    """Input of the head: real images, or real images restored by the translator; in use as in training."""
    loss: UnpairedLoss | None = None
    """Terms that need no ground truth, as in {gan: 0.01, tv: 0.1}; the names are those of `task.loss`."""
    lambda_cycle: Weight = 0.0
    """Weight of a cycle: a generator of its own computes the real image from the restored one."""
    cycle_width: Annotated[Whole, Field(ge=1, le=65_536)] = 64
    """Features of that generator."""
    cycle_power: Literal[1, 2] = 2
    """Norm of the cycle's differences: 1 absolute; 2 squared, as in CinCGAN."""
    lambda_consistency: Weight = 0.0
    """Weight of the squared difference between the restored image, degraded again, and the real one."""


class ScheduleSection(Section):
    """Which networks are trained when."""

    translator_warmup: Length = 0
    """First part of the run, in which the translator alone is trained."""
    head_warmup: Length = 0
    """The part after that, in which the head alone is trained, on plain sources."""
    head_finish: Length = 0
    """Last part of the run, in which the head alone is trained, on what the averaged translator makes."""
    feedback: Weight = 1.0
    """Weight of the head's gradient in the translator; 0 trains the two side by side."""
    feedback_ramp: Length = 0
    """Part of the joint phase over which the feedback grows to its weight."""
    lr_decay: Length = 0
    """Last part of each network's training, over which its learning rate falls linearly towards 0."""


class DataSection(Section):
    """The images; a source is a folder, shards, or `sample` for the photographs that come along."""

    clean: Sources
    """Clean images: a source, or several with their weights."""
    degraded: Sources
    """Real degraded images, of other scenes, likewise."""
    val_clean: Source | None = None
    """Clean images of the validation pairs; null does without validation."""
    val_degraded: Source | None = None
    """Degraded images of the validation pairs, of the same names."""
    pairs_clean: Source | None = None
    """Ground truth of `pairs_degraded`: a few pairs to train on beside the unpaired images."""
    pairs_degraded: Source | None = None
    """Real degraded images whose ground truth exists, of the same names."""
    ceiling_clean: Source | None = None
    """Ground truth of `degraded`, for a run that feeds real pairs; no other run reads it."""
    batch_size: Annotated[Whole, Field(ge=1, le=65_536)] = 16
    """Images of each side per process and micro-step."""
    crop: Annotated[Whole, Field(ge=1, le=16_384)] = 96
    """Side of a clean training crop, in pixels; a multiple of the task's scale."""
    flip: TrueOrFalse = True
    """Mirror crops at random."""
    rotate: TrueOrFalse = True
    """Turn crops by multiples of 90 degrees at random."""
    num_workers: Annotated[Whole, Field(ge=0, le=1024)] = 2
    """Processes that read images; 0 reads them in the training process."""
    order: Literal["auto", "exact", "stream"] = "auto"
    """Order of the images. `exact`: a function of the seed alone, by random access. `stream`: shards in sequence
    through a shuffle buffer, one request for a shard; it depends on the number of processes and `num_workers`, too.
    `auto`: `stream` for more than 65 536 images in shards behind a URL, else `exact`; the run folder's recipe names
    the choice."""
    cache_gib: Annotated[Number, Field(gt=0, le=2**20)] = 16.0
    """Disk of a machine for copies of shards behind a URL, in GiB; the least recently used are deleted first."""
    on_bad: Literal["raise", "skip"] = "raise"
    """A training image that cannot be used ends the run, or is named, counted and replaced by another."""
    max_bad: Annotated[Number, Field(ge=0, le=1)] = 0.01
    """Share of bad images, of those looked at, above which even `skip` ends the run."""


class TrainSection(Section):
    """Length and outputs of the run; intervals are in steps."""

    steps: Annotated[Length, AfterValidator(_check_run_length)]
    """Length of the run; a step is one update of every network in play."""
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    """Seed of initial weights, of the order of the data, and of every random draw."""
    lambda_task: Weight = 1.0
    """Weight of the task loss."""
    clip: Rate | None = None
    """Largest gradient norm of each network; null does not clip."""
    on_nonfinite: Literal["stop", "skip", "rollback"] = "stop"
    """At a step whose losses, gradients or weights are not finite: `stop` saves the state before it and ends the run;
    `skip` leaves the step out; `rollback` also leaves out the steps since the last line of the log."""
    max_nonfinite: Count = 3
    """How many such steps a run passes with `skip` or `rollback`, before it stops."""
    ema: Decay = 0.999
    """Decay of the running averages of the weights, which are measured and saved; 0 takes the weights as they are.
    After t steps it is at most (1 + t) / (10 + t), so that a short run is not held back by its initial weights."""
    gradient_accumulation: Count = 1
    """Micro-steps per step."""
    mixed_precision: Literal["no", "bf16", "fp16"] | None = None
    """Precision of the networks' passes; null leaves it to accelerate's flag."""
    log_every: Count = 50
    """Interval of logged losses."""
    sample_every: Count = 500
    """Interval of sample sheets."""
    validate_every: Count = 500
    """Interval of metrics on the validation pairs, and of the score that selects the best step."""
    select_checkpoint: TrueOrFalse = True
    """Keep the step with the best score on unpaired training images in `best/`, beside the last one."""
    checkpoint_every: Count = 500
    """Interval of checkpoints."""
    keep_checkpoints: Count = 2
    """Number of the latest checkpoints that are kept."""
    trackers: tuple[TrackerName, ...] = ("tensorboard",)
    """Experiment trackers that get the logged numbers beside `metrics.jsonl`: tensorboard, wandb, trackio, mlflow."""
    resume: Source = "auto"
    """`auto` resumes from the run folder's latest checkpoint, if there is one; `never`; or a checkpoint's folder."""
