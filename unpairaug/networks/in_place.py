"""Activations that write into their input, where nothing else reads it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from torch import nn

Activation = nn.ReLU | nn.LeakyReLU
_FRESH = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d)
"""Layers whose output is a new tensor."""


def set_in_place(modules: Iterable[nn.Module]) -> list[Activation]:
    """Let activations directly behind a convolution or a norm write into their input; return those that are changed.

    Only neighbours in an `nn.Sequential` are taken: nobody else holds the tensor between them. Values stay the same;
    the memory of one feature map, and the time to fill it, are saved. It is for networks in evaluation mode.
    """
    changed: list[Activation] = []
    for module in modules:
        if isinstance(module, nn.Sequential):
            behind = [after for before, after in pairwise(module) if isinstance(before, _FRESH)]
            changed += [one for one in behind if isinstance(one, Activation) and not one.inplace]
    for one in changed:
        one.inplace = True
    return changed
