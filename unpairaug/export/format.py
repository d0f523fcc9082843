"""What a format has to say and do."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

from torch import Tensor, nn

from unpairaug.errors import UserError
from unpairaug.registry import Spec
from unpairaug.task import Task


class Loaded(NamedTuple):
    """A file that was loaded back."""

    restore: Callable[[Tensor], Tensor]
    """(B, 3, h, w) in [0, 1] -> (B, 3, scale * h, scale * w)."""
    scale: int
    architecture: str
    """What the format's programs call the network."""
    takes_batches: bool = True


class Format(NamedTuple):
    """One kind of file."""

    suffixes: tuple[str, ...]
    """How its name ends."""
    write: Callable[[Task, Path], None]
    read: Callable[[Path, Task], Loaded]
    """The file, and nothing but the network's name and scale from the task."""
    platform: str
    """What its programs compute with: pytorch, onnx or ncnn."""
    beside: tuple[str, ...] = ()
    """How the names of the files end that belong to it."""


def spec_of(task: Task) -> Spec:
    """From what the head can be built, with its scale."""
    spec = getattr(task.head, "saved_as", None) or getattr(task.head, "config", None)
    if spec is None:
        raise UserError("this task brings its own network, so a file cannot say how to build it; export --format onnx or ncnn")
    return {**spec, "scale": task.scale}


def network_name(task: Task) -> str:
    """What people call the head's network."""
    name = getattr(task.head, "architecture", None) or getattr(task.head, "config", {}).get("type")
    return name or type(task if task.head is None else task.head).__name__


def alone(network: nn.Module) -> nn.Module:
    """The network as whoever traces it needs it: in evaluation mode, and nothing that wants a gradient."""
    return network.eval().requires_grad_(False)


def require(extra: str, *packages: str) -> None:
    """Refuse where a package of an extra is missing.

    Raises:
        UserError: it says how to install it.
    """
    missing = [package for package in packages if not _is_there(package)]
    if missing:
        raise UserError(f"--format {extra} needs {', '.join(missing)}: pip install 'unpairaug[{extra}]'")


def told(error: Exception) -> str:
    """What an error of another library says first, on one line."""
    return f"{type(error).__name__}: {shorten(' '.join(str(error).splitlines()[:2]), 300)}"


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # switched off in this process
        return False
