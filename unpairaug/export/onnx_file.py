"""ONNX with dynamic batch and image size, in single precision."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unpairaug.data.files import write_file
from unpairaug.errors import UserError
from unpairaug.export.enlarge import make_portable
from unpairaug.export.format import (
    Format,
    LoadedModel,
    format_error,
    network_name,
    prepare_for_tracing,
    require_packages,
)
from unpairaug.task import Task

INPUT, OUTPUT = "degraded", "restored"
AXES = {0: "batch", 2: "height", 3: "width"}
TRACED = (2, 3, 45, 61)
"""Shape of the traced image: sides without common divisors."""
OTHER_FORMATS = "Use `--format spandrel` if spandrel supports the network, or `--format safetensors`"


def write(task: Task, path: Path) -> None:
    write_file(path, convert(make_portable(task), network_name(task), {INPUT: torch.rand(TRACED)}, OUTPUT))


def convert(
    network: nn.Module, name: str, inputs: Mapping[str, Tensor], output: str, instead: str = OTHER_FORMATS
) -> bytes:
    """The network as an ONNX file with free height, width and, unless the given images are single, batch.

    Args:
        network: takes the inputs in their order and returns one image (B, 3, H, W).
        name: of the architecture, for messages.
        inputs: an example of each tensor by its name: images (B, C, h, w), or numbers (B, n) for each image.
        output: name of the result.
        instead: end of the message where that is impossible: what else there is.

    Raises:
        UserError: a package is missing, or the network cannot be converted.
    """
    require_packages("onnx", "onnx", "onnxscript", "onnxruntime")
    first, *rest = (_free_axes(example) for example in inputs.values())
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            # Exported here, because torch.onnx would fall back to a tracer that writes constant sizes into the file.
            traced = torch.export.export(
                prepare_for_tracing(network),
                tuple(inputs.values()),
                dynamic_shapes=(first, tuple(rest)) if rest else (first,),
                strict=False,
            )
            program: Any = torch.onnx.export(
                traced, input_names=[*inputs], output_names=[output], dynamo=True, verbose=False
            )
        except Exception as error:  # tracers and decompositions raise arbitrary exceptions
            raise UserError(
                f"{name} cannot be converted to ONNX with dynamic batch and size: its code branches on sizes, leaves "
                f"torch, or uses an operation that ONNX lacks ({format_error(error)}). {instead}"
            ) from error
    _name_axes(program)
    return program.model_proto.SerializeToString()


def _free_axes(example: Tensor) -> dict[int, Any]:
    """The axes of an input that may have any length: the batch, unless it is 1, and the sides of an image."""
    axes = (*((0,) if len(example) > 1 else ()), *((2, 3) if example.dim() == 4 and example[0, 0].numel() > 1 else ()))
    return dict.fromkeys(axes, torch.export.Dim.DYNAMIC)


def read(path: Path, task: Task) -> LoadedModel:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def restore(image: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: image.numpy()})[0])

    return LoadedModel(restore, task.scale, network_name(task))


def _name_axes(program: Any) -> None:
    """Name the dynamic axes, which the exporter only numbers; those of the first input have the plain names."""
    names: dict[str, str] = {}
    for i, put in enumerate(program.model.graph.inputs):
        free = [(axis, size) for axis, size in enumerate(put.shape) if not isinstance(size, int)]
        for axis, size in free:
            names.setdefault(str(size), AXES[axis] if i == 0 else f"{put.name}_{AXES[axis]}")
    program.rename_axes(names)


FORMAT = Format((".onnx",), write, read, "onnx")
