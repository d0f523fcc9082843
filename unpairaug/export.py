"""A trained head as one file for other programs, loaded back and compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unpairaug import __version__
from unpairaug.errors import RunStopped, UserError
from unpairaug.networks import enlarge
from unpairaug.registry import Spec, heads
from unpairaug.task import Task

Format = Literal["spandrel", "safetensors"]
SUFFIXES: dict[Format, tuple[str, ...]] = {"spandrel": (".pth", ".safetensors"), "safetensors": (".safetensors",)}
TOLERANCE = 1e-4
"""Difference that rounding may make, images being in [0, 1]: a fortieth of an 8-bit step."""


class Exported(NamedTuple):
    """What came out of an export."""

    path: Path
    difference: float
    """Largest difference between the task's image and the file's, of a random one, both in [0, 1]."""
    enlarge_first: int
    """Factor by which whoever uses the file must enlarge images, bicubic, before its network; 1 is not at all."""


def export(model: str, out: Path, format: Format) -> Exported:
    """Write the trained head of `model` into the file `out`, after it was loaded back and restored an image alike.

    Raises:
        UserError: there is no such model, its head cannot have that format, or `out` cannot be written.
        RunStopped: what was loaded back restores differently; nothing is left behind.
    """
    _check_out(out, format)
    task = Task.from_pretrained(model)
    write, read = {"spandrel": (_write_spandrel, _read_spandrel), "safetensors": (_write_plain, _read_plain)}[format]
    partial = out.with_name(f"{out.stem}.partial{out.suffix}")  # loaders go by the suffix
    try:
        write(task, partial)
        restore, scale = read(partial)
        difference, enlarge_first = _compare(task, restore, task.scale // scale)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return Exported(out, difference, enlarge_first)


def _compare(task: Task, restore: Callable[[Tensor], Tensor], enlarge_first: int) -> tuple[float, int]:
    # Sides that no network's size requirements divide.
    image = torch.rand(1, 3, 45, 61, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours, theirs = task(image), restore(enlarge(image, enlarge_first))
    difference = (ours.clamp(0, 1) - theirs.clamp(0, 1)).abs().max().item()
    if not difference <= TOLERANCE:  # neither where it is no number
        raise RunStopped(
            f"the file loads, but its image differs from the trained task's by up to {difference:.3g} of 1, and "
            f"rounding explains {TOLERANCE:g} at most; nothing was written. Where the task does more than call its "
            f"head, the head alone cannot stand for it"
        )
    return difference, enlarge_first


def _check_out(out: Path, format: Format) -> None:
    if out.suffix.lower() not in SUFFIXES[format]:
        raise UserError(f"{out}: a {format} export is a file that ends in {' or '.join(SUFFIXES[format])}")
    if out.exists():
        raise UserError(f"{out} exists; give another name, or remove it")
    if not out.parent.is_dir():
        raise UserError(f"{out}: there is no folder {out.parent}; make it first, or give another place")


def _write_spandrel(task: Task, path: Path) -> None:
    state = getattr(task.head, "spandrel_state", None)
    if state is None:
        raise UserError(
            f"spandrel knows no network like the head {_spec(task)['type']!r}, so no program that uses it could load "
            f"the file; heads that it knows: {', '.join(_known_to_spandrel())}. `--format safetensors` takes any head"
        )
    _save(state(), path)


def _read_spandrel(path: Path) -> tuple[Callable[[Tensor], Tensor], int]:
    from spandrel import ModelLoader, UnsupportedModelError

    try:
        model: Any = ModelLoader().load_from_file(path)
    except UnsupportedModelError as error:
        raise UserError(
            "spandrel does not recognise this network by its weights, which happens to very small ones; "
            "`--format safetensors` takes any head"
        ) from error
    return model.eval(), model.scale


def _write_plain(task: Task, path: Path) -> None:
    """The head's weights, and in the file's metadata what `heads.build` makes it from."""
    _save(task.head.state_dict(), path, {"unpairaug": __version__, "head": json.dumps(_spec(task))})


def _read_plain(path: Path) -> tuple[Callable[[Tensor], Tensor], int]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        spec = json.loads(file.metadata()["head"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    head: nn.Module = heads.build(spec)
    head.load_state_dict(weights)
    return head.eval(), spec["scale"]


def _save(state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    try:
        torch.save(plain, path) if path.suffix.lower() == ".pth" else save_file(plain, path, metadata)
    except OSError as error:
        raise UserError(f"{path.parent} cannot be written: {error}; give another place") from error


def _spec(task: Task) -> Spec:
    """From what the head can be built, with its scale."""
    spec = getattr(task.head, "saved_as", None) or getattr(task.head, "config", None)
    if spec is None:
        raise UserError("this task builds its head itself, so no file could say how; let it take `head: HeadSpec`")
    return {**spec, "scale": task.scale}


def _known_to_spandrel() -> list[str]:
    known = []
    for name in heads.names():
        with suppress(UserError):  # a broken plug-in is not what this is about
            known += [name] if hasattr(heads.get(name), "spandrel_state") else []
    return known
