"""Plain stacks of convolutions under the names by which spandrel knows a DnCNN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_DEPTH = 8
"""Convolutions from which on spandrel takes a stack without norm for a DnCNN."""

Layer = tuple[Tensor, Tensor]
"""Weight and bias of a convolution."""


def dncnn_state(body: nn.Sequential, subtracted: bool) -> dict[str, Tensor]:
    """Weights of the DnCNN (image less what its stack makes) that does in evaluation what image ± body(image) does.

    `body` is 3x3 convolutions, each but the last followed by a ReLU, some by a batch norm first. spandrel's DnCNN
    subtracts, so what adds is negated in its last convolution. Its batch norm has another epsilon than torch's, so
    norms become part of the convolutions. A stack too short to be recognised gets convolutions that change nothing.
    """
    layers = _without_norms(body)
    weight, bias = layers[-1]
    if not subtracted:
        layers[-1] = (-weight, -bias)
    while len(layers) < LEAST_DEPTH:
        layers.insert(-1, _identity(weight.shape[1]))  # behind a ReLU, a second one finds nothing to cut
    named = {f"model.{2 * i}": layer for i, layer in enumerate(layers)}
    return {
        f"{name}.{part}": t for name, layer in named.items() for part, t in zip(("weight", "bias"), layer, strict=True)
    }


def _without_norms(body: nn.Sequential) -> list[Layer]:
    layers: list[Layer] = []
    for part in body:
        if isinstance(part, nn.Conv2d):
            bias = torch.zeros(part.out_channels) if part.bias is None else part.bias.detach().cpu()
            layers.append((part.weight.detach().cpu(), bias))
        elif isinstance(part, nn.BatchNorm2d):
            layers[-1] = _folded(*layers[-1], part)
        else:
            assert isinstance(part, nn.ReLU | nn.Identity), f"{part} has no place in a DnCNN"
    return layers


def _folded(weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> Layer:
    """The convolution and the batch norm behind it as one convolution, computed in double precision."""
    mean, var, gain, shift = (
        t.detach().cpu().double()
        for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        if t is not None
    )
    factor = gain / (var + norm.eps).sqrt()
    return (weight * factor[:, None, None, None]).float(), ((bias - mean) * factor + shift).float()


def _identity(width: int) -> Layer:
    return nn.init.dirac_(torch.empty(width, width, 3, 3)), torch.zeros(width)
