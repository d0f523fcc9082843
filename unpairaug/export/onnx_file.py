"""ONNX: any batch, any size, in single precision."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unpairaug.errors import UserError
from unpairaug.export.enlarge import portable
from unpairaug.export.format import Format, Loaded, alone, network_name, require, told
from unpairaug.task import Task

INPUT, OUTPUT = "degraded", "restored"
AXES = ("batch", "height", "width")
TRACED = (2, 3, 45, 61)
"""Shape of the image that the network is traced with: sides that no network's size requirements divide."""


def write(task: Task, path: Path) -> None:
    require("onnx", "onnx", "onnxscript", "onnxruntime")
    free = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            # Traced here: left to itself, torch.onnx goes on to a tracer that writes sizes into the file as numbers.
            traced = torch.export.export(
                alone(portable(task)),
                (torch.rand(TRACED),),
                dynamic_shapes=({0: free, 2: free, 3: free},),
                strict=False,
            )
            program: Any = torch.onnx.export(
                traced, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False
            )
        except Exception as error:  # tracers and decompositions raise whatever they like
            raise UserError(
                f"{network_name(task)} cannot become an ONNX file that takes any batch and size: its code decides by "
                f"numbers that the file would have to leave open, or uses an operation that ONNX lacks "
                f"({told(error)}). Where spandrel knows the network, `--format spandrel` does"
            ) from error
    _name_axes(program)
    program.save(path, external_data=False)


def read(path: Path, task: Task) -> Loaded:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def restore(image: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: image.numpy()})[0])

    return Loaded(restore, task.scale, network_name(task))


def _name_axes(program: Any) -> None:
    """Call the free axes by what they are, where the tracer numbers them."""
    shape = program.model.graph.inputs[0].shape
    program.rename_axes({str(shape[axis]): name for axis, name in zip((0, 2, 3), AXES, strict=True)})


FORMAT = Format((".onnx",), write, read, "onnx")
