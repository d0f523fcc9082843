"""The recipe's `optimizer` section: how each kind of network is stepped, and how its learning rate moves."""

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
"""Arguments of optimisers that are no options: keys of their own here, or nothing that a recipe should turn."""


def _some(length: int | str) -> int | str:
    if length == 0:
        raise ValueError("given 0, should be 1 step or more")
    return length


def _rising(lengths: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The lengths; those of one unit must not fall. Shares of a short run may come out as the same step."""
    for unit in {re.sub(r"[\d.]", "", str(length)) for length in lengths}:
        of_unit = [str(length) for length in lengths if re.sub(r"[\d.]", "", str(length)) == unit]
        amounts = [float(length.removesuffix(unit)) for length in of_unit]
        if amounts != sorted(amounts):
            raise ValueError(f"given {format_value(list(lengths))}, should rise")
    return lengths


SOME = AfterValidator(_some)
"""Marks lengths that are never 0: what `Recipe.resolve` finds to be less than a step is one."""


class LrSchedule(Section):
    """How a learning rate moves, from the first step that trains the network to the last."""

    type: str
    """The name."""
    warmup: Length = 0
    """First part, over which the learning rate rises in a straight line from `warmup_lr`."""
    warmup_lr: Weight = 0.0
    """Where that rise begins."""


class CosineSchedule(LrSchedule):
    """Half a cosine from `lr` down to `min_lr` (Loshchilov and Hutter, 2017, without restarts)."""

    type: str = "cosine"
    min_lr: Weight = 0.0
    """Where it ends."""


class TanhSchedule(LrSchedule):
    """A hyperbolic tangent from `lr` down to `min_lr` (Hsueh et al., 2019)."""

    type: str = "tanh"
    min_lr: Weight = 0.0
    """Where it ends."""


class PolySchedule(LrSchedule):
    """A power of the part that is left, from `lr` down to `min_lr`."""

    type: str = "poly"
    min_lr: Weight = 0.0
    """Where it ends."""
    power: Rate = 1.0
    """1 is a straight line."""


class StepSchedule(LrSchedule):
    """Falls by a factor again and again."""

    type: str = "step"
    decay: Annotated[int | str, LENGTH, SOME]
    """From one fall to the next."""
    decay_rate: Rate = 0.5
    """The factor."""


class MultiStepSchedule(LrSchedule):
    """Falls by a factor at each milestone."""

    type: str = "multistep"
    milestones: Annotated[tuple[Length, ...], LENGTHS, Field(min_length=1), AfterValidator(_rising)]
    """When it falls."""
    decay_rate: Rate = 0.5
    """The factor."""


LR_SCHEDULES: dict[str, type[LrSchedule]] = {
    "cosine": CosineSchedule,
    "tanh": TanhSchedule,
    "step": StepSchedule,
    "multistep": MultiStepSchedule,
    "poly": PolySchedule,
}


def _of_its_type(value: Any) -> Any:
    """The schedule that a name, or a section with `type`, describes."""
    if value is None or isinstance(value, LrSchedule):
        return value
    given = {"type": value} if isinstance(value, str) else value
    if not isinstance(given, dict):
        raise ValueError(f"given {format_value(value)}, should be a name, or a section with `type` and options")
    name, known = given.get("type"), ", ".join(LR_SCHEDULES)
    if name == "plateau":
        why = "follows the metrics instead of the step, so a resumed run would not equal one that never stopped"
        raise validation_error(Mistake(("type",), f"'plateau' {why}; known here: {known}"))
    if name not in LR_SCHEDULES:
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


def _unknown_type(name: str) -> str | None:
    """Why no network can be stepped by an optimiser of that name; None where one can, as far as names tell."""
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


def _unknown_option(key: str, optimizer: str) -> str:
    own = list(optimizer_options(optimizer).model_fields)
    if key in NetworkOptimizer.model_fields:
        return f"optimiser {optimizer!r} takes none; its own options: {', '.join(own)}"
    known = [*NetworkOptimizer.model_fields, *own]
    return f"{UNKNOWN_KEY} of optimiser {optimizer!r}; {suggest(key, known)}"


class NetworkOptimizer(Section):
    """How networks of one kind are stepped. An optimiser takes further options of its own: `eps`, `momentum`, …

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
    lr_schedule: Annotated[SerializeAsAny[LrSchedule] | None, BeforeValidator(_of_its_type)] = None
    """How the learning rate moves; null follows `schedule.lr_decay`."""

    def options(self) -> dict[str, Any]:
        """What was given of the optimiser's own options, checked and converted."""
        given = {**({} if self.betas is None else {"betas": self.betas}), **(self.model_extra or {})}
        checked = optimizer_options(self.type).model_validate(given)
        return {key: getattr(checked, key) for key in given}

    @model_validator(mode="before")
    @classmethod
    def _from_a_name(cls, values: Any) -> Any:
        given = {"type": values} if isinstance(values, str) else values
        is_another = isinstance(given, dict) and given.get("type", "adam") != "adam"
        return {"betas": None, **given} if is_another else given

    @model_validator(mode="after")
    def _has_options_of_its_type(self) -> NetworkOptimizer:
        if wrong := list(self._mistakes()):
            raise validation_error(*wrong)
        return self

    def _mistakes(self) -> Iterator[Mistake]:
        if sentence := _unknown_type(self.type):
            yield Mistake(("type",), sentence)
            return
        try:
            self.options()
        except ValidationError as error:
            for path, sentence in mistakes(error, {"betas": self.betas, **(self.model_extra or {})}):
                is_unknown = sentence.startswith(UNKNOWN_KEY)
                yield Mistake(path, _unknown_option(str(path[0]), self.type) if is_unknown else sentence)


class HeadOptimizer(NetworkOptimizer):
    """How the head is stepped."""

    lr: Rate = 1e-4
    """Learning rate."""
    betas: tuple[Decay, ...] | None = (0.9, 0.999)
    """Decay of the running means; null takes the optimiser's own, as does another type than `adam` unless given."""


class OptimizerSection(Section):
    """What steps each kind of network."""

    generator: NetworkOptimizer = NetworkOptimizer()
    """The translator's generators."""
    discriminator: NetworkOptimizer = NetworkOptimizer()
    """All discriminators."""
    head: HeadOptimizer = HeadOptimizer()
    """The head."""
