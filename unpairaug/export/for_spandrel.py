"""A checkpoint that spandrel recognises, for chaiNNer, ComfyUI and other programs that use it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from unpairaug.errors import UserError
from unpairaug.export.format import Format, LoadedModel, head_spec
from unpairaug.export.plain import save_weights
from unpairaug.registry import heads
from unpairaug.task import Task


def write(task: Task, path: Path) -> None:
    state = getattr(task.head, "spandrel_state", None)
    if state is None:
        raise UserError(
            f"spandrel does not support the head {head_spec(task)['type']!r}; it supports "
            f"{', '.join(_list_supported_heads())}. Use `--format onnx` or `--format safetensors`, or "
            f"train with task.head={'vdsr' if task.scale > 1 else 'dncnn'}"
        )
    save_weights(state(), path)


def read(path: Path, task: Task) -> LoadedModel:
    from spandrel import ModelLoader, UnsupportedModelError

    try:
        model: Any = ModelLoader().load_from_file(path)
    except UnsupportedModelError as error:
        raise UserError(
            "spandrel does not recognise this network by its weights, which may happen for very small networks; "
            "`--format safetensors` supports every head"
        ) from error
    return LoadedModel(model.eval(), model.scale, model.architecture.id, takes_batches=False)


def _list_supported_heads() -> list[str]:
    known = []
    for name in heads.names():
        with suppress(UserError):  # a broken plug-in does not matter here
            known += [name] if hasattr(heads.get(name), "spandrel_state") else []
    return known


FORMAT = Format((".pth", ".safetensors"), write, read, "pytorch")
