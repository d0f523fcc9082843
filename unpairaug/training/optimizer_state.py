"""The state of an optimiser as named tensors and plain values that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

Names = Mapping[Any, str]
"""A unique name of each parameter: its state is found by it, however parameters are grouped."""
Tensors = dict[str, Tensor]
Values = dict[str, Any]


class StepTogether(Optimizer):
    """Several optimisers, each with its own parameters, that step together.

    accelerate updates its fp16 gradient scaler whenever an optimiser steps, so there may be only one optimiser. Its
    parameter groups are the same objects as those of the parts: unscaling, the check for infinities and learning rates
    reach all. A step that the scaler skips is skipped by every part.
    """

    def __init__(self, parts: list[Optimizer]) -> None:
        self.parts = parts
        super().__init__(self._groups(), {})
        self.param_groups = self._groups()

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # closures are not supported
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = self._groups()  # loading replaces the groups of a part

    def _groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]


def optimizer_state(optimizer: Optimizer, names: Names, initial: Values) -> tuple[Tensors, Values]:
    """The state of an optimiser: tensors by "parameter.moment", and all else as plain values by such names.

    Learning rates and other options are part of the recipe and left out.

    Args:
        optimizer: whose state it is.
        names: of its parameters.
        initial: what `group_values` returned for the new optimiser; values that changed since are state, too.

    Raises:
        ValueError: a checkpoint cannot hold a part of the state.
    """
    tensors: Tensors = {}
    values: Values = {}
    for part in _parts(optimizer):
        state_dict = part.state_dict()
        if others := state_dict.keys() - {"state", "param_groups"}:
            raise ValueError(f"its state has {', '.join(sorted(others))}")
        parameters = _parameters(part)
        found = {f"{names[parameters[i]]}.{key}": v for i, own in state_dict["state"].items() for key, v in own.items()}
        changed = {key: v for key, v in group_values(part).items() if key not in initial or not _equal(v, initial[key])}
        for key, value in {**found, **changed}.items():
            if isinstance(value, Tensor):
                tensors[key] = value
            else:
                values[key] = _to_json(key, value, tensors)
    return tensors, values


def load_optimizer(optimizer: Optimizer, names: Names, tensors: Tensors, values: Values) -> None:
    """Load the state that `optimizer_state` returned; options of the recipe stay as they are."""
    inner = {item for value in values.values() if isinstance(value, list) for item in value if isinstance(item, str)}
    entries = {key: value for key, value in tensors.items() if key not in inner}
    entries |= {key: _from_json(value, tensors) for key, value in values.items()}
    states: dict[str, dict[str, Any]] = {}
    for key, value in entries.items():
        owner, _, name = key.rpartition(".")
        states.setdefault(owner, {})[name] = value
    for part in _parts(optimizer):
        state = {i: states[name] for i, p in enumerate(_parameters(part)) if (name := names[p]) in states}
        part.load_state_dict({**part.state_dict(), "state": state})
        for group in part.param_groups:
            group.update(
                {k: v.clone() if isinstance(v, Tensor) else v for k, v in states.get(group["name"], {}).items()}
            )
        _match_memory_layout(part, state)
    if isinstance(optimizer, StepTogether):
        optimizer.param_groups = [group for part in optimizer.parts for group in part.param_groups]


def group_values(optimizer: Optimizer) -> Values:
    """The values in the parameter groups that are no options of the recipe, by "group.key"; some count steps there."""
    ours = ("params", "name", "lr", "weight_decay")
    return {
        f"{group['name']}.{key}": value.clone() if isinstance(value, Tensor) else value
        for group in optimizer.param_groups
        for key, value in group.items()
        if key not in ours
    }


def _match_memory_layout(optimizer: Optimizer, state: dict[int, dict[str, Any]]) -> None:
    """Give each moment the memory layout of its parameter and the precision it was saved in.

    A file holds contiguous tensors. Fused optimisers read a moment in the layout of its parameter, so in another layout
    its values would belong to the wrong weights.
    """
    loaded = optimizer.state_dict()["state"]
    for index, parameter in enumerate(_parameters(optimizer)):
        for key, value in state.get(index, {}).items():
            if isinstance(value, Tensor) and value.ndim and value.shape == parameter.shape:
                loaded[index][key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _to_json(key: str, value: Any, tensors: Tensors) -> Any:
    """The value as JSON holds it; tensors in a list move to `tensors` and are replaced by their key."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if not isinstance(value, (list, tuple)) or any(isinstance(item, str) for item in value):
        raise ValueError(f"its state has {key} of type {type(value).__name__}")
    plain: list[Any] = []
    for position, item in enumerate(value):
        if isinstance(item, Tensor):
            tensors[name := f"{key}.{position}"] = item
            plain.append(name)
        else:
            plain.append(_to_json(f"{key}.{position}", item, tensors))
    return plain


def _from_json(value: Any, tensors: Tensors) -> Any:
    if isinstance(value, list):
        return [_from_json(item, tensors) for item in value]
    return tensors[value] if isinstance(value, str) else value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and one == other


def _parts(optimizer: Optimizer) -> list[Optimizer]:
    return optimizer.parts if isinstance(optimizer, StepTogether) else [optimizer]


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
