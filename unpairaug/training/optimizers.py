"""The optimisers of a run by name: one for each kind of network, stepped together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from unpairaug.errors import UserError
from unpairaug.recipe.optimizer_sections import NetworkOptimizer, OptimizerSection
from unpairaug.training.optimizer_state import (
    StepTogether,
    Tensors,
    Values,
    group_values,
    load_optimizer,
    optimizer_state,
)

STOP, END = 4, 13
"""Steps of the toy training before it is stopped, and in all: lookahead moves its slow weights at 6 and 12."""


class NetworkOptimizers:
    """The optimisers of the networks of a run, as the recipe's `optimizer` section says, and their state.

    `adam` is torch's fused Adam: one for all networks that use it, with a parameter group for each. Every other name is
    built by timm, one optimiser for each network, so that no network's gradients count in another's norm.
    """

    def __init__(self, networks: Mapping[str, nn.Module], section: OptimizerSection, device: torch.device) -> None:
        kinds = {name: kind_of(name) for name in networks}
        for kind in dict.fromkeys(kinds.values()):
            _validate_resumable(kind, getattr(section, kind), device)
        adam: list[dict[str, Any]] = []
        parts: list[Optimizer] = []
        for name, network in networks.items():
            spec: NetworkOptimizer = getattr(section, kinds[name])
            if spec.type == "adam":
                adam += _make_adam_groups(name, network, spec)
            elif any(True for _ in network.parameters()):
                parts.append(_make_timm_optimizer(kinds[name], name, network, spec))
        if adam:
            parts.insert(0, torch.optim.Adam(adam, fused=True))
        self.names = {p: f"{name}.{key}" for name, network in networks.items() for key, p in network.named_parameters()}
        self.optimizer = parts[0] if len(parts) == 1 else StepTogether(parts)
        self.initial = group_values(self.optimizer)

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Set the learning rate of each network by its role."""
        for group in self.optimizer.param_groups:
            group["lr"] = rates[role_of(group["name"])]

    def state(self) -> tuple[Tensors, Values]:
        """What a resumed run needs: tensors by name, and plain values."""
        return optimizer_state(self.optimizer, self.names, self.initial)

    def load_state(self, tensors: Tensors, values: Values) -> None:
        """Restore what `state` returned."""
        load_optimizer(self.optimizer, self.names, tensors, values)


ROLES = ("generator", "discriminator", "head", "task_discriminator")
"""The prefixes of the names of networks: what a network does decides how long it is trained."""


def role_of(network: str) -> str:
    """The role of a network: `generator_degrade` is a `generator`."""
    return next(role for role in ROLES if network.startswith(role))


def kind_of(network: str) -> str:
    """The sub-section of `optimizer` for a network; discriminators of a task share that of all discriminators."""
    return role_of(network).removeprefix("task_")


def _make_adam_groups(name: str, network: nn.Module, spec: NetworkOptimizer) -> list[dict[str, Any]]:
    return [{**group, "lr": spec.lr, **spec.options()} for group in _make_groups(name, network, spec.weight_decay)]


def _make_groups(name: str, network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of a network: with weight decay, and without it.

    Biases and the scales of norms have no weight decay, as in timm.
    """
    parameters = list(network.parameters())
    if not weight_decay:
        return [{"params": parameters, "name": name, "weight_decay": 0.0}]
    by_decay = {weight_decay: [p for p in parameters if p.ndim > 1], 0.0: [p for p in parameters if p.ndim <= 1]}
    return [{"params": some, "name": name, "weight_decay": decay} for decay, some in by_decay.items() if some]


def _make_timm_optimizer(kind: str, name: str, network: nn.Module, spec: NetworkOptimizer) -> Optimizer:
    from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]  # timm marks no exports

    groups = _make_groups(name, network, spec.weight_decay)
    try:
        return create_optimizer_v2(groups, spec.type, lr=spec.lr, weight_decay=spec.weight_decay, **spec.options())
    except Exception as error:  # whatever an optimiser's constructor raises, it is about the options it was given
        raise UserError(f"optimizer.{kind}: {spec.type!r} cannot be built with these options: {error}") from error


def _validate_resumable(kind: str, spec: NetworkOptimizer, device: torch.device) -> None:
    """Train a toy network, save, load and continue: a resumed run must equal an uninterrupted one.

    Raises:
        UserError: it does not, the optimiser cannot step, or a checkpoint cannot hold its state.
    """
    if spec.type == "adam":
        return
    spec = spec.model_copy(update={"lr": 1e-3})
    whole, stopped, resumed = (_ToyTraining(kind, spec, device, seed) for seed in (0, 0, 1))
    try:
        stopped.saved_state()  # fails early: some optimisers that cannot be saved take a minute for their first step
        whole.take_steps(0, END)
        stopped.take_steps(0, STOP)
        resumed.load_from(stopped)
        resumed.take_steps(STOP, END)
    except Exception as error:  # whatever an optimiser raises here, it would raise in training
        raise UserError(
            f"optimizer.{kind}.type: {spec.type!r} cannot train and be resumed ({error}); choose another"
        ) from error
    pairs = zip(whole.network.parameters(), resumed.network.parameters(), strict=True)
    if not all(torch.equal(one, other) for one, other in pairs):
        raise UserError(
            f"optimizer.{kind}.type: with {spec.type!r} a resumed run would differ from an uninterrupted one; "
            f"choose another"
        )


class _ToyTraining:
    """A toy network with an optimiser, and gradients that depend on the step alone.

    The seed must not change the result: the processes of a run would diverge if their optimisers drew at random.
    """

    def __init__(self, kind: str, spec: NetworkOptimizer, device: torch.device, seed: int) -> None:
        self.network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).to(device)
        self.network.to(memory_format=torch.channels_last)
        for parameter in self.network.parameters():
            nn.init.constant_(parameter, 0.5)
        self.seed = seed
        self.names = {parameter: name for name, parameter in self.network.named_parameters(kind)}
        self.optimizer = _make_timm_optimizer(kind, kind, self.network, spec)
        self.initial = group_values(self.optimizer)

    def take_steps(self, first: int, end: int) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            for step in range(first, end):
                for p in self.network.parameters():
                    ramp = torch.arange(p.numel(), device=p.device, dtype=p.dtype).view(p.shape)
                    p.grad = torch.empty_like(p).copy_(torch.sin(ramp + step))
                self.optimizer.step()

    def saved_state(self) -> tuple[Tensors, Values]:
        """The state as a checkpoint holds it."""
        tensors, values = optimizer_state(self.optimizer, self.names, self.initial)
        plain = {key: tensor.detach().clone(memory_format=torch.contiguous_format) for key, tensor in tensors.items()}
        return plain, json.loads(json.dumps(values))

    def load_from(self, other: _ToyTraining) -> None:
        self.network.load_state_dict(other.network.state_dict())
        load_optimizer(self.optimizer, self.names, *other.saved_state())
