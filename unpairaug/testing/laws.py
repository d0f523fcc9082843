"""How a contract is held to: laws, one after the other, each on a part that is wide awake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unpairaug.registry import Registry, Spec
from unpairaug.rng import mix_seed

Subject = TypeVar("Subject")
Law = Callable[[Subject], str | None]
"""Returns what was seen where the law is broken, else None; the first line of its docstring says the law."""

SIDE = 24
"""Side in pixels of the images that parts are tried on, on the degraded side."""
SIZES = ((SIDE, SIDE), (17, 22), (21, 16))
"""Height and width of the images whose size must come out right."""


class ContractBroken(AssertionError):
    """A part does not keep its contract; the message says what the contract is, and what was seen."""


def hold(who: str, subject: Subject, laws: Sequence[Law[Subject]]) -> None:
    """Try every law on the subject.

    Raises:
        ContractBroken: at the first law that is broken, or that cannot be tried.
    """
    for law in laws:
        said = (law.__doc__ or "").strip()
        try:
            with torch.random.fork_rng(devices=[]):
                seen = law(subject)
        except Exception as error:  # whatever a stranger's code raises is what was seen
            raise ContractBroken(f"{who}: {said} Seen: {type(error).__name__}: {error}") from error
        if seen:
            raise ContractBroken(f"{who}: {said} Seen: {seen}.")


def name_of(part: str | Spec | nn.Module) -> str:
    """What a part is called in messages."""
    if isinstance(part, nn.Module):
        return type(part).__name__
    return str(part["type"] if isinstance(part, dict) else part)


def built(registry: Registry[Any], part: str | Spec | nn.Module, **offered: Any) -> Any:
    """The part, built where a name or a spec is given, always from the same random numbers, and awake."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = part if isinstance(part, nn.Module) else registry.build(part, **offered)
    wake(module)
    return module


def twin_of(registry: Registry[Any], part: Any) -> Any:
    """Another part, built from the config of the first and loaded with its state."""
    twin = registry.build(part.config)
    twin.load_state_dict(part.state_dict())
    return twin


def wake(module: nn.Module) -> None:
    """Fill weights that are zero at the start: they would hide all that stands before them."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            if not p.any():
                noise = torch.randn(p.shape, generator=rng) * 0.3 / max(p[0].numel(), 1) ** 0.5 if p.dim() > 1 else 0.01
                p += noise


def images(height: int, width: int, seed: int = 0, batch: int = 2) -> Tensor:
    """Random images (batch, 3, height, width) in [0, 1], on the levels of a file; each darker than the last."""
    rng = torch.Generator().manual_seed(mix_seed(seed, height * width))
    light = 0.5 ** torch.arange(batch).view(-1, 1, 1, 1)
    return (torch.randint(256, (batch, 3, height, width), generator=rng) * light).round() / 255


def apart(one: Tensor, other: Tensor, tolerance: float = 1e-4) -> str | None:
    """How far two results differ, where that is more than rounding explains."""
    if one.shape != other.shape:
        return f"shapes {tuple(one.shape)} and {tuple(other.shape)}"
    far = (one - other).abs().max().item()
    return f"results that differ by {far:.2g}" if not far <= tolerance * (1 + one.abs().max().item()) else None


def not_finite(**tensors: Tensor | None) -> str | None:
    """The names of the tensors that hold a NaN or an infinite number."""
    found = [name for name, tensor in tensors.items() if tensor is not None and not tensor.isfinite().all()]
    return f"numbers that are not finite in {', '.join(found)}" if found else None


def gradient(module: nn.Module) -> Tensor | None:
    """All gradients of a module in one row; None where no weight has one."""
    found = [p.grad.flatten().float() for p in module.parameters() if p.grad is not None]
    return torch.cat(found) if found else None
