"""Limits on the networks that a model folder may describe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from unpairaug.errors import UserError

FACTOR, SPARE_ELEMENTS = 2, 200_000_000
"""Elements that may be allocated: those of the weights times the factor, and those of what judges in training."""
ENTRIES_OF_A_TENSOR, SPARE_ENTRIES = 8, 5000
"""Parameters, buffers and modules that may be built: so many for each tensor of the weights, and of what judges."""


@contextmanager
def limit_networks(weights: Iterable[Tensor]) -> Iterator[None]:
    """While it lasts, networks are built only up to about the size of the weights that are to be loaded into them.

    `{"depth": 1000000000}` is a valid option; it would take memory and hours before the weights turn out not to fit.
    Parameters are counted before they are initialised, so before their memory is used.

    Raises:
        UserError: the networks are larger.
    """
    sizes = [tensor.numel() for tensor in weights]
    left = {
        "elements": FACTOR * sum(sizes) + SPARE_ELEMENTS,
        "entries": ENTRIES_OF_A_TENSOR * len(sizes) + SPARE_ENTRIES,
    }

    def count(module: nn.Module, name: str, value: Any) -> None:
        left["elements"] -= value.numel() if isinstance(value, Tensor) else 0
        left["entries"] -= 1
        if min(left.values()) < 0:
            raise UserError("its options describe larger networks than its weights are of")

    hooks = [
        register(count)
        for register in (
            register_module_parameter_registration_hook,
            register_module_buffer_registration_hook,
            register_module_module_registration_hook,
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
