"""The head's own weights as safetensors, and in the file's metadata what `heads.build` makes it from."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from unpairaug import __version__
from unpairaug.errors import UserError
from unpairaug.export.format import Format, Loaded, network_name, spec_of
from unpairaug.registry import heads
from unpairaug.task import Task


def write(task: Task, path: Path) -> None:
    spec = json.dumps(spec_of(task))
    assert task.head is not None, "spec_of refuses a task without a head"
    save(task.head.state_dict(), path, {"unpairaug": __version__, "head": spec})


def read(path: Path, task: Task) -> Loaded:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        spec = json.loads(file.metadata()["head"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    head: nn.Module = heads.build(spec)
    head.load_state_dict(weights)
    return Loaded(head.eval(), spec["scale"], network_name(task))


def save(state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors as .pth or .safetensors."""
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    try:
        torch.save(plain, path) if path.suffix.lower() == ".pth" else save_file(plain, path, metadata)
    except OSError as error:
        raise UserError(f"{path.parent} cannot be written: {error}; give another place") from error


FORMAT = Format((".safetensors",), write, read, "pytorch")
