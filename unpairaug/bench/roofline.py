"""The convolutions of a step, layer by layer: their operations, and the time that each takes alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from unpairaug.bench.timing import time_work

REPEATS = 5
"""Timed calls of each convolution; the fastest counts, since other load can only add time."""
_PASSES = {torch.ops.aten.convolution.default: "forward", torch.ops.aten.convolution_backward.default: "backward"}


@dataclass(frozen=True)
class LayerCost:
    """All convolutions of a step that have the same shapes."""

    direction: str
    """`forward` or `backward`."""
    image: tuple[int, ...]
    """Shape of the input, (B, C, H, W)."""
    weight: tuple[int, ...]
    count: int
    """Calls in one step."""
    flops: float
    """Floating point operations of all of them."""
    seconds: float
    """Time of all of them, each alone in a loop: no code around the library's convolutions is faster."""


@dataclass(frozen=True)
class Roofline:
    """A step beside its convolutions alone; all times as of `time_work`."""

    step: float
    """Seconds of the step."""
    layers: list[LayerCost]
    """The longest first."""

    @property
    def alone(self) -> float:
        """Seconds of all convolutions, each alone."""
        return sum(layer.seconds for layer in self.layers)

    @property
    def flops(self) -> float:
        return sum(layer.flops for layer in self.layers)


def measure_roofline(step: Callable[[], object], device: torch.device) -> Roofline:
    """Time a step, and each of its convolutions alone in the same shapes, types and memory formats."""
    with _ConvolutionRecorder() as recorder:
        step()
    costs = [_measure_layer(call, count, device) for call, count in recorder.calls.items()]
    seconds = min(time_work(step, device) for _ in range(REPEATS))
    return Roofline(seconds, sorted(costs, key=lambda cost: cost.seconds, reverse=True))


class _ConvolutionRecorder(TorchDispatchMode):
    """Counts the convolutions by operator and arguments, tensors as `_Layout`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[Any, tuple[Hashable, ...]]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PASSES:
            self.calls[func, tuple(_Layout.of(value) for value in args)] += 1
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class _Layout:
    """A tensor without its values."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, value: Any) -> Hashable:
        if isinstance(value, Tensor):
            return cls(tuple(value.shape), value.stride(), value.dtype)
        return tuple(value) if isinstance(value, list) else value

    def fill(self, device: torch.device) -> Tensor:
        length = 1 + sum((side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True))
        # Not `empty_strided`: an expanded filter's elements lie on each other.
        return torch.randn(length, device=device).to(self.dtype).as_strided(self.shape, self.strides)


def _measure_layer(call: tuple[Any, tuple[Hashable, ...]], count: int, device: torch.device) -> LayerCost:
    operator, layouts = call
    arguments = [one.fill(device) if isinstance(one, _Layout) else one for one in layouts]
    tensors = [tuple(one.shape) for one in arguments if isinstance(one, Tensor)]
    with FlopCounterMode(display=False) as counter:
        operator(*arguments)
    seconds = min(time_work(partial(operator, *arguments), device) for _ in range(REPEATS))
    image, weight = tensors[-2:] if _PASSES[operator] == "backward" else tensors[:2]
    return LayerCost(_PASSES[operator], image, weight, count, count * counter.get_total_flops(), count * seconds)
