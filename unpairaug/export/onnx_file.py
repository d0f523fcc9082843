"""ONNX with dynamic batch and image size, in single precision."""

from __future__ import annotations

import warnings
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
AXES = ("batch", "height", "width")
TRACED = (2, 3, 45, 61)
"""Shape of the traced image: sides without common divisors."""


def write(task: Task, path: Path) -> None:
    write_file(path, convert(make_portable(task), network_name(task), INPUT, OUTPUT))


def convert(network: nn.Module, name: str, input: str, output: str) -> bytes:
    """The network as an ONNX file with free batch, height and width.

    Args:
        network: (B, 3, h, w) -> (B, 3, scale * h, scale * w).
        name: of the architecture, for messages.
        input, output: names of the tensors.

    Raises:
        UserError: a package is missing, or the network cannot be converted.
    """
    require_packages("onnx", "onnx", "onnxscript", "onnxruntime")
    free = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            # Exported here, because torch.onnx would fall back to a tracer that writes constant sizes into the file.
            traced = torch.export.export(
                prepare_for_tracing(network),
                (torch.rand(TRACED),),
                dynamic_shapes=({0: free, 2: free, 3: free},),
                strict=False,
            )
            program: Any = torch.onnx.export(
                traced, input_names=[input], output_names=[output], dynamo=True, verbose=False
            )
        except Exception as error:  # tracers and decompositions raise arbitrary exceptions
            raise UserError(
                f"{name} cannot be converted to ONNX with dynamic batch and size: its code branches on "
                f"sizes, or uses an operation that ONNX lacks ({format_error(error)}). Use `--format spandrel` if "
                f"spandrel supports the network, or `--format safetensors`"
            ) from error
    _name_axes(program)
    return program.model_proto.SerializeToString()


def read(path: Path, task: Task) -> LoadedModel:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def restore(image: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: image.numpy()})[0])

    return LoadedModel(restore, task.scale, network_name(task))


def _name_axes(program: Any) -> None:
    """Name the dynamic axes, which the exporter only numbers."""
    shape = program.model.graph.inputs[0].shape
    program.rename_axes({str(shape[axis]): name for axis, name in zip((0, 2, 3), AXES, strict=True)})


FORMAT = Format((".onnx",), write, read, "onnx")
