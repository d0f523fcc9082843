"""The interface of an export format."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

from torch import Tensor, nn

from unpairaug.errors import UserError, format_install
from unpairaug.registry import Spec
from unpairaug.task import Task

TOLERANCE = 1e-4
"""Largest accepted difference for images in [0, 1]: a fortieth of an 8-bit step."""


class LoadedModel(NamedTuple):
    """An exported file after loading."""

    restore: Callable[[Tensor], Tensor]
    """(B, 3, h, w) in [0, 1] -> (B, 3, scale * h, scale * w)."""
    scale: int
    architecture: str
    """Name of the network in programs of this format."""
    takes_batches: bool = True


class Format(NamedTuple):
    """One kind of file."""

    suffixes: tuple[str, ...]
    """File extensions."""
    write: Callable[[Task, Path], None]
    read: Callable[[Path, Task], LoadedModel]
    """Loads the file; only the network's name and scale come from the task."""
    platform: str
    """Platform of the card: pytorch, onnx or ncnn."""
    beside: tuple[str, ...] = ()
    """Extensions of further files that belong to it."""


def head_spec(task: Task) -> Spec:
    """The spec from which `heads.build` builds the head, with its scale."""
    spec = getattr(task.head, "saved_as", None) or getattr(task.head, "config", None)
    if spec is None:
        raise UserError(
            "this task brings its own network, so a file cannot say how to build it; export --format onnx or ncnn"
        )
    return {**spec, "scale": task.scale}


def network_name(task: Task) -> str:
    """Name of the head's architecture."""
    name = getattr(task.head, "architecture", None) or getattr(task.head, "config", {}).get("type")
    return name or type(task if task.head is None else task.head).__name__


def prepare_for_tracing(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, without gradients."""
    return network.eval().requires_grad_(False)


def require_packages(extra: str, *packages: str) -> None:
    """Check that the packages of an extra are installed.

    Raises:
        UserError: one is missing.
    """
    missing = [package for package in packages if not _is_installed(package)]
    if missing:
        raise UserError(f"--format {extra} needs {', '.join(missing)}: {format_install(extra)}")


def format_error(error: Exception) -> str:
    """The first lines of another library's error, on one line."""
    return f"{type(error).__name__}: {shorten(' '.join(str(error).splitlines()[:2]), 300)}"


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # blocked in sys.modules
        return False
