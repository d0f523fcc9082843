"""The state_dict of the head as safetensors, with its spec (input of `heads.build`) in the metadata."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn

from unpairaug import __version__
from unpairaug.data.files import write_file
from unpairaug.export.format import Format, LoadedModel, head_spec, network_name
from unpairaug.registry import heads
from unpairaug.task import Task


def write(task: Task, path: Path) -> None:
    spec = json.dumps(head_spec(task))
    assert task.head is not None, "head_spec refuses a task without a head"
    save_weights(task.head.state_dict(), path, {"unpairaug": __version__, "head": spec})


def read(path: Path, task: Task) -> LoadedModel:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        spec = json.loads(file.metadata()["head"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    head: nn.Module = heads.build(spec)
    head.load_state_dict(weights)
    return LoadedModel(head.eval(), spec["scale"], network_name(task))


def save_weights(state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Save a state_dict as .pth or .safetensors.

    Raises:
        WriteError: the file cannot be written.
    """
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    if path.suffix.lower() != ".pth":
        write_file(path, save(plain, metadata))
        return
    buffer = BytesIO()  # given a path, torch.save would end on a full disk with an error that does not name the cause
    torch.save(plain, buffer)
    write_file(path, buffer.getvalue())


FORMAT = Format((".safetensors",), write, read, "pytorch")
