"""What judges a head: the weighted terms of a recipe's `task.loss`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from unpairaug.errors import UserError
from unpairaug.losses import Losses
from unpairaug.registry import Spec, losses
from unpairaug.registry.terms import Terms


class Criterion:
    """Weighted loss terms, under the names that the recipe gives them; a weight of 0 leaves a term out.

    A term is built from the loss of its type, which is called with the restored and the clean image, both (B, C, H, W),
    and returns a scalar. A loss may have a `discriminator`, a module that learns by minimising its
    `loss_d(restored, clean)`; nothing else in a loss learns. `smallest_side` says which images are too small for it.

    It is no module, so that a task may hold one without saving, averaging or optimising it with its head.
    """

    def __init__(self, spec: str | Spec) -> None:
        described = {name: term for name, term in Terms(losses).check(spec).items() if term["weight"]}
        self.weights: dict[str, float] = {name: term["weight"] for name, term in described.items()}
        self.terms: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            name: losses.build({key: value for key, value in term.items() if key != "weight"})
            for name, term in described.items()
        }
        self.modules = [term for term in self.terms.values() if isinstance(term, nn.Module)]
        self.discriminators = nn.ModuleDict(
            {name: found for name, term in self.terms.items() if (found := getattr(term, "discriminator", None))}
        )
        for module in self.modules:
            module.eval().requires_grad_(False)
        self.discriminators.train()

    @property
    def smallest_side(self) -> dict[str, int]:
        """Side in pixels of the smallest images that each term can be computed on."""
        return {name: getattr(term, "smallest_side", 1) for name, term in self.terms.items()}

    def to(self, device: torch.device) -> None:
        for module in self.modules:
            module.to(device)

    def losses(self, restored: Tensor, clean: Tensor) -> Losses:
        """Every term times its weight.

        Raises:
            UserError: a loss is no scalar.
        """
        values = {name: term(restored, clean) for name, term in self.terms.items()}
        for name, value in values.items():
            if value.shape != ():
                raise UserError(f"task.loss.{name} returns a tensor of shape {tuple(value.shape)}; expected its mean")
        return {name: self.weights[name] * value for name, value in values.items()}

    def losses_d(self, restored: Tensor, clean: Tensor) -> Losses:
        """What each discriminator has to learn, under its term's name; the restored images carry no gradient."""
        return {name: cast("Any", self.terms[name]).loss_d(restored, clean) for name in self.discriminators}
