"""The gradients of a step, measured on the device: the norm of each network's, and the weights that get none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Gradients:
    """Measures and clips the gradients of several networks, each by itself. Nothing waits for the device."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self.networks = networks
        self.norms: dict[str, Tensor] = {}
        """Norm of each network's gradient in the last step, before clipping: scalars. Networks that did not learn in
        that step have none."""
        self.idle_steps: dict[str, tuple[list[str], Tensor]] = {}
        """For each network the names of its parameters, and for how many steps in a row each had a zero gradient."""

    def measure(self) -> None:
        """Measure the gradients as they are now; once a step."""
        self.norms = {}
        for name, network in self.networks.items():
            learning = [(key, p.grad) for key, p in network.named_parameters() if p.grad is not None]
            if not learning:
                continue
            every = torch._foreach_norm([grad for _, grad in learning])  # pyright: ignore[reportPrivateImportUsage]
            norms = torch.stack(every)
            self.norms[name] = torch.linalg.vector_norm(norms)
            names = [key for key, _ in learning]
            before, steps = self.idle_steps.get(name, (names, norms.new_zeros(())))
            self.idle_steps[name] = names, (steps + 1 if before == names else 1) * (norms == 0)

    def clip(self, max_norm: float) -> None:
        """Scale each network's gradient to a norm of at most `max_norm`, as measured."""
        for name, norm in self.norms.items():
            nn.utils.clip_grads_with_norm_(self.networks[name].parameters(), max_norm, norm)

    def state_dict(self) -> dict[str, Any]:
        """The steps without gradient, as JSON holds them."""
        return {name: [names, steps.tolist()] for name, (names, steps) in self.idle_steps.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        devices = {name: next(network.parameters()).device for name, network in self.networks.items() if name in state}
        self.idle_steps = {
            name: (state[name][0], torch.tensor(state[name][1], device=device)) for name, device in devices.items()
        }
