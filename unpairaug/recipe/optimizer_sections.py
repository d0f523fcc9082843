"""The recipe's `optimizer` section: the optimiser of each kind of network, and the course of its learning rate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from unpairaug.recipe.sections import LENGTH, LENGTHS, Decay, Length, Rate, Weight
from unpairaug.registry.options import (
    UNKNOWN_KEY,
    Mistake,
    Section,
    Text,
    TrueOrFalse,
    constructor_options,
    format_value,
    mistakes,
    validation_error,
)
from unpairaug.registry.suggestions import suggest

MACHINERY = ("params", "lr", "weight_decay", "maximize", "differentiable", "capturable", "fused")
"""Arguments of optimisers that are not options: they are keys of their own, or not for a recipe to set."""


def _at_least_one(length: int | str) -> int | str:
    if length == 0:
        raise ValueError("given 0, should be 1 step or more")
    return length


def _check_rising(lengths: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The lengths; those of one unit must not decrease. Shares of a short run may be the same step."""
    for unit in {re.sub(r"[\d.]", "", str(length)) for length in lengths}:
        of_unit = [str(length) for length in lengths if re.sub(r"[\d.]", "", str(length)) == unit]
        amounts = [float(length.removesuffix(unit)) for length in of_unit]
        if amounts != sorted(amounts):
            raise ValueError(f"given {format_value(list(lengths))}, should rise")
    return lengths


AT_LEAST_ONE = AfterValidator(_at_least_one)
"""Marks lengths of at least one step: `Recipe.resolve` rounds a shorter one up."""


class LrSchedule(Section):
    """The course of a learning rate, from the first step that trains the network to the last."""

    type: str
    """The name."""
    warmup: Length = 0
    """First part, over which the learning rate rises linearly from `warmup_lr`."""
    warmup_lr: Weight = 0.0
    """Learning rate at the first step of the warmup."""


class CosineSchedule(LrSchedule):
    """Half a cosine from `lr` down to `min_lr` (Loshchilov and Hutter, 2017, without restarts)."""

    type: str = "cosine"
    min_lr: Weight = 0.0
    """Learning rate at the last step."""


class TanhSchedule(LrSchedule):
    """A hyperbolic tangent from `lr` down to `min_lr` (Hsueh et al., 2019)."""

    type: str = "tanh"
    min_lr: Weight = 0.0
    """Learning rate at the last step."""


class PolySchedule(LrSchedule):
    """A power of the remaining share of the steps, from `lr` down to `min_lr`."""

    type: str = "poly"
    min_lr: Weight = 0.0
    """Learning rate at the last step."""
    power: Rate = 1.0
    """1 is a straight line."""


class StepSchedule(LrSchedule):
    """Multiplied by a factor at regular intervals."""

    type: str = "step"
    decay: Annotated[int | str, LENGTH, AT_LEAST_ONE]
    """The interval."""
    decay_rate: Rate = 0.5
    """The factor."""


class MultiStepSchedule(LrSchedule):
    """Multiplied by a factor at each milestone."""

    type: str = "multistep"
    milestones: Annotated[tuple[Length, ...], LENGTHS, Field(min_length=1), AfterValidator(_check_rising)]
    """The steps of the milestones."""
    decay_rate: Rate = 0.5
    """The factor."""


LR_SCHEDULES: dict[str, type[LrSchedule]] = {
    "cosine": CosineSchedule,
    "tanh": TanhSchedule,
    "step": StepSchedule,
    "multistep": MultiStepSchedule,
    "poly": PolySchedule,
}


def _parse_schedule(value: Any) -> Any:
    """The schedule that a name, or a section with `type`, describes."""
    if value is None or isinstance(value, LrSchedule):
        return value
    given = {"type": value} if isinstance(value, str) else value
    if not isinstance(given, dict):
        raise ValueError(f"given {format_value(value)}, should be a name, or a section with `type` and options")
    name, known = given.get("type"), ", ".join(LR_SCHEDULES)
    if name == "plateau":
        why = "depends on the metrics, so a resumed run would differ from an uninterrupted one"
        raise validation_error(Mistake(("type",), f"'plateau' {why}; known here: {known}"))
    if not isinstance(name, str) or name not in LR_SCHEDULES:
        hint = suggest(str(name), LR_SCHEDULES, list_known=True)
        said = f"given {format_value(name)}, should be a learning-rate schedule; {hint}"
        raise validation_error(Mistake(("type",), said))
    return LR_SCHEDULES[name].model_validate(given)


class AdamOptions(Section):
    """What our `adam` takes beside the keys of every optimiser; defaults are torch's."""

    betas: tuple[Decay, Decay] = (0.9, 0.999)
    eps: Rate = 1e-8
    amsgrad: TrueOrFalse = False


def optimizer_options(name: str) -> type[Section]:
    """A model of the options that the optimiser of that name takes, but those every optimiser has.

    Raises:
        ImportError: the optimiser is of a package that is not installed.
        AssertionError: it needs a GPU, and there is none.
    """
    if name == "adam":
        return AdamOptions
    from timm.optim import get_optimizer_class  # pyright: ignore[reportPrivateImportUsage]  # timm marks no exports

    cls: Any = get_optimizer_class(name.removeprefix("lookahead_"), bind_defaults=False)
    return constructor_options(cls, without=MACHINERY)


def _explain_unusable(name: str) -> str | None:
    """Why the optimiser of that name cannot be used; None if it can, as far as the name says."""
    if name == "adam":
        return None
    from timm.optim import get_optimizer_info, list_optimizers  # pyright: ignore[reportPrivateImportUsage]

    known, plain = list_optimizers(), name.removeprefix("lookahead_")
    if plain not in known:
        return f"timm has no optimiser {name!r}; {suggest(name, map(str, known), list_known=True)}"
    if get_optimizer_info(plain).second_order:
        return f"{name!r} needs second derivatives, which the joint step does not compute; choose another"
    try:
        optimizer_options(name)
    except (ImportError, AssertionError) as error:
        return f"{name!r} cannot be used here: {error}"
    return None


def _explain_unknown_option(key: str, optimizer: str) -> str:
    own = list(optimizer_options(optimizer).model_fields)
    if key in NetworkOptimizer.model_fields:
        return f"optimiser {optimizer!r} takes none; its own options: {', '.join(own)}"
    known = [*NetworkOptimizer.model_fields, *own]
    return f"{UNKNOWN_KEY} of optimiser {optimizer!r}; {suggest(key, known)}"


class NetworkOptimizer(Section):
    """The optimiser of one kind of network. An optimiser takes further options of its own: `eps`, `momentum`, …

    `adam` is torch's fused Adam, and needs neither torch nor timm to be checked; every other name is timm's, and costs
    the seconds of its import.
    """

    model_config = ConfigDict(extra="allow")

    type: Text = "adam"
    """An optimiser that timm knows."""
    lr: Rate = 2e-4
    """Learning rate."""
    betas: tuple[Decay, ...] | None = (0.5, 0.999)
    """Decay of the running means; null takes the optimiser's own, as does another type than `adam` unless given."""
    weight_decay: Weight = 0.0
    """Weight decay, of all but biases and norms."""
    lr_schedule: Annotated[SerializeAsAny[LrSchedule] | None, BeforeValidator(_parse_schedule)] = None
    """Course of the learning rate; null follows `schedule.lr_decay`."""

    def options(self) -> dict[str, Any]:
        """What was given of the optimiser's own options, checked and converted."""
        given = {**({} if self.betas is None else {"betas": self.betas}), **(self.model_extra or {})}
        checked = optimizer_options(self.type).model_validate(given)
        return {key: getattr(checked, key) for key in given}

    @model_validator(mode="before")
    @classmethod
    def _expand_name(cls, values: Any) -> Any:
        given = {"type": values} if isinstance(values, str) else values
        is_another = isinstance(given, dict) and given.get("type", "adam") != "adam"
        return {"betas": None, **given} if is_another else given

    @model_validator(mode="after")
    def _check_options(self) -> NetworkOptimizer:
        if wrong := list(self._mistakes()):
            raise validation_error(*wrong)
        return self

    def _mistakes(self) -> Iterator[Mistake]:
        if sentence := _explain_unusable(self.type):
            yield Mistake(("type",), sentence)
            return
        try:
            self.options()
        except ValidationError as error:
            for path, sentence in mistakes(error, {"betas": self.betas, **(self.model_extra or {})}):
                is_unknown = sentence.startswith(UNKNOWN_KEY)
                yield Mistake(path, _explain_unknown_option(str(path[0]), self.type) if is_unknown else sentence)


class HeadOptimizer(NetworkOptimizer):
    """The optimiser of the head."""

    lr: Rate = 1e-4
    """Learning rate."""
    betas: tuple[Decay, ...] | None = (0.9, 0.999)
    """Decay of the running means; null takes the optimiser's own, as does another type than `adam` unless given."""


class OptimizerSection(Section):
    """The optimiser of each kind of network."""

    generator: NetworkOptimizer = NetworkOptimizer()
    """The translator's generators."""
    discriminator: NetworkOptimizer = NetworkOptimizer()
    """All discriminators."""
    head: HeadOptimizer = HeadOptimizer()
    """The head."""
