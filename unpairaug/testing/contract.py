"""How a contract is checked: rule by rule, on a part whose zero weights are filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unpairaug.registry import Spec
from unpairaug.rng import mix_seed

Subject = TypeVar("Subject")
Rule = Callable[[Subject], str | None]
"""Returns what was seen where the rule is broken, else None; the first line of its docstring states the rule."""

SIDE = 24
"""Side in pixels of degraded test images."""
SIZES = ((SIDE, SIDE), (17, 22), (21, 16))
"""Heights and widths of test images whose size must come out right."""


class ContractBroken(AssertionError):
    """A part breaks a rule of its contract; the message states the rule and what was seen."""


def check_rules(who: str, subject: Subject, rules: Sequence[Rule[Subject]]) -> None:
    """Check every rule on the subject.

    Raises:
        ContractBroken: at the first rule that is broken, or that raises an exception.
    """
    for rule in rules:
        statement = (rule.__doc__ or "").strip()
        try:
            with torch.random.fork_rng(devices=[]):
                seen = rule(subject)
        except Exception as error:  # the exception is what was seen
            raise ContractBroken(f"{who}: {statement} Seen: {type(error).__name__}: {error}") from error
        if seen:
            raise ContractBroken(f"{who}: {statement} Seen: {seen}.")


def display_name(part: str | Spec | nn.Module) -> str:
    """What a part is called in messages."""
    if isinstance(part, nn.Module):
        return type(part).__name__
    return str(part["type"] if isinstance(part, dict) else part)


def build_part(build: Callable[..., nn.Module], part: str | Spec | nn.Module, **options: Any) -> Any:
    """The part, built from the same random numbers each time unless it is an instance, its zero weights filled."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = part if isinstance(part, nn.Module) else build(part, **options)
    fill_zeros(module)
    return module


def rebuild(build: Callable[..., nn.Module], part: Any) -> Any:
    """Another part, built from the config of the first and loaded with its state."""
    twin = build(part.config)
    twin.load_state_dict(part.state_dict())
    return twin


def fill_zeros(module: nn.Module) -> None:
    """Fill weights that start at zero: they would hide faults of the layers before them."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            if not p.any():
                noise = torch.randn(p.shape, generator=rng) * 0.3 / max(p[0].numel(), 1) ** 0.5 if p.dim() > 1 else 0.01
                p += noise


def images(height: int, width: int, seed: int = 0, batch: int = 2) -> Tensor:
    """Random images (batch, 3, height, width) in [0, 1], on 256 levels; each darker than the last."""
    rng = torch.Generator().manual_seed(mix_seed(seed, height * width))
    light = 0.5 ** torch.arange(batch).view(-1, 1, 1, 1)
    return (torch.randint(256, (batch, 3, height, width), generator=rng) * light).round() / 255


def difference(one: Tensor, other: Tensor, tolerance: float = 1e-4) -> str | None:
    """How far two results differ, if by more than rounding explains."""
    if one.shape != other.shape:
        return f"shapes {tuple(one.shape)} and {tuple(other.shape)}"
    far = (one - other).abs().max().item()
    return f"results that differ by {far:.2g}" if not far <= tolerance * (1 + one.abs().max().item()) else None


def find_not_finite(**tensors: Tensor | None) -> str | None:
    """The names of the tensors that hold a NaN or an infinite number."""
    found = [name for name, tensor in tensors.items() if tensor is not None and not tensor.isfinite().all()]
    return f"numbers that are not finite in {', '.join(found)}" if found else None


def flat_gradient(module: nn.Module) -> Tensor | None:
    """All gradients of a module in one row; None where no weight has one."""
    found = [p.grad.flatten().float() for p in module.parameters() if p.grad is not None]
    return torch.cat(found) if found else None
