"""What every network between a degraded image and a restored one keeps: heads, and tasks around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unpairaug.registry import Registry
from unpairaug.testing.laws import SIDE, SIZES, apart, gradient, images, not_finite, twin_of


@dataclass(frozen=True)
class Restorer:
    """A network (B, 3, h, w) -> (B, 3, scale * h, scale * w), and where it was found."""

    network: nn.Module
    scale: int
    registry: Registry[Any]

    def evaluated(self, image: Tensor) -> Tensor:
        """The network's result in evaluation mode, without gradients."""
        with torch.no_grad():
            return self.network.eval()(image)


def built_again(subject: Restorer) -> str | None:
    """Its `config` builds the same network, and its state can be loaded there."""
    if not hasattr(subject.network, "config"):
        return None  # an instance that no registry built
    twin = Restorer(twin_of(subject.registry, subject.network), subject.scale, subject.registry)
    return apart(subject.evaluated(images(SIDE, SIDE)), twin.evaluated(images(SIDE, SIDE)), 0)


def any_size(subject: Restorer) -> str | None:
    """An image (B, 3, h, w) of any size comes out finite and as (B, 3, scale * h, scale * w)."""
    for height, width in SIZES:
        restored = subject.evaluated(images(height, width))
        expected = (2, 3, subject.scale * height, subject.scale * width)
        if tuple(restored.shape) != expected:
            return f"(2, 3, {height}, {width}) came out as {tuple(restored.shape)} at scale {subject.scale}"
        if seen := not_finite(restored=restored):
            return seen
    return None


def input_untouched(subject: Restorer) -> str | None:
    """The image that goes in stays as it was."""
    image = images(SIDE, SIDE)
    subject.evaluated(image)
    return apart(image, images(SIDE, SIDE), 0)


def repeats(subject: Restorer) -> str | None:
    """In evaluation mode one image comes out alike every time."""
    return apart(subject.evaluated(images(SIDE, SIDE)), subject.evaluated(images(SIDE, SIDE)), 1e-6)


def batch_is_singles(subject: Restorer) -> str | None:
    """In evaluation mode an image comes out of a batch as it does alone; in training, batch norm may mix a batch."""
    batch = images(SIDE, SIDE)
    alone = torch.cat([subject.evaluated(image[None]) for image in batch])
    return apart(subject.evaluated(batch), alone)


def learns(subject: Restorer) -> str | None:
    """A loss on what comes out reaches its weights and the image: that is the way back to the translator."""
    return _backward(subject, autocast=False)


def half_precision(subject: Restorer) -> str | None:
    """Under bf16 autocast, forward and backward stay finite."""
    return _backward(subject, autocast=True)


def _backward(subject: Restorer, autocast: bool) -> str | None:
    network, image = subject.network.train(), images(SIDE, SIDE).requires_grad_()
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        restored = network(image)
    (restored.float() - 0.5).square().mean().backward()
    found = gradient(network)
    if image.grad is None:
        return "no gradient in the image"
    if any(p.requires_grad for p in network.parameters()) and (found is None or not found.any()):
        return "no gradient in any weight"
    return not_finite(restored=restored, gradients=found, gradient_of_the_image=image.grad)


HEAD_LAWS = [any_size, built_again, input_untouched, repeats, batch_is_singles, learns, half_precision]
