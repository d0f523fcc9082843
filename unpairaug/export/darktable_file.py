"""darktable 5.6 and newer: a zip `.dtmodel` of a folder with `config.json` and an ONNX file."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import torch
from torch import Tensor, nn

from unpairaug import __version__
from unpairaug.data.files import write_file
from unpairaug.data.sample import sample_images
from unpairaug.errors import UserError
from unpairaug.export.enlarge import make_portable
from unpairaug.export.format import Format, LoadedModel, network_name
from unpairaug.export.onnx_file import TRACED, convert
from unpairaug.networks.resize import enlarge
from unpairaug.task import Task

INPUT, OUTPUT = "input", "output"
"""Names of the tensors, [1, 3, H, W] in sRGB and [0, 1], that darktable looks for."""
UPSCALES = (2, 4)
"""Factors that darktable has a place for."""


class _Clamped(nn.Module):
    """The network with its output in [0, 1], as darktable takes it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).clamp(0, 1)


def write(task: Task, path: Path) -> None:
    """Write the zip.

    Raises:
        UserError: darktable has no place for the scale, or the head cannot be converted to ONNX.
    """
    if task.scale not in (1, *UPSCALES):
        raise UserError(f"darktable denoises (scale 1) and enlarges by 2 or 4; this head has scale {task.scale}")
    model = convert(_Clamped(make_portable(task)), network_name(task), {INPUT: torch.rand(TRACED)}, OUTPUT)
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "model"
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/config.json", f"{json.dumps(_make_config(task, name, path.stem), indent=2)}\n")
        archive.writestr(f"{name}/{_model_file(task)}", model)
    write_file(path, packed.getvalue())


def read(path: Path, task: Task) -> LoadedModel:
    """Load the ONNX file in the zip."""
    import onnxruntime

    with ZipFile(path) as archive:
        member = next(name for name in archive.namelist() if name.endswith(f"/{_model_file(task)}"))
        session = onnxruntime.InferenceSession(archive.read(member), providers=["CPUExecutionProvider"])

    def restore(image: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: image.numpy()})[0])

    return LoadedModel(restore, task.scale, network_name(task))


def _model_file(task: Task) -> str:
    return "model.onnx" if task.scale == 1 else f"model_x{task.scale}.onnx"


def _make_config(task: Task, name: str, title: str) -> dict[str, Any]:
    """What darktable reads; then what its collection of models asks for, null where only the publisher knows it."""
    data = task.trained.get("data", {})
    drift = measure_colour_drift(task)
    return {
        "id": name,
        "name": title,
        "description": f"{network_name(task)} trained with unpairaug {__version__}; {describe_drift(drift)}",
        "task": "denoise" if task.scale == 1 else "upscale",
        "backend": "onnx",
        "version": "1.0",
        "license": None,
        "data_license": None,
        "provenance": {side: sorted(names) for side, names in data.items()} or None,
        "colour_drift": drift,
    }


@torch.inference_mode()
def measure_colour_drift(task: Task) -> float:
    """How far the head shifts mean colours, in 8-bit steps: the largest channel, over the two sample photographs."""
    drifts = []
    for pixels in sample_images("val_degraded", max(task.scale, 2)).values():
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        restored = task(image).clamp(0, 1)
        shift = restored.mean(dim=(0, 2, 3)) - enlarge(image, task.scale).clamp(0, 1).mean(dim=(0, 2, 3))
        drifts.append(255 * float(shift.abs().max()))
    return round(max(drifts), 2)


def describe_drift(drift: float) -> str:
    """The colour drift as a part of a sentence."""
    return f"mean colours of two sample photographs shift by at most {drift:.2f} of 255"


FORMAT = Format((".dtmodel",), write, read, "onnx")
