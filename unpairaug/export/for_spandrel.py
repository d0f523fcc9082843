"""A checkpoint that spandrel recognises, for chaiNNer, ComfyUI and whatever else loads models through it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from unpairaug.errors import UserError
from unpairaug.export.format import Format, Loaded, spec_of
from unpairaug.export.plain import save
from unpairaug.registry import heads
from unpairaug.task import Task


def write(task: Task, path: Path) -> None:
    state = getattr(task.head, "spandrel_state", None)
    if state is None:
        raise UserError(
            f"spandrel knows no network like the head {spec_of(task)['type']!r}, so no program that uses it could load "
            f"the file; heads that it knows: {', '.join(_known())}. `--format onnx` and `--format safetensors` take "
            f"any head"
        )
    save(state(), path)


def read(path: Path, task: Task) -> Loaded:
    from spandrel import ModelLoader, UnsupportedModelError

    try:
        model: Any = ModelLoader().load_from_file(path)
    except UnsupportedModelError as error:
        raise UserError(
            "spandrel does not recognise this network by its weights, which happens to very small ones; "
            "`--format safetensors` takes any head"
        ) from error
    return Loaded(model.eval(), model.scale, model.architecture.id, takes_batches=False)


def _known() -> list[str]:
    known = []
    for name in heads.names():
        with suppress(UserError):  # a broken plug-in is not what this is about
            known += [name] if hasattr(heads.get(name), "spandrel_state") else []
    return known


FORMAT = Format((".pth", ".safetensors"), write, read, "pytorch")
