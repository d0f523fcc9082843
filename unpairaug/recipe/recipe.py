"""A recipe: the YAML file that says everything about one run, as typed and checked sections."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError, model_validator

from unpairaug.errors import UserError
from unpairaug.recipe.optimizer_sections import AT_LEAST_ONE, OptimizerSection
from unpairaug.recipe.recipe_file import (
    BASE,
    bundled_recipes,
    drop_scale_if_task_has_none,
    follow_run_folder,
    plugin_recipes,
    read_document,
)
from unpairaug.recipe.renamed import explain_renamed
from unpairaug.recipe.sections import (
    LENGTH,
    LENGTHS,
    BridgeSection,
    DataSection,
    RealPathSection,
    ScheduleSection,
    Source,
    TrainSection,
    is_longer,
    to_steps,
)
from unpairaug.recipe.translator_section import LEARNS, TranslatorSpec
from unpairaug.recipe.yaml_file import Document, dump
from unpairaug.registry.options import (
    UNKNOWN_KEY,
    Mistake,
    Path,
    Section,
    dotted_key,
    format_value,
    mistakes,
    validation_error,
)
from unpairaug.registry.registry import TaskSpec, tasks
from unpairaug.registry.terms import as_terms

__all__ = ["BridgeSection", "DataSection", "Recipe", "ScheduleSection", "TrainSection"]
__all__ += ["bundled_recipes", "differences", "differences_of_values", "load_recipe", "plugin_recipes", "to_yaml"]


class Recipe(Section):
    """Everything about one run."""

    task: TaskSpec
    """What is restored, by which head, judged by which loss: `type` and the options of that class."""
    translator: TranslatorSpec
    """What learns the degradation: `type` and the options of that class; or `from`, a trained one."""
    bridge: BridgeSection = BridgeSection()
    real_path: RealPathSection = RealPathSection()
    schedule: ScheduleSection = ScheduleSection()
    optimizer: OptimizerSection = OptimizerSection()
    data: DataSection
    train: TrainSection
    output_dir: Source
    """The run's folder; `runs/<name of the recipe>` if the file has none."""

    def resolve(self, steps_per_epoch: int) -> Recipe:
        """The recipe with every length in steps.

        Raises:
            UserError: the lengths turn out to contradict each other.
        """
        steps = to_steps(self.train.steps, steps_per_epoch, steps=0)
        values = _with_lengths(self, lambda length: to_steps(length, steps_per_epoch, steps))
        return _validate(values, lambda path: "")

    @model_validator(mode="after")
    def _agree(self) -> Recipe:
        if contradictions := list(_contradictions(self)):
            raise validation_error(*contradictions)
        return self


Overrides = Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""Values on top of a recipe: nested sections, dotted keys, or texts `dotted.key=value`."""

_SECTIONS = {"bridge": BridgeSection, "schedule": ScheduleSection, "data": DataSection, "train": TrainSection}
_SECTION_OF_KEY = {key: f"{name}.{key}" for name, section in _SECTIONS.items() for key in section.model_fields}
_SECTION_OF_KEY |= {
    f"{kind}_{key}": f"optimizer.{kind}.{key}" for kind in OptimizerSection.model_fields for key in ("lr", "betas")
}
_SECTION_OF_KEY |= {"translator_lr": "optimizer.generator.lr", "betas": "optimizer.generator.betas"}


def load_recipe(recipe: str | os.PathLike[str], overrides: Overrides = (), **sections: Any) -> Recipe:
    """The recipe in a file, or the bundled one of that name, with overrides on top.

    Args:
        recipe: a path, or the name of a bundled recipe.
        overrides: texts as on the command line, `["train.steps=500"]`; or values by section, `{"train": {"steps":
            500}}`, or by dotted key, `{"train.steps": 500}`. Sections merge with those of the recipe.
        sections: values by section, on top of the overrides: `train={"steps": 500}, output_dir="runs/mine"`.

    Raises:
        UserError: there is none, or something in it is wrong; the message has a line for each mistake, with its place.
    """
    document = read_document(os.fspath(recipe))
    follow_run_folder(document)
    document.values.setdefault("output_dir", f"runs/{FilePath(document.places[()]).stem}")
    for override in list_overrides(overrides, sections):
        _apply(document, override)
    drop_scale_if_task_has_none(document)
    _merge_default_loss(document)
    return _validate(document.values, lambda path: f"{document.place(path)}: ")


def list_overrides(overrides: Overrides, sections: Mapping[str, Any]) -> list[str | Mapping[str, Any]]:
    """Overrides in the forms that `load_recipe` takes, as a list."""
    given = [overrides] if isinstance(overrides, (str, Mapping)) else [*overrides]
    return [*given, sections] if sections else given


def format_overrides(overrides: Sequence[str | Mapping[str, Any]]) -> list[str]:
    """Overrides as texts `dotted.key=value`."""
    found: list[str] = []
    for override in overrides:
        values = _flat(_to_plain(override)) if isinstance(override, Mapping) else ()
        found += [override] if isinstance(override, str) else [f"{key}={json.dumps(value)}" for key, value in values]
    return found


def _apply(document: Document, override: str | Mapping[str, Any]) -> None:
    """Set what one override says.

    Raises:
        UserError: it has another form, or goes into a value that has no keys.
    """
    values = {override.partition("=")[0].strip(): None} if isinstance(override, str) else _to_plain(override)
    if BASE in values:
        raise UserError(f"override {BASE}: a recipe file names its {BASE} itself; give that recipe, or write a file")
    if isinstance(override, str):
        return document.override(override)
    for key, value in values.items():
        path: Path = tuple(key.split("."))
        document.merge(_at(path, value), partial(_describe_override, _at(path, value)))


def _at(path: Path, value: Any) -> dict[str, Any]:
    """Sections within each other that hold the value at the path."""
    return {str(path[0]): _at(path[1:], value) if path[1:] else value}


def _describe_override(values: dict[str, Any], path: Path) -> str:
    return f"override {dotted_key(path)}={format_value(_value_at(values, path))}"


def _to_plain(value: Any) -> Any:
    """The value as YAML would give it: paths as text, tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def to_yaml(recipe: Recipe) -> str:
    """The whole recipe as YAML; `load_recipe` reads it back to an equal recipe."""
    return dump(recipe.model_dump(mode="json"))


def differences(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """The dotted keys whose values differ, with the old value and the new; None where a recipe lacks the key."""
    return differences_of_values(old.model_dump(), new.model_dump())


def differences_of_values(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What `differences` returns, from two recipes as plain values, which need not be valid here."""
    before, after = dict(_flat(old)), dict(_flat(new))
    pairs = {key: (before.get(key), after.get(key)) for key in (*before, *after)}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _validate(values: dict[str, Any], place: Callable[[Path], str]) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        lines = [
            f"{place(path)}{dotted_key(path)}: {_suggest_key(values, path, sentence)}"
            for path, sentence in mistakes(error, values)
        ]
        raise UserError("\n".join(lines)) from error


def _suggest_key(values: dict[str, Any], path: Path, sentence: str) -> str:
    """The sentence about a mistake; of an unknown key, its new name or its section."""
    if not sentence.startswith(UNKNOWN_KEY):
        return sentence
    if renamed := explain_renamed(path, _value_at(values, path)):
        return renamed
    key = _SECTION_OF_KEY.get(str(path[-1]))
    is_elsewhere = key is not None and not key.startswith(f"{path[0]}.")
    return f"{UNKNOWN_KEY}; did you mean {key!r}?" if is_elsewhere else sentence


def _value_at(values: Any, path: Path) -> Any:
    for step in path:
        values = values[step]
    return values


def _merge_default_loss(document: Document) -> None:
    """`task.loss.ssim=0.2` adds a term to the task's default loss where the file names no loss."""
    task: Any = document.values.get("task")
    if ("task", "loss") in document.places or not isinstance(task, dict) or not isinstance(task.get("loss"), dict):
        return
    try:
        default = tasks.options(str(task.get("type"))).model_fields["loss"].default
    except (UserError, KeyError):
        return  # no such task, or a task without a loss: `_validate` says so, with the place
    if isinstance(default, (str, dict)):
        task["loss"] = {**as_terms(default), **task["loss"]}


def _contradictions(recipe: Recipe) -> Iterator[Mistake]:
    data, schedule, steps, scale = recipe.data, recipe.schedule, recipe.train.steps, recipe.task.get("scale", 1)
    if data.crop % scale:
        below = data.crop // scale * scale
        good = " or ".join(str(crop) for crop in (below, below + scale) if crop)
        yield Mistake(("data", "crop"), f"{data.crop} is not divisible by task.scale {scale}; try {good}")
    if recipe.bridge.feed == "real" and data.ceiling_clean is None:
        yield Mistake(("data", "ceiling_clean"), "required by bridge.feed 'real': the ground truth of data.degraded")
    if recipe.bridge.feed == "real" and data.on_bad == "skip":
        yield Mistake(("data", "on_bad"), "'skip' would break up the pairs that bridge.feed 'real' reads; give 'raise'")
    if recipe.bridge.feed == "real" and recipe.real_path.feed != "real":
        given = f"given {recipe.real_path.feed!r}, but bridge.feed 'real' trains the head on real images as they are"
        yield Mistake(("real_path", "feed"), f"{given}; give 'real'")
    reasons = {"val": "validation compares pairs", "pairs": "both images of a pair are needed"}
    for part, why in reasons.items():
        for one, other in ((f"{part}_clean", f"{part}_degraded"), (f"{part}_degraded", f"{part}_clean")):
            if getattr(data, one) is None and getattr(data, other) is not None:
                yield Mistake(("data", one), f"required beside data.{other}: {why}")
    if data.pairs_clean is not None and recipe.bridge.feed not in ("fake", "source"):
        said = f"bridge.feed {recipe.bridge.feed!r} does not feed the real image of a pair; leave the pairs out"
        yield Mistake(("data", "pairs_clean"), said)
    parts = {key: getattr(schedule, key) for key in ("translator_warmup", "head_warmup", "head_finish")}
    if is_longer(parts.values(), steps):
        said = " + ".join(f"{key} {length}" for key, length in parts.items())
        yield Mistake(("schedule",), f"{said} are longer than train.steps {steps}")
    if not recipe.translator.get(LEARNS, True) and recipe.bridge.domain_weights:
        said = "true needs a trained discriminator, and translator.train is false; leave it out"
        yield Mistake(("bridge", "domain_weights"), said)
    if not recipe.translator.get(LEARNS, True) and schedule.translator_warmup:
        said = f"{schedule.translator_warmup} steps have nothing to train, as translator.train is false; leave it out"
        yield Mistake(("schedule", "translator_warmup"), said)
    if is_longer((schedule.lr_decay,), steps):
        yield Mistake(("schedule", "lr_decay"), f"{schedule.lr_decay} is longer than train.steps {steps}")
    for kind, network in recipe.optimizer:
        if network.lr_schedule and is_longer((warmup := network.lr_schedule.warmup,), steps):
            path = ("optimizer", kind, "lr_schedule", "warmup")
            yield Mistake(path, f"{warmup} is longer than train.steps {steps}")


def _with_lengths(section: Section, convert: Callable[[int | str], int]) -> dict[str, Any]:
    """The section's values, with every length in it and in its sections converted."""
    values = section.model_dump()
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, Section):
            values[key] = _with_lengths(value, convert)
        elif LENGTH in field.metadata:
            values[key] = max(convert(value), 1 if AT_LEAST_ONE in field.metadata else 0)
        elif LENGTHS in field.metadata:
            values[key] = [convert(length) for length in value]
    return values


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
