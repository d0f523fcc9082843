"""The rules for every network that restores: heads, and tasks around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unpairaug.testing.contract import SIDE, SIZES, difference, find_not_finite, flat_gradient, images, rebuild


@dataclass(frozen=True)
class Restorer:
    """A network (B, 3, h, w) -> (B, 3, scale * h, scale * w), and what builds it from its config."""

    network: nn.Module
    scale: int
    build: Callable[..., nn.Module]

    def restore(self, image: Tensor) -> Tensor:
        """The network's result in evaluation mode, without gradients."""
        with torch.no_grad():
            return self.network.eval()(image)


def can_be_rebuilt(subject: Restorer) -> str | None:
    """Its `config` builds the same network, and its state can be loaded there."""
    if not hasattr(subject.network, "config"):
        return None  # an instance that no registry built
    twin = Restorer(rebuild(subject.build, subject.network), subject.scale, subject.build)
    return difference(subject.restore(images(SIDE, SIDE)), twin.restore(images(SIDE, SIDE)), 0)


def any_size(subject: Restorer) -> str | None:
    """An image (B, 3, h, w) of any size gives finite values of shape (B, 3, scale * h, scale * w)."""
    for height, width in SIZES:
        restored = subject.restore(images(height, width))
        expected = (2, 3, subject.scale * height, subject.scale * width)
        if tuple(restored.shape) != expected:
            return f"(2, 3, {height}, {width}) became {tuple(restored.shape)} at scale {subject.scale}"
        if seen := find_not_finite(restored=restored):
            return seen
    return None


def input_untouched(subject: Restorer) -> str | None:
    """The input image is not changed."""
    image = images(SIDE, SIDE)
    subject.restore(image)
    return difference(image, images(SIDE, SIDE), 0)


def repeats(subject: Restorer) -> str | None:
    """In evaluation mode the same image gives the same result."""
    return difference(subject.restore(images(SIDE, SIDE)), subject.restore(images(SIDE, SIDE)), 1e-6)


def batch_is_singles(subject: Restorer) -> str | None:
    """In evaluation mode an image is restored in a batch as it is alone; in training, batch norm may mix a batch."""
    batch = images(SIDE, SIDE)
    alone = torch.cat([subject.restore(image[None]) for image in batch])
    return difference(subject.restore(batch), alone)


def learns(subject: Restorer) -> str | None:
    """A loss on the result reaches its weights and the input image: so it is fed back to the translator."""
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
    found = flat_gradient(network)
    if image.grad is None:
        return "no gradient in the image"
    if any(p.requires_grad for p in network.parameters()) and (found is None or not found.any()):
        return "no gradient in any weight"
    return find_not_finite(restored=restored, gradients=found, gradient_of_the_image=image.grad)


HEAD_CONTRACT = [any_size, can_be_rebuilt, input_untouched, repeats, batch_is_singles, learns, half_precision]
